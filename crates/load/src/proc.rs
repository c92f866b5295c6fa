//! What the kernel says of a process: CPU time of all its threads and children, memory; and of its own buffers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;

/// Linux shows clock ticks to programs as hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of a page of socket buffers in `/proc/net/sockstat`.
const PAGE: u64 = 4096;

/// One line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// In user mode and in the kernel, of all threads and of the children that ended and were waited for.
    ticks: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: number(1)?.try_into().ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// Nanoseconds of CPU in `/proc/PID/task/TID/schedstat`.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The line `called:` of a file such as `smaps_rollup` or `meminfo`, in bytes.
fn parse_kilobytes(text: &str, called: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(called)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Pages of TCP's buffers in `/proc/net/sockstat`.
fn parse_sockstat(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// `root` and all that descend from it.
fn family(root: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        let children = parents
            .iter()
            .filter(|(_, p)| **p == parent)
            .map(|(child, _)| *child);
        let mut children: Vec<u32> = children.filter(|child| !found.contains(child)).collect();
        children.sort_unstable();
        found.extend(children);
        at += 1;
    }
    found
}

/// A process and its children.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    pid: u32,
}

impl Watched {
    /// The process with that number.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] when there is none, or it cannot be read.
    pub fn new(pid: u32) -> Result<Watched, Failure> {
        let watched = Watched { pid };
        match watched.cpu().and_then(|_| watched.pss()) {
            Some(_) => Ok(watched),
            None => Err(Failure::Usage(format!(
                "--server-pid {pid}: no such process here, or its /proc may not be read"
            ))),
        }
    }

    /// This very program.
    pub fn own() -> Watched {
        Watched {
            pid: std::process::id(),
        }
    }

    fn pids(self) -> Vec<u32> {
        let mut parents = HashMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let stat = pid.and_then(|_| parse_stat(&read(entry.path().join("stat"))?));
            if let (Some(pid), Some(stat)) = (pid, stat) {
                parents.insert(pid, stat.parent);
            }
        }
        family(self.pid, &parents)
    }

    /// CPU time so far, in user mode and in the kernel: of all threads and children, those that ended included.
    pub fn cpu(self) -> Option<CpuTime> {
        let mut time = CpuTime::of(self.pid)?;
        for child in self.pids().into_iter().filter(|pid| *pid != self.pid) {
            if let Some(more) = CpuTime::of(child) {
                time.add(more);
            }
        }
        Some(time)
    }

    /// Proportional set size: memory of its own, and its share of what others use too; in bytes.
    pub fn pss(self) -> Option<u64> {
        let pss_of = |pid: u32| parse_kilobytes(&read(format!("/proc/{pid}/smaps_rollup"))?, "Pss");
        pss_of(self.pid)?;
        Some(self.pids().into_iter().filter_map(pss_of).sum())
    }

    /// How many threads there are.
    pub fn threads(self) -> usize {
        let of = |pid| std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.pids().into_iter().map(of).sum()
    }
}

/// CPU time at one moment, told twice: ticks count threads that have ended but are coarse; the scheduler counts
/// nanoseconds, but only of threads that live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuTime {
    ticks: u64,
    processes: u32,
    /// Nanoseconds by thread.
    threads: BTreeMap<u32, u64>,
}

impl CpuTime {
    fn of(pid: u32) -> Option<CpuTime> {
        let stat = parse_stat(&read(format!("/proc/{pid}/stat"))?)?;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let thread = |task: std::fs::DirEntry| {
            let number = task.file_name().to_str()?.parse().ok()?;
            Some((
                number,
                parse_schedstat(&read(task.path().join("schedstat"))?)?,
            ))
        };
        Some(CpuTime {
            ticks: stat.ticks,
            processes: 1,
            threads: tasks.filter_map(thread).collect(),
        })
    }

    fn add(&mut self, other: CpuTime) {
        self.ticks += other.ticks;
        self.processes += other.processes;
        self.threads.extend(other.threads);
    }

    /// What was used since `before`: to the nanosecond, unless a thread ended meanwhile, then to the tick.
    pub fn since(&self, before: &CpuTime) -> Duration {
        let coarse =
            TICK * u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap_or(u32::MAX);
        let used = |(thread, now): (&u32, &u64)| {
            now.saturating_sub(before.threads.get(thread).copied().unwrap_or(0))
        };
        let fine = Duration::from_nanos(self.threads.iter().map(used).sum());
        let all_live = before
            .threads
            .keys()
            .all(|thread| self.threads.contains_key(thread));
        // A thread that came and went between both moments shows in the ticks alone.
        let rounding = TICK * 2 * self.processes;
        match all_live && coarse <= fine + rounding {
            true => fine,
            false => coarse,
        }
    }

