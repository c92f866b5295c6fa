//! What a stretch of work took: wall time, the server's CPU time, the generator's own.

use std::time::{Duration, Instant};

use crate::proc::{CpuTime, Watched};

/// A stretch of work under way.
pub struct Gauge {
    server: Option<Watched>,
    began: Instant,
    server_cpu: Option<CpuTime>,
    own_cpu: Option<CpuTime>,
}

/// What it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// From its beginning to its end.
    pub wall: Duration,
    /// CPU time of the server; `None` where it is not watched.
    pub server: Option<Duration>,
    /// CPU time of this program.
    pub own: Option<Duration>,
}

impl Gauge {
    /// Begins; `server` is watched when it runs on this machine.
    pub fn start(server: Option<Watched>) -> Gauge {
        Gauge {
            server,
            server_cpu: server.and_then(Watched::cpu),
            own_cpu: Watched::own().cpu(),
            began: Instant::now(),
        }
    }

    /// Ends.
    pub fn stop(self) -> Spent {
        let wall = self.began.elapsed();
        let since = |before: Option<CpuTime>, now: Option<CpuTime>| Some(now?.since(&before?));
        Spent {
            wall,
            server: since(self.server_cpu, self.server.and_then(Watched::cpu)),
            own: since(self.own_cpu, Watched::own().cpu()),
        }
    }
}
