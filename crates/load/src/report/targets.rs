//! What is aimed at: a file of targets, each held against what was measured.

use std::path::Path;

use serde_json::Value;

use super::Results;
use crate::failure::Failure;

/// Picks one of two figures.
type Pick = fn(f64, f64) -> f64;

/// What a figure is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// The number itself.
    Nothing,
    /// The best of all other servers but the floor, in its best state.
    Best,
    /// One server, in its best state.
    Server(String),
    /// The same server's first point on an axis of growth; the figure is the worst point over the first.
    Growth,
}

/// One target.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What it is called in the table.
    pub name: String,
    /// The workload, or the axis of growth.
    pub workload: String,
    /// The figure, as [`super::Row::figures`] names it.
    pub figure: String,
    /// What it is held against.
    pub against: Against,
    /// The most it may be, as it stands or as a ratio.
    pub at_most: Option<f64>,
    /// The least it may be, as it stands or as a ratio.
    pub at_least: Option<f64>,
}

/// What came of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The subject's own figure, at its worst state.
    pub own: f64,
    /// What it was held against: the other's name and figure.
    pub other: Option<(String, f64)>,
    /// What counts: the figure or the ratio.
    pub value: f64,
    /// Whether the target is met.
    pub met: bool,
}

/// Reads a list of targets in JSON.
///
/// # Errors
///
/// A sentence that names the target which is none.
pub fn read(text: &str) -> Result<Vec<Target>, Failure> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| Failure::new(error.to_string()))?;
    let list = value
        .as_array()
        .ok_or_else(|| Failure::new("a list of targets expected"))?;
    list.iter().map(target).collect()
}

/// Reads a file of them.
///
/// # Errors
///
/// A sentence that names the file.
pub fn read_file(path: &Path) -> Result<Vec<Target>, Failure> {
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{name}: {error}")))?;
    read(&text).map_err(|failure| failure.while_doing(&name.to_string()))
}

fn target(value: &Value) -> Result<Target, Failure> {
    let text = |key: &str| {
        let found = value.get(key).and_then(Value::as_str);
        found
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{value}: no {key:?}")))
    };
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    let (at_most, at_least) = (number("at_most"), number("at_least"));
    if at_most.is_none() && at_least.is_none() {
        return Err(Failure::new(format!(
            "{value}: neither \"at_most\" nor \"at_least\""
        )));
    }
    let against = match value.get("against").and_then(Value::as_str) {
        None => Against::Nothing,
        Some("best") => Against::Best,
        Some("growth") => Against::Growth,
        Some(server) => Against::Server(server.to_owned()),
    };
    Ok(Target {
        name: text("name")?,
        workload: text("workload")?,
        figure: text("figure")?,
        against,
        at_most,
        at_least,
    })
}

impl Target {
    /// Holds it against what was measured; `None` where something was not.
    pub fn judge(&self, results: &Results, subject: &str, floor: &str) -> Option<Verdict> {
        // Where more is better, the worst is the least.
        let more_is_better = self.at_least.is_some();
        let (worst, best): (Pick, Pick) = match more_is_better {
            true => (f64::min, f64::max),
            false => (f64::max, f64::min),
        };
        let over_states = |server: &str, pick: Pick| {
            let states = results.states(server);
            let figures = states
                .iter()
                .filter_map(|state| results.spread(&self.workload, server, state, &self.figure));
            figures.map(|spread| spread.median).reduce(pick)
        };
        let (own, other) = match &self.against {
            Against::Nothing => (over_states(subject, worst)?, None),
            Against::Server(server) => {
                let figure = over_states(server, best)?;
                (over_states(subject, worst)?, Some((server.clone(), figure)))
            }
            Against::Best => {
                let servers = results.servers();
                let others = servers
                    .iter()
                    .filter(|server| *server != subject && *server != floor);
                let figures =
                    others.filter_map(|server| Some((server.clone(), over_states(server, best)?)));
                let one = figures.reduce(|one, two| match best(one.1, two.1) == one.1 {
                    true => one,
                    false => two,
                })?;
                (over_states(subject, worst)?, Some(one))
            }
            Against::Growth => {
                let line = results.line(&self.workload, subject, &self.figure);
                let ((x, first), rest) = line.split_first()?;
                let last = rest.iter().map(|(_, y)| *y).reduce(worst)?;
                (last, Some((format!("at {x}"), *first)))
            }
        };
        let value = match &other {
            None => own,
            Some((_, figure)) => own / figure,
        };
        let met = self.at_most.is_none_or(|most| value <= most)
            && self.at_least.is_none_or(|least| value >= least);
        Some(Verdict {
            own,
            other,
            value,
            met,
        })
    }

