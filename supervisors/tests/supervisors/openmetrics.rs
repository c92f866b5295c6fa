//! The page of metrics by the letter of OpenMetrics 1.0: names, units, types, labels, buckets, order, end.

use std::collections::{BTreeMap, BTreeSet};

use crate::browser::Browser;
use crate::house::House;
use crate::http::{HTTP, door};
use crate::peer::Peer;

/// What a page says of one family.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    help: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    is_integer: bool,
}

impl Sample {
    /// Its labels but the bound of a bucket.
    fn of(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.remove("le");
        labels
    }
}

/// Reads a page.
///
/// # Errors
///
/// The first thing in it that is not as the standard has it.
fn read(page: &str) -> Result<BTreeMap<String, Family>, String> {
    if page.contains('\r') {
        return Err("a carriage return".to_owned());
    }
    let body = page.strip_suffix("# EOF\n").ok_or("it has no end")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.split_terminator('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        let Some(told) = line.strip_prefix("# ") else {
            let family = families.get_mut(&current);
            let family = family.ok_or_else(|| wrong("a sample of no family"))?;
            let sample = sample(line).map_err(|why| wrong(&why))?;
            family.samples.push(sample);
            continue;
        };
        let words: Vec<&str> = told.splitn(3, ' ').collect();
        let [what, name, rest] = words[..] else {
            return Err(wrong("half a line about a family"));
        };
        if what == "TYPE" {
            if !is_name(name, true) {
                return Err(wrong("no name of a family"));
            }
            let kind = rest.to_owned();
            let family = Family {
                kind,
                ..Family::default()
            };
            if families.insert(name.to_owned(), family).is_some() {
                return Err(wrong("a family comes twice"));
            }
            current = name.to_owned();
            continue;
        }
        if name != current {
            return Err(wrong("about another family"));
        }
        let family = families.get_mut(name).expect("it is the current one");
        let is_late = !family.samples.is_empty() || family.help.is_some();
        let place = match what {
            "UNIT" => &mut family.unit,
            "HELP" => &mut family.help,
            _ => return Err(wrong("neither type, unit nor help")),
        };
        if is_late || place.replace(rest.to_owned()).is_some() {
            return Err(wrong("out of its order"));
        }
    }
    for (name, family) in &families {
        check(name, family).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(families)
}

fn is_name(name: &str, colons: bool) -> bool {
    let mut chars = name.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    chars.next().is_some_and(first) && chars.all(|c| first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("no name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label, false) {
                return Err(format!("no name of a label: {label}"));
            }
            let (text, behind) = quoted(value)?;
            if labels.insert(label.to_owned(), text).is_some() {
                return Err(format!("the label {label} twice"));
            }
            rest = match behind.strip_prefix(',') {
                Some(next) if !next.starts_with('}') => next,
                Some(_) => return Err("a comma behind the last label".to_owned()),
                None => behind,
            };
            if rest.is_empty() {
                return Err("labels without an end".to_owned());
            }
        }
        rest = &rest[1..];
    }
    let text = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let is_number = text
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.e".contains(&b));
    let value = text.parse().ok().filter(|_| is_number);
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: value.ok_or("no number")?,
        is_integer: text.bytes().all(|byte| byte.is_ascii_digit()),
    })
}

/// What a quoted text says, and what stands behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut said = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((said, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => said.push('\n'),
                Some((_, c @ ('\\' | '"'))) => said.push(c),
                _ => return Err("an unknown escape".to_owned()),
            },
            c => said.push(c),
        }
    }
    Err("a text without an end".to_owned())
}

