//! Many runs' lines of JSON, read again: medians and spreads, judged by targets, as pages and plots.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

pub mod pages;
pub mod plot;
pub mod targets;

/// One line of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Whose it is, by the tag `server`.
    pub server: String,
    /// In which state the server was, by the tag `state`.
    pub state: String,
    /// The workload's name.
    pub workload: String,
    /// What was done over and over.
    pub unit: String,
    /// All figures by name: `cpu`, `own`, `p50`, `p99`, `p999`, `max` in microseconds, `per_second`, and the workload's own.
    pub figures: BTreeMap<String, f64>,
}

/// All lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    rows: Vec<Row>,
}

/// The middle of some figures, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; between the middle two when they are even in number.
    pub median: f64,
    /// The least.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of these figures, unless there are none.
    pub fn of(mut figures: Vec<f64>) -> Option<Spread> {
        figures.retain(|figure| figure.is_finite());
        figures.sort_by(f64::total_cmp);
        let (low, high) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len().is_multiple_of(2) {
            true => f64::midpoint(figures[middle - 1], figures[middle]),
            false => figures[middle],
        };
        Some(Spread {
            median,
            low,
            high,
            count: figures.len(),
        })
    }
}

impl Results {
    /// Reads lines of JSON.
    ///
    /// # Errors
    ///
    /// A sentence with the number of the first line that is none of a run's.
    pub fn read(text: &str) -> Result<Results, Failure> {
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let row = row(line);
            rows.push(
                row.ok_or_else(|| {
                    Failure::new(format!("line {} is no line of a run", number + 1))
                })?,
            );
        }
        Ok(Results { rows })
    }

    /// Reads a file of them.
    ///
    /// # Errors
    ///
    /// A sentence that names the file.
    pub fn read_file(path: &Path) -> Result<Results, Failure> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("{name}: {error}")))?;
        Results::read(&text).map_err(|failure| failure.while_doing(&name.to_string()))
    }

    /// Workloads in the order of their first run, growth left out.
    pub fn workloads(&self) -> Vec<String> {
        let names = self.rows.iter().map(|row| &row.workload);
        in_order(names.filter(|name| !name.starts_with("growth ")))
    }

    /// Axes of growth in the order of their first run.
    pub fn axes(&self) -> Vec<String> {
        let names = self.rows.iter().map(|row| &row.workload);
        in_order(names.filter(|name| name.starts_with("growth ")))
    }

    /// Servers in the order of their first run.
    pub fn servers(&self) -> Vec<String> {
        in_order(self.rows.iter().map(|row| &row.server))
    }

    /// States that `server` was measured in, in the order of the first run.
    pub fn states(&self, server: &str) -> Vec<String> {
        in_order(
            self.rows
                .iter()
                .filter(|row| row.server == server)
                .map(|row| &row.state),
        )
    }

    /// The unit of a workload.
    pub fn unit(&self, workload: &str) -> &str {
        let row = self.rows.iter().find(|row| row.workload == workload);
        row.map_or("", |row| &row.unit)
    }

    /// A figure of a server in a state, over all rounds.
    pub fn spread(
        &self,
        workload: &str,
        server: &str,
        state: &str,
        figure: &str,
    ) -> Option<Spread> {
        let all = self
            .rows
            .iter()
            .filter(|row| row.workload == workload && row.server == server && row.state == state);
        Spread::of(
            all.filter_map(|row| row.figures.get(figure).copied())
                .collect(),
        )
    }

    /// A figure along an axis: points of `x` and median, in the order of `x`.
    pub fn line(&self, axis: &str, server: &str, figure: &str) -> Vec<(f64, f64)> {
        let mut points: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let rows = self
            .rows
            .iter()
            .filter(|row| row.workload == axis && row.server == server);
        for row in rows {
            if let (Some(x), Some(y)) = (row.figures.get("x"), row.figures.get(figure)) {
                // Positions on an axis are counts.
                points.entry(*x as u64).or_default().push(*y);
            }
        }
        let point = |(x, figures): (u64, Vec<f64>)| Some((x as f64, Spread::of(figures)?.median));
        points.into_iter().filter_map(point).collect()
    }
}

fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    found
}

