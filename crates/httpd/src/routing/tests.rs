//! The lookup: vectors of the specification, and any table against a reading of it rule by rule.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::pattern::{Kind, Segment, parse};
use super::*;

type Table = Vec<Host<u32>>;

/// What a lookup gives, in words: target, bindings, host_info, path_info.
fn look(dispatch: &Dispatch<u32>, host: &str, path: &str) -> String {
    match dispatch.find(host, path) {
        Err(error) => error.status().to_string(),
        Ok(found) => {
            let mut said = format!("{}", found.target());
            for (name, value) in found.bindings() {
                said += &format!(" {name}={value:?}");
            }
            if let Some(info) = found.host_info() {
                said += &format!(" host={}", info.join("."));
            }
            if let Some(info) = found.path_info() {
                let shown: Vec<_> = info.iter().map(|s| String::from_utf8_lossy(s)).collect();
                said += &format!(" path={}", shown.join("|"));
            }
            said
        }
    }
}

fn compiled(table: Table) -> Dispatch<u32> {
    Dispatch::compile(table).expect("compiles")
}

fn check(table: Table, cases: &[(&str, &str, &str)]) {
    let dispatch = compiled(table);
    for (host, path, wanted) in cases {
        assert_eq!(look(&dispatch, host, path), *wanted, "{host}{path}");
    }
}

#[test]
fn the_first_rule_that_matches_is_taken() {
    let table = vec![
        Host::new("[www.]example.org")
            .path(Path::new("/users/:id", 1).constrain(field("id").int()))
            .path(Path::new("/users/:name", 2).constrain(field("name").nonempty()))
            .path(Path::new("/users/all", 3))
            .path(Path::new("/a/[b/[:c]]", 4))
            .path(Path::new("/a/b/c/d", 5))
            .path(Path::new("/same/:x/:x", 6))
            .path(Path::new("/[...]", 7))
            .path(Path::new("/never", 8)),
        Host::new("[...].example.org").path(Path::new("/sub", 10)),
        Host::new(":tenant.:_.net").path(Path::new("/t/[:tenant]", 11)),
        Host::new(":tenant.:_.net").path(Path::new("/other", 12)),
        Host::new("").path(Path::new("/empty", 13)),
        Host::any()
            .path(Path::new("/x", 14))
            .path(Path::new("*", 15)),
    ];
    check(
        table,
        &[
            ("example.org", "/users/7", "1 id=7"),
            ("WWW.Example.ORG", "/users/+07", "1 id=7"),
            ("example.org.", "/users/joe", "2 name=\"joe\""),
            ("example.org", "/users/", "7 path=users"),
            ("example.org", "/users//", "7 path=users|"),
            ("example.org", "/users/all", "2 name=\"all\""),
            ("example.org", "/a", "4"),
            ("example.org", "/a/b/", "4"),
            ("example.org", "/a/b/c", "4 c=\"c\""),
            ("example.org", "/a/b/c/d", "5"),
            ("example.org", "/same/1/1", "6 x=\"1\""),
            ("example.org", "/same/1/%31", "6 x=\"1\""),
            ("example.org", "/same/1/2", "7 path=same|1|2"),
            ("example.org", "/", "7 path="),
            ("example.org", "/never", "7 path=never"),
            ("example.org", "/a%2Fb/../c", "7 path=c"),
            ("example.org", "*", "404"),
            ("example.org", "/%zz", "400"),
            ("example.org", "no-slash", "400"),
            ("a.b.example.org", "/sub", "10 host=a.b"),
            ("a.b.example.org", "/x", "404"),
            ("acme.shop.net", "/t", "11 tenant=\"acme\""),
            ("acme.shop.net", "/t/acme", "11 tenant=\"acme\""),
            ("acme.shop.net", "/t/other", "404"),
            // The host decision is final.
            ("acme.shop.net", "/other", "404"),
            ("", "/empty", "13"),
            ("elsewhere", "/x", "14"),
            ("elsewhere", "*", "15"),
            ("elsewhere", "/y", "404"),
            ("a..b", "/x", "400"),
        ],
    );
}

