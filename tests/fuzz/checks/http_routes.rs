//! Any text: lines before an empty one are patterns, those behind it hosts and paths. A table finds the first rule that
//! would be found alone, and nothing panics.

use httpd::routing::NoMatch;
use httpd::{Dispatch, Host, Path};

/// The most patterns and requests of one input.
const MOST: usize = 12;

/// Checks one input.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (patterns, requests) = text.split_once("\n\n").unwrap_or((&text, "/"));
    // A pattern is a path's, or, with a space, a host's and a path's.
    let rules: Vec<(Option<&str>, &str)> = patterns
        .lines()
        .take(MOST)
        .map(|line| match line.split_once(' ') {
            Some((host, path)) => (Some(host), path),
            None => (None, line),
        })
        .filter(|(host, path)| compile(&[(*host, *path)]).is_some())
        .collect();
    let Some(all) = compile(&rules) else { return };
    for request in requests.lines().take(MOST) {
        let (host, path) = request.split_once(' ').unwrap_or(("a.example", request));
        look(&all, &rules, host, path);
    }
}

/// A table of rules, each host with its paths where they follow each other.
fn compile(rules: &[(Option<&str>, &str)]) -> Option<Dispatch<usize>> {
    let host = |(number, (host, path)): (usize, &(Option<&str>, &str))| {
        let of = host.map_or_else(Host::any, Host::new);
        of.path(Path::new(*path, number))
    };
    Dispatch::compile(rules.iter().enumerate().map(host).collect()).ok()
}

fn look(all: &Dispatch<usize>, rules: &[(Option<&str>, &str)], host: &str, path: &str) {
    let found = all.find(host, path);
    // The host decides: the first that matches, whatever its paths.
    let alone = |rule: &(Option<&str>, &str)| {
        let of = rule.0.map_or_else(Host::any, Host::new);
        let any = Dispatch::compile(vec![of.path(Path::any_target(()))]).expect("it compiled");
        any.find(host, path).is_ok()
    };
    let first = rules.iter().position(alone);
    match (&found, first) {
        (Ok(found), Some(first)) => {
            assert_eq!(*found.target(), first);
            let single = compile(&rules[first..=first]).expect("it compiled");
            let single = single.find(host, path).expect("found alone as well");
            assert_eq!(single.bindings(), found.bindings());
            assert_eq!(single.path_info(), found.path_info());
            assert_eq!(single.host_info(), found.host_info());
            let ends = found
                .patterns()
                .1
                .is_some_and(|pattern| pattern.contains("[...]"));
            assert!(found.path_info().is_none() || ends);
        }
        // Whether a host is one is asked when the first rule is reached that has a pattern.
        (Err(NoMatch::MalformedHost), Some(first)) => {
            assert!(rules[..first].iter().any(|rule| rule.0.is_some()));
        }
        (Err(error), Some(first)) => {
            let single = compile(&rules[first..=first]).expect("it compiled");
            assert_eq!(single.find(host, path).err().as_ref(), Some(error));
        }
        (Err(error), None) => assert_eq!(error.status(), 400),
        (Ok(_), None) => panic!("found where no host matches"),
    }
}
