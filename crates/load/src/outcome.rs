//! What a run found, as a table for people and as a line of JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::gauge::Spent;
use crate::latency::{Latency, Summary};

/// What a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The workload, with what tells its kinds apart: `chat window=1`.
    pub workload: String,
    /// What was done over and over: `message`, `login`.
    pub unit: &'static str,
    /// How often.
    pub units: u64,
    /// What it took.
    pub spent: Spent,
    /// How long each took, unless nothing was timed.
    pub latency: Option<Summary>,
    /// Further figures: name (with its unit at the end), value.
    pub figures: Vec<(String, f64)>,
}

impl Outcome {
    /// An outcome without further figures.
    pub fn new(
        workload: impl Into<String>,
        unit: &'static str,
        units: u64,
        spent: Spent,
        latency: &Latency,
    ) -> Outcome {
        Outcome {
            workload: workload.into(),
            unit,
            units,
            spent,
            latency: latency.summary(),
            figures: Vec::new(),
        }
    }

    /// The same with one more figure.
    pub fn with(mut self, name: &str, value: f64) -> Outcome {
        self.figures.push((name.to_owned(), value));
        self
    }

    fn per_unit(&self, cpu: Option<Duration>) -> Option<f64> {
        let units = self.units.max(1) as f64;
        cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / units)
    }

    /// CPU time of the server for one unit, in microseconds.
    pub fn server_us(&self) -> Option<f64> {
        self.per_unit(self.spent.server)
    }

    /// One line of JSON; `tags` are told with it.
    pub fn json(&self, tags: &[(String, String)]) -> String {
        let round = |figure: f64| (figure * 1000.0).round() / 1000.0;
        let seconds = self.spent.wall.as_secs_f64();
        let mut line = Map::new();
        for (name, value) in tags {
            line.insert(name.clone(), json!(value));
        }
        line.insert("workload".to_owned(), json!(self.workload));
        line.insert("unit".to_owned(), json!(self.unit));
        line.insert("units".to_owned(), json!(self.units));
        line.insert("seconds".to_owned(), json!(round(seconds)));
        line.insert(
            "per_second".to_owned(),
            json!(round(self.units as f64 / seconds.max(1e-9))),
        );
        if let Some(figure) = self.server_us() {
            line.insert("server_cpu_us_per_unit".to_owned(), json!(round(figure)));
        }
        if let Some(figure) = self.per_unit(self.spent.own) {
            line.insert("own_cpu_us_per_unit".to_owned(), json!(round(figure)));
        }
        if let Some(latency) = self.latency {
            line.insert("latency".to_owned(), latency.json());
        }
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|(name, value)| (name.clone(), json!(round(*value))))
            .collect();
        if !figures.is_empty() {
            line.insert("figures".to_owned(), Value::Object(figures));
        }
        Value::Object(line).to_string()
    }

    /// A table of two columns.
    pub fn table(&self) -> String {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        let seconds = self.spent.wall.as_secs_f64();
        row(&plural(self.unit), self.units.to_string());
        row("seconds", format!("{seconds:.2}"));
        row(
            "a second",
            format!("{:.0}", self.units as f64 / seconds.max(1e-9)),
        );
        if let Some(figure) = self.server_us() {
            row(
                &format!("server CPU per {}", self.unit),
                format!("{figure:.1} µs"),
            );
        }
        if let Some(figure) = self.per_unit(self.spent.own) {
            row(
                &format!("generator CPU per {}", self.unit),
                format!("{figure:.1} µs"),
            );
        }
        if let Some(latency) = self.latency {
            row("latency p50", time(latency.p50));
            row("latency p99", time(latency.p99));
            row("latency p99.9", time(latency.p999));
            row("latency max", time(latency.max));
        }
        for (name, value) in &self.figures {
            row(&name.replace('_', " "), format!("{value:.1}"));
        }
        let width = rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut out = format!("{}\n", self.workload);
        for (name, value) in rows {
            let _ = writeln!(out, "  {name:width$}  {value}");
        }
        out
    }
}

/// More than one of `unit`.
pub fn plural(unit: &str) -> String {
    match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{unit}s"),
    }
}

/// Microseconds in the unit that reads best.
fn time(micros: f64) -> String {
    match micros {
        short if short < 1e3 => format!("{short:.0} µs"),
        middle if middle < 1e6 => format!("{:.2} ms", middle / 1e3),
        long => format!("{:.2} s", long / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let latency = Latency::new();
        latency.record(Duration::from_micros(1500));
        let spent = Spent {
            wall: Duration::from_secs(2),
            server: Some(Duration::from_millis(40)),
            own: Some(Duration::from_millis(10)),
        };
        Outcome::new("chat window=1", "message", 1000, spent, &latency).with("pss_bytes", 12.5)
    }

    #[test]
    fn json_is_one_line_with_all_figures() {
        let line = outcome().json(&[("server".to_owned(), "a \"b\"".to_owned())]);
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["server"], "a \"b\"");
        assert_eq!(value["units"], 1000);
        assert_eq!(value["per_second"], 500.0);
        assert_eq!(value["server_cpu_us_per_unit"], 40.0);
        assert_eq!(value["own_cpu_us_per_unit"], 10.0);
        assert_eq!(value["latency"]["count"], 1);
        assert_eq!(value["figures"]["pss_bytes"], 12.5);
    }

    #[test]
    fn what_was_not_watched_is_not_told() {
        let mut outcome = outcome();
        outcome.spent.server = None;
        outcome.latency = None;
        let value: Value = serde_json::from_str(&outcome.json(&[])).expect("JSON");
        assert!(value.get("server_cpu_us_per_unit").is_none());
        assert!(value.get("latency").is_none());
        assert!(!outcome.table().contains("server CPU"));
    }

    #[test]
    fn units_have_plurals() {
        assert_eq!(plural("delivery"), "deliveries");
        assert_eq!(plural("message"), "messages");
    }

    #[test]
    fn the_table_is_readable() {
        let table = outcome().table();
        for row in [
            "chat window=1",
            "messages                   1000",
            "server CPU per message     40.0 µs",
            "1.50 ms",
            "pss bytes",
        ] {
            assert!(table.contains(row), "{row:?} in\n{table}");
        }
    }
}
