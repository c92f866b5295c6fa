//! Those who only look: the access log and metrics.

use std::sync::Arc;

use super::{Along, Opening, Outbound, StreamHandler, Summary};

/// Writes one line for each request, target `natter::httpd::access`, level info: peer, method, path without the query,
/// status, bytes and time.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLog;

impl StreamHandler for AccessLog {
    fn open(&self, _opening: &mut Opening<'_>) -> Along {
        Along {
            outbound: Some(Box::new(AccessLog)),
            ..Along::default()
        }
    }
}

impl Outbound for AccessLog {
    fn end(&mut self, summary: &Summary) {
        tracing::info!(
            target: "natter::httpd::access",
            peer = %summary.peer,
            method = %summary.method,
            path = summary.path,
            version = ?summary.version,
            status = summary.status,
            bytes = summary.sent,
            took = ?summary.took,
            whole = summary.whole,
            "request"
        );
    }
}

/// Tells a function of each request that has ended. It must be short.
#[derive(Clone)]
pub struct Metrics(Arc<dyn Fn(&Summary) + Send + Sync>);

impl Metrics {
    /// Tells `told`.
    pub fn new(told: impl Fn(&Summary) + Send + Sync + 'static) -> Metrics {
        Metrics(Arc::new(told))
    }
}

impl StreamHandler for Metrics {
    fn open(&self, _opening: &mut Opening<'_>) -> Along {
        Along {
            outbound: Some(Box::new(self.clone())),
            ..Along::default()
        }
    }
}

impl Outbound for Metrics {
    fn end(&mut self, summary: &Summary) {
        (self.0)(summary);
    }
}