fn row(line: &str) -> Option<Row> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let mut figures = BTreeMap::new();
    let mut keep = |name: &str, figure: Option<&Value>| {
        if let Some(figure) = figure.and_then(Value::as_f64) {
            figures.insert(name.to_owned(), figure);
        }
    };
    keep("cpu", value.get("server_cpu_us_per_unit"));
    keep("own", value.get("own_cpu_us_per_unit"));
    keep("per_second", value.get("per_second"));
    for (name, key) in [
        ("p50", "p50_us"),
        ("p99", "p99_us"),
        ("p999", "p999_us"),
        ("max", "max_us"),
    ] {
        keep(
            name,
            value.get("latency").and_then(|latency| latency.get(key)),
        );
    }
    for (name, figure) in value
        .get("figures")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        keep(name, Some(figure));
    }
    let workload = text("workload");
    (!workload.is_empty()).then(|| Row {
        server: text("server"),
        state: text("state"),
        unit: text("unit"),
        workload,
        figures,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line as a run prints it.
    pub(crate) fn line(server: &str, state: &str, workload: &str, cpu: f64, p99: f64) -> String {
        format!(
            "{{\"server\":\"{server}\",\"state\":\"{state}\",\"workload\":\"{workload}\",\"unit\":\"message\",\
             \"server_cpu_us_per_unit\":{cpu},\"latency\":{{\"p99_us\":{p99}}}}}\n"
        )
    }

    #[test]
    fn medians_and_spreads() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).expect("three");
        assert_eq!(
            (spread.median, spread.low, spread.high, spread.count),
            (2.0, 1.0, 3.0, 3)
        );
        assert_eq!(Spread::of(vec![4.0, 1.0]).expect("two").median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![f64::NAN]), None);
    }

    #[test]
    fn rounds_of_one_server_and_state_belong_together() {
        let text = [
            line("a", "fresh", "chat", 10.0, 5.0),
            line("a", "fresh", "chat", 30.0, 5.0),
            line("a", "fresh", "chat", 20.0, 5.0),
            line("a", "aged", "chat", 99.0, 5.0),
            line("b", "fresh", "chat", 98.0, 5.0),
        ]
        .concat();
        let results = Results::read(&text).expect("lines");
        let spread = results.spread("chat", "a", "fresh", "cpu").expect("three");
        assert_eq!((spread.median, spread.count), (20.0, 3));
        assert_eq!(results.servers(), ["a", "b"]);
        assert_eq!(results.states("a"), ["fresh", "aged"]);
        assert_eq!(results.workloads(), ["chat"]);
        assert_eq!(results.unit("chat"), "message");
        assert_eq!(results.spread("chat", "c", "fresh", "cpu"), None);
    }

    #[test]
    fn growth_is_a_line() {
        let point = |x: u32, cpu: f64| {
            format!(
                "{{\"server\":\"a\",\"workload\":\"growth sessions\",\"server_cpu_us_per_unit\":{cpu},\"figures\":{{\"x\":{x}}}}}\n"
            )
        };
        let text = [point(1000, 12.0), point(100, 10.0), point(100, 14.0)].concat();
        let results = Results::read(&text).expect("lines");
        assert_eq!(results.axes(), ["growth sessions"]);
        assert!(results.workloads().is_empty());
        assert_eq!(
            results.line("growth sessions", "a", "cpu"),
            [(100.0, 12.0), (1000.0, 12.0)]
        );
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let text = format!("{}\nnonsense\n", line("a", "fresh", "chat", 1.0, 1.0));
        let failure = Results::read(&text).expect_err("the third line");
        assert!(failure.to_string().contains("line 3"), "{failure}");
    }

    #[test]
    fn what_an_outcome_prints_can_be_read() {
        use crate::gauge::Spent;
        use crate::latency::Latency;
        use crate::outcome::Outcome;
        use std::time::Duration;
        let latency = Latency::new();
        latency.record(Duration::from_millis(1));
        let spent = Spent {
            wall: Duration::from_secs(1),
            server: Some(Duration::from_millis(1)),
            own: None,
        };
        let outcome = Outcome::new("chat", "message", 10, spent, &latency).with("x", 3.0);
        let results =
            Results::read(&outcome.json(&[("server".to_owned(), "a".to_owned())])).expect("a line");
        let figure = |name| {
            results
                .spread("chat", "a", "", name)
                .map(|spread| spread.median)
        };
        assert_eq!(figure("cpu"), Some(100.0));
        assert_eq!(figure("per_second"), Some(10.0));
        assert_eq!(figure("x"), Some(3.0));
        assert!(figure("p99").is_some() && figure("own").is_none());
    }
}