#[test]
fn no_host_is_400_and_no_path_404() {
    check(vec![], &[("a", "/", "400"), ("a..b", "/", "400")]);
    check(
        vec![Host::new("a")],
        &[("a", "/%", "404"), ("b", "/", "400")],
    );
}

#[test]
fn nothing_is_split_that_no_rule_asks_for() {
    let first = vec![
        Host::any()
            .path(Path::any_target(1))
            .path(Path::new("/a", 2)),
    ];
    check(
        first,
        &[("a..b", "/%zz", "1"), ("", "*", "1"), ("", "/a", "1")],
    );
    let star_first = vec![
        Host::any()
            .path(Path::new("*", 1))
            .path(Path::any_target(2)),
    ];
    check(star_first, &[("", "*", "1"), ("", "/%zz", "2")]);
    let later = vec![
        Host::new("a").path(Path::new("/", 1)),
        Host::any()
            .path(Path::new("/a", 2))
            .path(Path::any_target(3))
            .path(Path::new("/b", 4)),
    ];
    check(
        later,
        &[
            ("b..c", "/a", "400"),
            ("b", "/%", "400"),
            ("b", "/a", "2"),
            ("b", "/b", "3"),
            ("b", "*", "3"),
        ],
    );
}

#[test]
fn constraints_of_host_and_path() {
    let int = |name| field(name).int();
    let table = vec![
        Host::new(":id.int.org")
            .constrain(int("id"))
            .path(Path::new("/[:id]", 1)),
        Host::new(":id.path.org").path(Path::new("/[:id]", 2).constrain(int("id"))),
        Host::new(":a.two.org")
            .constrain(int("a"))
            .path(Path::new("/", 3)),
        Host::new(":a.two.org").path(Path::new("/", 4)),
    ];
    check(
        table,
        &[
            ("12.int.org", "/", "1 id=12"),
            // A number is not equal to text.
            ("12.int.org", "/12", "404"),
            ("x.int.org", "/", "400"),
            ("12.path.org", "/12", "2 id=12"),
            ("12.path.org", "/012", "404"),
            ("x.path.org", "/", "404"),
            ("1.two.org", "/", "3 a=1"),
            ("x.two.org", "/", "4 a=\"x\""),
        ],
    );
}

#[test]
fn a_panicking_constraint_is_fenced_where_it_stands_in_the_list() {
    let boom = || {
        check_fn("boom", |value| {
            if value.as_str() == Some("fall") {
                panic!("fell")
            } else {
                Ok(value)
            }
        })
    };
    let table = vec![
        Host::any()
            .path(Path::new("/first/:x", 1))
            .path(Path::new("/:a/:b", 2).constrain(field("b").check(boom())))
            .path(Path::new("/second/:x", 3)),
    ];
    let dispatch = compiled(table);
    assert_eq!(look(&dispatch, "", "/first/fall"), "1 x=\"fall\"");
    assert_eq!(look(&dispatch, "", "/second/fall"), "500");
    assert_eq!(look(&dispatch, "", "/second/x"), "2 a=\"second\" b=\"x\"");
    assert_eq!(
        dispatch.find("", "/x/fall").err(),
        Some(NoMatch::Panicked("fell".to_owned()))
    );
}