    /// What was used since the process began.
    pub fn total(&self) -> Duration {
        let none = CpuTime {
            ticks: 0,
            processes: 0,
            threads: BTreeMap::new(),
        };
        self.since(&none)
    }
}

/// What the kernel keeps for all programs of this machine: its own structures (sockets, files, page tables, stacks) and
/// the buffers of TCP, in bytes. Only a difference over many connections means anything.
pub fn kernel_bytes() -> Option<u64> {
    let meminfo = read("/proc/meminfo")?;
    let buffers = parse_sockstat(&read("/proc/net/sockstat")?)? * PAGE;
    let own: u64 = ["SUnreclaim", "KernelStack", "PageTables"]
        .iter()
        .filter_map(|name| parse_kilobytes(&meminfo, name))
        .sum();
    Some(own + buffers)
}

/// Raises this program's limit of open files as far as it may be raised, and gives it.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = read("/proc/sys/fs/nr_open").and_then(|text| text.trim().parse().ok());
    let wishes = [
        // Only root may pass the hard limit.
        most.map(|most: u64| Rlimit {
            current: Some(most),
            maximum: Some(most),
        }),
        Some(Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        }),
    ];
    for wish in wishes.into_iter().flatten() {
        if setrlimit(Resource::Nofile, wish).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The machine, for the head of a report.
pub fn machine() -> Vec<(String, String)> {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let meminfo = read("/proc/meminfo").unwrap_or_default();
    let memory = parse_kilobytes(&meminfo, "MemTotal").unwrap_or(0) as f64 / f64::from(1 << 30);
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("processor".to_owned(), format!("{model}, {cores} cores")),
        ("memory".to_owned(), format!("{memory:.0} GiB")),
        ("kernel".to_owned(), kernel.trim().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_only_a_name() {
        let line = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 9 0 5 6 7";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                parent: 12,
                ticks: 127
            })
        );
        assert_eq!(parse_stat("4711 (short) S 12"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn figures_are_found_in_their_files() {
        assert_eq!(parse_schedstat("123456789 22 3\n"), Some(123_456_789));
        let rollup =
            "0-1 ---p 0 00:00 0 [rollup]\nRss:    9 kB\nPss:    214 kB\nPss_Anon:   116 kB\n";
        assert_eq!(parse_kilobytes(rollup, "Pss"), Some(214 * 1024));
        assert_eq!(parse_kilobytes(rollup, "Swap"), None);
        let sockstat =
            "sockets: used 21\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 200\nUDP: inuse 0 mem 7\n";
        assert_eq!(parse_sockstat(sockstat), Some(200));
        assert_eq!(parse_sockstat("UDP: inuse 0 mem 7\n"), None);
    }

    #[test]
    fn children_of_children_belong_to_the_family() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 2), (5, 9), (1, 0)]);
        assert_eq!(family(1, &parents), [1, 2, 3, 4]);
        assert_eq!(family(9, &parents), [9, 5]);
        assert_eq!(family(7, &parents), [7]);
    }

    fn time(ticks: u64, threads: &[(u32, u64)]) -> CpuTime {
        CpuTime {
            ticks,
            processes: 1,
            threads: threads.iter().copied().collect(),
        }
    }

    #[test]
    fn cpu_is_told_to_the_nanosecond_while_threads_live() {
        let before = time(100, &[(1, 500), (2, 1000)]);
        let after = time(100, &[(1, 700), (2, 1001), (3, 9)]);
        assert_eq!(after.since(&before), Duration::from_nanos(210));
        assert_eq!(after.total(), Duration::from_secs(1));
    }

    #[test]
    fn cpu_of_threads_that_ended_is_told_to_the_tick() {
        let before = time(100, &[(1, 500), (2, 1000)]);
        let after = time(103, &[(1, 700)]);
        assert_eq!(after.since(&before), Duration::from_millis(30));
        // One that came and went between both moments.
        let after = time(110, &[(1, 700), (2, 1000)]);
        assert_eq!(after.since(&before), Duration::from_millis(100));
    }

    #[test]
    fn this_process_can_be_watched() {
        let own = Watched::new(std::process::id()).expect("it is there");
        assert!(own.pss().expect("it has memory") > 100_000);
        assert!(own.threads() >= 1);
        let before = own.cpu().expect("it has run");
        let used = || own.cpu().expect("it has run").since(&before);
        let mut sum = 0_u64;
        // Work until the kernel has counted some; bounded by the test's own patience.
        while used().is_zero() {
            sum = (0..1_000_000).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(std::hint::black_box(sum) != 1);
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        assert!(matches!(Watched::new(u32::MAX - 1), Err(Failure::Usage(_))));
    }
}
