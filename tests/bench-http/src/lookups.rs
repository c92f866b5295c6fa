//! Lookups on the 130 routes of matchit's own bench.

use std::hint::black_box;

use httpd::routing::{Dispatch, Host, Path, field};
use rustix::time::{ClockId, clock_gettime};

/// The routes as `{}` patterns: the GitHub API.
const ROUTES: &str = include_str!("../../../crates/httpd/benches/github.txt");

/// Passes over all routes in one round.
const PASSES: usize = 400;

pub const KINDS: [&str; 4] = [
    "matchit, path",
    "wayfind, path",
    "httpd, path",
    "httpd, host and path, bindings and constraints",
];

/// CPU time of this thread so far, in nanoseconds: what others do on the machine does not count.
fn used() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 * 1e9 + used.tv_nsec as f64
}

/// Nanoseconds of CPU time of a lookup in each round, in the order of [`KINDS`].
pub fn measure(rounds: usize) -> Vec<Vec<f64>> {
    let patterns: Vec<&str> = ROUTES.lines().filter(|line| !line.is_empty()).collect();
    let paths: Vec<String> = patterns
        .iter()
        .map(|pattern| pattern.replace(['{', '}'], ""))
        .collect();
    let ours = |pattern: &str| pattern.replace('{', ":").replace('}', "");

    let mut matchit = matchit::Router::new();
    let mut wayfind = wayfind::RouterBuilder::new();
    for pattern in &patterns {
        matchit.insert(*pattern, true).expect("a route");
        let theirs = pattern.replace('{', "<").replace('}', ">");
        wayfind.insert(&theirs, true).expect("a route");
    }
    let wayfind = wayfind.build();
    let paths_only = Host::any().paths(patterns.iter().map(|of| Path::new(ours(of), true)));
    let paths_only = Dispatch::compile(vec![paths_only]).expect("routes");
    // The host is the last of 51; each name in a path must not be empty.
    let constrained = |pattern: &&str| {
        let path = Path::new(ours(pattern), true);
        let names = pattern
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        names.fold(path, |path, name| path.constrain(field(name).nonempty()))
    };
    let others =
        (0..50).map(|n| Host::new(format!("api{n}.:zone.example")).path(Path::new("/", true)));
    let last = Host::new("[www.]:region.api.example").paths(patterns.iter().map(constrained));
    let whole = Dispatch::compile(others.chain([last]).collect()).expect("routes");

    let contenders: [&dyn Fn(&str) -> bool; 4] = [
        &|path| *black_box(&matchit.at(path).expect("found")).value,
        &|path| *black_box(&wayfind.search(path).expect("found")).data(),
        &|path| *black_box(&paths_only.find("", path).expect("found")).target(),
        &|path| {
            let found = whole.find("www.eu.api.example", path).expect("found");
            *black_box(&found).target()
        },
    ];
    let mut measured = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let number = (round + turn) % contenders.len();
            let began = used();
            for _ in 0..PASSES {
                for path in &paths {
                    assert!(contenders[number](black_box(path)));
                }
            }
            let took = used() - began;
            if round > 0 {
                measured[number].push(took / (PASSES * paths.len()) as f64);
            }
        }
    }
    measured
}