#[test]
fn a_constraint_of_ones_own_changes_the_value() {
    let upper = check_fn("upper", |value| {
        let text = value.as_str().ok_or("no text")?.to_ascii_uppercase();
        Ok(Value::Bytes(text.into_bytes()))
    });
    let shared = check_fn("shared", |value| {
        Ok(Value::Other(std::sync::Arc::new(value)))
    });
    let table = vec![
        Host::any()
            .path(Path::new("/up/:x", 1).constrain(field("x").nonempty().check(upper)))
            .path(
                Path::new("/own/:x", 2)
                    .constrain(field("x").check(shared))
                    .constrain(field("y").int()),
            ),
    ];
    let dispatch = compiled(table);
    let found = dispatch.find("", "/up/%61bc").expect("found");
    assert_eq!(
        (found.binding("x"), found.binding_int("x")),
        (Some("ABC"), None)
    );
    assert_eq!(look(&dispatch, "", "/up/%ff"), "404");
    let found = dispatch.find("", "/own/abc").expect("found");
    assert_eq!(found.binding("x"), None);
    let (_, value) = &found.bindings()[0];
    assert_eq!(value.as_other::<Value>(), Some(&Value::from("abc")));
}

#[test]
fn decoded_bytes_need_not_be_text() {
    let dispatch = compiled(vec![Host::any().path(Path::new("/:x", 1))]);
    let found = dispatch.find("", "/%00%ff").expect("found");
    assert_eq!(
        (found.binding_bytes("x"), found.binding("x")),
        (Some(&b"\0\xff"[..]), None)
    );
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let table: Table = vec![
        Host::new("a.[b")
            .path(Path::new("/ok", 1))
            .path(Path::new("/[...]/x", 2)),
        Host::any()
            .constrain(field("x"))
            .path(Path::any_target(3).constrain(field("x"))),
        Host::new("ok")
            .path(Path::new("*", 3).constrain(field("x")))
            .path(Path::new("x", 4)),
    ];
    let errors = Dispatch::compile(table).expect_err("wrong");
    let said = [
        "host 0 (\"a.[b\"), byte 2: `[` is never closed",
        "host 0 (\"a.[b\"), path 1 (\"/[...]/x\"), byte 1: `[...]` must end a path",
        "host 1 (any), byte 0: constraints on a rule that matches everything, and binds nothing",
        "host 1 (any), path 0 (any), byte 0: constraints on a rule that matches everything, and binds nothing",
        "host 2 (\"ok\"), path 0 (\"*\"), byte 0: constraints on a rule that matches everything, and binds nothing",
        "host 2 (\"ok\"), path 1 (\"x\"), byte 0: a path begins with `/`",
    ];
    assert_eq!(errors.to_string(), said.join("\n"));
}

#[test]
fn many_literals_of_one_length_and_one_beginning() {
    let numbered = |n: u32| format!("/prefix-that-is-long-{n:04}/x");
    let paths = (0..1000).map(|n| Path::new(numbered(n), n));
    let dispatch = compiled(vec![Host::any().paths(paths)]);
    for n in 0..1000 {
        assert_eq!(look(&dispatch, "", &numbered(n)), n.to_string());
    }
    assert_eq!(look(&dispatch, "", "/prefix-that-is-long-1000/x"), "404");
    assert_eq!(look(&dispatch, "", "/prefix-t/x"), "404");
    let between = |n: u32| format!("/same-at-both-{n:04}-ends-of-it");
    let paths = (0..1000).map(|n| Path::new(between(n), n));
    let dispatch = compiled(vec![Host::any().paths(paths)]);
    for n in 0..1000 {
        assert_eq!(look(&dispatch, "", &between(n)), n.to_string());
    }
    assert_eq!(look(&dispatch, "", "/same-at-both-1000-ends-of-it"), "404");
}

/// One rule of the reference: as the specification tells it, rule by rule.
mod naive {
    use super::*;

    type Bound = BTreeMap<String, Vec<u8>>;