/// What the standard says of a whole family.
fn check(name: &str, family: &Family) -> Result<(), String> {
    let suffixes: &[&str] = match family.kind.as_str() {
        "gauge" => &[""],
        "counter" => &["_total"],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_count", "_sum"],
        other => return Err(format!("{other} is no type that is used here")),
    };
    if ["_total", "_info", "_bucket", "_count", "_sum", "_created"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
    {
        return Err("the family has the suffix of a sample".to_owned());
    }
    let unit = name.rsplit('_').next();
    let unit = unit.filter(|last| ["seconds", "bytes"].contains(last));
    if family.unit.as_deref() != unit {
        return Err(format!("the unit is {:?}, not {unit:?}", family.unit));
    }
    if family.help.as_ref().is_none_or(|help| !help.ends_with('.')) {
        return Err("nobody is told what it is".to_owned());
    }
    let mut seen = Vec::new();
    for sample in &family.samples {
        let suffix = sample.name.strip_prefix(name);
        if !suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
            return Err(format!("{} does not belong to it", sample.name));
        }
        if seen.contains(&sample) {
            return Err(format!("{sample:?} comes twice"));
        }
        let is_right = match family.kind.as_str() {
            "info" => sample.value == 1.0,
            "counter" => sample.value >= 0.0,
            "histogram" => {
                sample.value >= 0.0 && (sample.name.ends_with("_sum") || sample.is_integer)
            }
            _ => true,
        };
        if !is_right {
            return Err(format!("{sample:?} has an impossible value"));
        }
        seen.push(sample);
    }
    let keys: Vec<_> = family
        .samples
        .iter()
        .map(|s| (&s.name, &s.labels))
        .collect();
    if keys.iter().collect::<BTreeSet<_>>().len() != keys.len() {
        return Err("the same labels come twice".to_owned());
    }
    if family.kind == "histogram" {
        // The points of one set of labels stand together.
        let mut done = BTreeSet::new();
        for point in family.samples.chunk_by(|one, next| one.of() == next.of()) {
            if !done.insert(point[0].of()) {
                return Err("points are mixed".to_owned());
            }
            histogram(point)?;
        }
    }
    Ok(())
}

fn histogram(point: &[Sample]) -> Result<(), String> {
    let of = |suffix: &str| {
        let found = point.iter().filter(move |one| one.name.ends_with(suffix));
        found.collect::<Vec<_>>()
    };
    let (buckets, counts, sums) = (of("_bucket"), of("_count"), of("_sum"));
    let ([count], [_]) = (&counts[..], &sums[..]) else {
        return Err("a histogram has one count and one sum".to_owned());
    };
    let mut last = (f64::NEG_INFINITY, 0.0);
    for bucket in &buckets {
        let le = bucket.labels.get("le").ok_or("a bucket without a bound")?;
        let bound = match le.as_str() {
            "+Inf" => f64::INFINITY,
            text if is_canonical(text) => text.parse().map_err(|_| "no bound")?,
            text => return Err(format!("{text} is not as a bound is written")),
        };
        if bound <= last.0 || bucket.value < last.1 {
            return Err(format!("{bucket:?} is less than the one before"));
        }
        last = (bound, bucket.value);
    }
    match last == (f64::INFINITY, count.value) {
        true => Ok(()),
        false => Err("the last bucket does not count all".to_owned()),
    }
}

/// Section "Canonical Numbers", for what is used here: a point or an exponent of two digits and no zeros too many.
fn is_canonical(text: &str) -> bool {
    let Ok(value) = text.parse::<f64>() else {
        return false;
    };
    if (1e-4..1e6).contains(&value) {
        return format!("{value:?}") == text;
    }
    let Some((digits, exponent)) = text.split_once('e') else {
        return false;
    };
    exponent.len() == 3 && exponent.starts_with(['+', '-']) && !digits.ends_with(".0")
}