    /// The bound in words.
    pub fn bound(&self) -> String {
        let against = match &self.against {
            Against::Nothing => String::new(),
            Against::Best => " × the best".to_owned(),
            Against::Server(server) => format!(" × {server}"),
            Against::Growth => " × the first point".to_owned(),
        };
        let number = |figure: f64| {
            let text = format!("{figure:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match (self.at_most, self.at_least) {
            (Some(most), _) => format!("≤ {}{against}", number(most)),
            (None, Some(least)) => format!("≥ {}{against}", number(least)),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn results() -> Results {
        let lines = [
            line("floor", "fresh", "chat", 5.0, 1.0),
            line("ours", "fresh", "chat", 9.0, 1.0),
            line("ours", "aged", "chat", 12.0, 1.0),
            line("e", "fresh", "chat", 60.0, 1.0),
            line("e", "aged", "chat", 50.0, 1.0),
            line("p", "fresh", "chat", 80.0, 1.0),
        ];
        Results::read(&lines.concat()).expect("lines")
    }

    fn one(json: &str) -> Target {
        read(&format!("[{json}]")).expect("a target").remove(0)
    }

    #[test]
    fn the_worst_of_ours_is_held_against_the_best_of_theirs() {
        let target =
            one(r#"{"name":"n","workload":"chat","figure":"cpu","against":"best","at_most":0.25}"#);
        let verdict = target.judge(&results(), "ours", "floor").expect("measured");
        assert_eq!(verdict.own, 12.0);
        assert_eq!(verdict.other, Some(("e".to_owned(), 50.0)));
        assert!(verdict.met);
        assert_eq!(target.bound(), "≤ 0.25 × the best");
        let target = Target {
            at_most: Some(0.2),
            ..target
        };
        assert!(
            !target
                .judge(&results(), "ours", "floor")
                .expect("measured")
                .met
        );
    }

    #[test]
    fn the_floor_can_be_named_and_numbers_stand_alone() {
        let floor =
            one(r#"{"name":"n","workload":"chat","figure":"cpu","against":"floor","at_most":2}"#);
        let verdict = floor.judge(&results(), "ours", "floor").expect("measured");
        assert_eq!((verdict.value, verdict.met), (2.4, false));
        let alone = one(r#"{"name":"n","workload":"chat","figure":"p99","at_most":1}"#);
        assert!(
            alone
                .judge(&results(), "ours", "floor")
                .expect("measured")
                .met
        );
        assert_eq!(alone.bound(), "≤ 1");
    }

    #[test]
    fn where_more_is_better_the_least_of_ours_counts() {
        let target =
            one(r#"{"name":"n","workload":"chat","figure":"cpu","against":"best","at_least":1}"#);
        let verdict = target.judge(&results(), "ours", "floor").expect("measured");
        assert_eq!(
            (verdict.own, verdict.other),
            (9.0, Some(("p".to_owned(), 80.0)))
        );
        assert!(!verdict.met);
    }

    #[test]
    fn growth_is_the_worst_point_over_the_first() {
        let point = |x: u32, cpu: f64| {
            format!(
                "{{\"server\":\"ours\",\"workload\":\"growth s\",\"server_cpu_us_per_unit\":{cpu},\"figures\":{{\"x\":{x}}}}}\n"
            )
        };
        let text = [point(1, 10.0), point(2, 11.4), point(3, 11.0)].concat();
        let results = Results::read(&text).expect("lines");
        let target = one(
            r#"{"name":"n","workload":"growth s","figure":"cpu","against":"growth","at_most":1.15}"#,
        );
        let verdict = target.judge(&results, "ours", "floor").expect("measured");
        assert_eq!(verdict.own, 11.4);
        assert!(verdict.met);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let target =
            one(r#"{"name":"n","workload":"muc","figure":"cpu","against":"best","at_most":1}"#);
        assert_eq!(target.judge(&results(), "ours", "floor"), None);
    }

    #[test]
    fn what_is_no_target_is_named() {
        let said = read(r#"[{"name":"n","workload":"w","figure":"f"}]"#)
            .expect_err("no bound")
            .to_string();
        assert!(said.contains("at_most"), "{said}");
        assert!(read("{}").is_err());
    }
}