    fn take(
        kind: Kind,
        pattern: &str,
        segments: &[Vec<u8>],
        bound: &Bound,
    ) -> Option<(Bound, Option<Vec<Vec<u8>>>)> {
        let alternatives = parse(kind, pattern).expect("compiles");
        'alternatives: for alternative in alternatives {
            let needed = alternative.segments.len();
            if segments.len() < needed || (segments.len() > needed && !alternative.rest) {
                continue;
            }
            let mut bound = bound.clone();
            for (wanted, segment) in alternative.segments.iter().zip(segments) {
                let fits = match wanted {
                    Segment::Any => true,
                    Segment::Literal(text) => text.as_bytes() == segment,
                    Segment::Name(name) => {
                        let first = bound
                            .entry(name.to_string())
                            .or_insert_with(|| segment.clone());
                        first == segment
                    }
                };
                if !fits {
                    continue 'alternatives;
                }
            }
            return Some((bound, alternative.rest.then(|| segments[needed..].to_vec())));
        }
        None
    }

    fn split(path: &str) -> Option<Vec<Vec<u8>>> {
        let mut segments = target::Ranges::new();
        let decoded = target::split_path(path, &mut segments).ok()?;
        let text = decoded.as_deref().unwrap_or(path.as_bytes());
        Some(
            segments
                .iter()
                .map(|r| target::slice(text, *r).to_vec())
                .collect(),
        )
    }

    /// What [`look`] says. Constraints are `int` on `n` and `nonempty` on `a`, and a host's names are not constrained.
    pub(super) fn look(table: &Table, host: &str, path: &str) -> String {
        let mut taken = None;
        for rule in table {
            let Some(pattern) = &rule.pattern else {
                taken = Some((rule, Bound::new(), None));
                break;
            };
            if host.split('.').any(str::is_empty) {
                return "400".to_owned();
            }
            let labels: Vec<Vec<u8>> = host.rsplit('.').map(|l| l.as_bytes().to_vec()).collect();
            if let Some((bound, rest)) = take(Kind::Host, pattern, &labels, &Bound::new()) {
                taken = Some((rule, bound, rest));
                break;
            }
        }
        let Some((rule, bound, host_info)) = taken else {
            return "400".to_owned();
        };
        let mut said = None;
        for path_rule in &rule.paths {
            let Some(pattern) = &path_rule.pattern else {
                said = Some((path_rule.target, bound.clone(), None));
                break;
            };
            let Some(segments) = split(path) else {
                return "400".to_owned();
            };
            // Each alternative is a rule of its own.
            let found = take_all(pattern, &segments, &bound, &path_rule.constraints);
            if let Some((bound, rest)) = found {
                said = Some((path_rule.target, bound, rest));
                break;
            }
        }
        let Some((target, bound, path_info)) = said else {
            return "404".to_owned();
        };
        let mut said = format!("{target}");
        for (name, value) in &bound {
            said += &format!(" {name}={:?}", String::from_utf8_lossy(value));
        }
        if let Some(info) = host_info {
            let info: Vec<_> = info
                .iter()
                .rev()
                .map(|l| String::from_utf8_lossy(l))
                .collect();
            said += &format!(" host={}", info.join("."));
        }
        if let Some(info) = path_info {
            let info: Vec<_> = info.iter().map(|s| String::from_utf8_lossy(s)).collect();
            said += &format!(" path={}", info.join("|"));
        }
        said
    }

    fn take_all(
        pattern: &str,
        segments: &[Vec<u8>],
        bound: &Bound,
        constraints: &[Field],
    ) -> Option<(Bound, Option<Vec<Vec<u8>>>)> {
        let alternatives = parse(Kind::Path, pattern).expect("compiles");
        alternatives.iter().find_map(|alternative| {
            let alone = super::pattern::shown(Kind::Path, alternative);
            let (bound, rest) = take(Kind::Path, &alone, segments, bound)?;
            let accepts = |field: &Field| {
                bound.get(field.name()).is_none_or(|value| {
                    let is_number = value.iter().all(u8::is_ascii_digit);
                    !value.is_empty() && (field.name() != "n" || is_number)
                })
            };
            constraints.iter().all(accepts).then_some((bound, rest))
        })
    }
}