#[test]
fn what_is_not_by_the_standard_is_found() {
    let good = "# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n# HELP a_seconds A.\n\
                a_seconds_bucket{x=\"\\\"\\n\\\\\",le=\"1e-05\"} 0\na_seconds_bucket{x=\"\\\"\\n\\\\\",le=\"1.0\"} 2\n\
                a_seconds_bucket{x=\"\\\"\\n\\\\\",le=\"+Inf\"} 2\na_seconds_count{x=\"\\\"\\n\\\\\"} 2\n\
                a_seconds_sum{x=\"\\\"\\n\\\\\"} 0.5\n# TYPE b counter\n# HELP b B.\nb_total 1\n# EOF\n";
    assert_eq!(read(good).map(|families| families.len()), Ok(2));
    for (from, to, why) in [
        ("# EOF\n", "", "no end"),
        ("# EOF\n", "# EOF", "no end"),
        ("b_total 1\n", "b_total 1\r\n", "carriage return"),
        ("b_total 1\n", "b_total 1\n\n", "no value"),
        ("b_total 1\n", "b 1\n", "does not belong"),
        ("b_total 1\n", "b_total -1\n", "impossible value"),
        ("b_total 1\n", "b_total NaN\n", "no number"),
        ("b_total 1\n", "b_total 1\nb_total 2\n", "labels come twice"),
        ("b_total 1\n", "b_total{} 1\n", ""),
        ("b_total 1\n", "b_total{x=\"1\",} 1\n", "comma"),
        ("b_total 1\n", "b_total{x=\"1\" 1\n", "label"),
        ("b_total 1\n", "b_total{x=\"1\",x=\"2\"} 1\n", "twice"),
        ("b_total 1\n", "b_total{x=\"\\t\"} 1\n", "escape"),
        ("b_total 1\n", "b_total{1=\"1\"} 1\n", "name of a label"),
        ("b_total 1\n", "# HELP b B.\nb_total 1\n", "order"),
        ("# HELP b B.\n", "", "told what it is"),
        ("# HELP b B.\n", "# HELP a_seconds B.\n", "another family"),
        ("# HELP b B.\n", "# WHAT b B.\n", "neither type"),
        ("TYPE b counter", "TYPE b thing", "no type"),
        (
            "TYPE b counter",
            "TYPE a_seconds counter",
            "family comes twice",
        ),
        ("# UNIT a_seconds seconds\n", "", "the unit"),
        ("1e-05", "1e-5", "not as a bound"),
        ("\"1.0\"", "\"1\"", "not as a bound"),
        ("\"1.0\"} 2", "\"1.0\"} 3", "less than the one before"),
        ("\"+Inf\"} 2", "\"+Inf\"} 3", "not count all"),
        ("le=\"+Inf\"", "le=\"2.0\"", "not count all"),
        ("a_seconds_sum{x=\"\\\"\\n\\\\\"} 0.5\n", "", "one sum"),
        (
            "_count{x=\"\\\"\\n\\\\\"} 2\n",
            "_count{x=\"\\\"\\n\\\\\"} 2.0\n",
            "impossible",
        ),
    ] {
        let page = good.replacen(from, to, 1);
        assert_ne!(page, good, "{from}");
        match read(&page) {
            Ok(_) => assert_eq!(why, "", "{to}"),
            Err(told) => assert!(!why.is_empty() && told.contains(why), "{to}: {told}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_by_the_standard() {
    let house = House::start(HTTP).await;
    house.done("register alice a.example secret").await;
    let mut browser = Browser::dial(door(&house)).await;
    let first = browser.asks("GET", "x", "/metrics", &[], "").await;
    let before = read(&first.body).unwrap_or_else(|why| panic!("{why}\n{}", first.body));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(first.header("content-type"), content_type);

    // Something of everything, also with methods and paths that nobody foresaw.
    let mut alice = Peer::dial(house.server.addresses()[0].at).await;
    alice.logs_in("alice", "a.example", "secret").await;
    alice.says("<presence/>").await;
    alice
        .says("<message to='nobody@a.example' id='m'><body>hi</body></message>")
        .await;
    alice.hears("</message>").await;
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("M-SEARCH", "/health", 405),
        ("GET", "/%22%5C%0A", 404),
        ("GET", "/api/status", 401),
        ("POST", "/bosh", 200),
        ("GET", "/ws", 426),
    ] {
        let reply = browser.asks(method, "localhost", path, &[], "").await;
        assert_eq!(reply.status, status, "{method} {path}");
    }
    let second = browser.asks("GET", "x", "/metrics", &[], "").await;
    let after = read(&second.body).unwrap_or_else(|why| panic!("{why}\n{}", second.body));
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>(),
        "families are always the same"
    );
    // What is counted never becomes less, and none that was counted is forgotten.
    let mut counted = 0;
    for (name, family) in &before {
        if family.kind != "counter" && family.kind != "histogram" {
            continue;
        }
        for old in &family.samples {
            let mut samples = after[name].samples.iter();
            let new = samples.find(|new| new.name == old.name && new.labels == old.labels);
            let new = new.unwrap_or_else(|| panic!("{old:?} is gone"));
            assert!(new.value >= old.value, "{old:?} {new:?}");
            counted += 1;
        }
    }
    assert!(counted > 40, "{counted}");
    drop(alice);
    house.stop().await;
}
