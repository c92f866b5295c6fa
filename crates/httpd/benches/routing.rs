//! Lookups beside those of `matchit` and `wayfind`, on the 130 routes of matchit's own bench.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use httpd::routing::{Dispatch, Host, Path, field};

/// The routes as `{}` patterns, and a path for each: the GitHub API, as in matchit's bench.
const ROUTES: &str = include_str!("github.txt");

/// A route and the path looked up for it: each `{p}` becomes `p`.
fn routes() -> Vec<(String, String)> {
    let both = |line: &str| (line.to_owned(), line.replace(['{', '}'], ""));
    ROUTES
        .lines()
        .filter(|line| !line.is_empty())
        .map(both)
        .collect()
}

fn ours(pattern: &str) -> String {
    pattern.replace('{', ":").replace('}', "")
}

fn lookups(c: &mut Criterion) {
    let routes = routes();
    let paths: Vec<&str> = routes.iter().map(|(_, path)| path.as_str()).collect();
    let mut group = c.benchmark_group(format!("{} lookups", routes.len()));

    let table = Host::any().paths(
        routes
            .iter()
            .map(|(pattern, _)| Path::new(ours(pattern), true)),
    );
    let dispatch = Dispatch::compile(vec![table]).expect("compiles");
    group.bench_function("httpd, path only", |b| {
        b.iter(|| {
            for path in &paths {
                let found = dispatch.find("", black_box(path)).expect("found");
                assert!(*found.target());
            }
        });
    });

    let constrained = |pattern: &str| {
        let path = Path::new(ours(pattern), true);
        let names = pattern
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        names.fold(path, |path, name| path.constrain(field(name).nonempty()))
    };
    let others =
        (0..50).map(|n| Host::new(format!("api{n}.:zone.example")).path(Path::new("/", true)));
    let host = Host::new("[www.]:region.api.example")
        .paths(routes.iter().map(|(pattern, _)| constrained(pattern)));
    let table: Vec<_> = others.chain([host]).collect();
    let whole = Dispatch::compile(table).expect("compiles");
    group.bench_function("httpd, host, bindings and constraints", |b| {
        b.iter(|| {
            for path in &paths {
                let found = whole
                    .find("www.eu.api.example", black_box(path))
                    .expect("found");
                assert!(*found.target());
            }
        });
    });

    let mut router = matchit::Router::new();
    for (pattern, _) in &routes {
        router.insert(pattern.clone(), true).expect("inserted");
    }
    group.bench_function("matchit", |b| {
        b.iter(|| {
            for path in &paths {
                assert!(*router.at(black_box(path)).expect("found").value);
            }
        });
    });

    let mut builder = wayfind::RouterBuilder::new();
    for (pattern, _) in &routes {
        let pattern = pattern.replace('{', "<").replace('}', ">");
        builder.insert(&pattern, true).expect("inserted");
    }
    let router = builder.build();
    group.bench_function("wayfind", |b| {
        b.iter(|| {
            for path in &paths {
                assert!(*router.search(black_box(path)).expect("found").data());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