/// As [`look`], with names in order and numbers as they were written, to compare with the reference.
fn look_in_order(dispatch: &Dispatch<u32>, host: &str, path: &str) -> String {
    let said = look(dispatch, host, path);
    let mut parts: Vec<String> = said.split(' ').map(str::to_owned).collect();
    let is_name = |part: &str| ["a=", "b=", "n="].iter().any(|name| part.starts_with(name));
    for part in &mut parts[1..] {
        if let Some(number) = part.strip_prefix("n=")
            && !number.starts_with('"')
        {
            *part = format!("n=\"{number}\"");
        }
    }
    let names = parts[1..].iter().take_while(|part| is_name(part)).count();
    parts[1..1 + names].sort();
    parts.join(" ")
}

/// Segments that meet often, so that rules overlap.
fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "x",
        "y",
        "twelve-bytes",
        "longer-than-eight",
        "longer-than-eighty",
        ":a",
        ":b",
        ":n",
        ":_",
    ])
    .prop_map(str::to_owned)
}

fn path_pattern() -> impl Strategy<Value = String> {
    let optional = (
        prop::collection::vec(segment(), 0..4),
        prop::collection::vec(segment(), 0..3),
        0..4,
    );
    optional.prop_map(|(fixed, optional, rest)| {
        let mut text = String::from("/");
        text += &fixed.join("/");
        if !optional.is_empty() {
            let slash = if fixed.is_empty() { "" } else { "/" };
            text += &format!("{slash}[{}]", optional.join("/"));
        } else if rest == 0 {
            text += if fixed.is_empty() { "[...]" } else { "/[...]" };
        }
        text
    })
}

fn host_pattern() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["x", "y", ":a", ":b", ":_"]);
    (prop::collection::vec(label, 1..4), 0..4).prop_map(|(labels, rest)| {
        let front = if rest == 0 { "[...]." } else { "" };
        format!("{front}{}", labels.join("."))
    })
}

fn table() -> impl Strategy<Value = Table> {
    let path = (path_pattern(), 0..4, 0..12).prop_map(|(pattern, int, any)| {
        let path = if any == 0 {
            Path::any_target(0)
        } else {
            Path::new(pattern, 0)
        };
        match int {
            0 if any != 0 => path.constrain(field("n").int()),
            1 if any != 0 => path.constrain(field("a").nonempty()),
            _ => path,
        }
    });
    let host = (host_pattern(), prop::collection::vec(path, 0..8), 0..6).prop_map(
        |(pattern, paths, any)| {
            let host = if any == 0 {
                Host::any()
            } else {
                Host::new(pattern)
            };
            host.paths(paths)
        },
    );
    prop::collection::vec(host, 0..5).prop_map(|mut table| {
        let paths = table.iter_mut().flat_map(|host| &mut host.paths);
        paths
            .zip(1..)
            .for_each(|(path, number)| path.target = number);
        table
    })
}

fn request_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "x",
        "y",
        "%78",
        "7",
        "7",
        "twelve-bytes",
        "longer-than-eight",
        "longer-than-eighty",
        "",
        ".",
        "..",
        "%2e%2e",
        "%2F",
        "%",
        " ",
    ]);
    let weighted = prop::collection::vec(segment, 0..6);
    weighted.prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_lookup_is_that_of_the_list(
        table in table(),
        requests in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(vec!["x", "y", "z", ""]), 1..4), request_path()),
            1..20,
        ),
    ) {
        let Ok(dispatch) = Dispatch::compile(table.clone()) else {
            // Two alternatives of one pattern that are the same.
            return Ok(());
        };
        for (labels, path) in requests {
            let host = labels.join(".");
            // The one trailing dot that is ignored.
            if host.ends_with('.') || host.is_empty() { continue; }
            prop_assert_eq!(
                look_in_order(&dispatch, &host, &path),
                naive::look(&table, &host, &path),
                "{}{} in {:?}", host, path, dispatch
            );
        }
    }
}
