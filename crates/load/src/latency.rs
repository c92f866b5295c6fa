//! How long things took: a histogram from a microsecond to ten minutes, three digits exact.

use std::cell::RefCell;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longest time that is told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(600);

/// How long things took.
pub struct Latency {
    histogram: RefCell<Histogram<u64>>,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl Latency {
    /// None yet.
    pub fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3)
            .expect("the bounds are in order and the digits are few");
        Latency {
            histogram: RefCell::new(histogram),
        }
    }

    /// One more.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.borrow_mut().saturating_record(nanos);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.histogram.borrow_mut().reset();
    }

    /// Adds what another counted.
    pub fn add(&self, other: &Latency) {
        self.histogram
            .borrow_mut()
            .add(&*other.histogram.borrow())
            .expect("both have the same bounds");
    }

    /// The figures, unless nothing was counted.
    pub fn summary(&self) -> Option<Summary> {
        let histogram = self.histogram.borrow();
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Some(Summary {
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        })
    }
}

/// Figures of a [`Latency`], in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many were counted.
    pub count: u64,
    /// Half took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Summary {
    /// As JSON, each figure rounded to a tenth.
    pub fn json(&self) -> Value {
        let tenth = |figure: f64| (figure * 10.0).round() / 10.0;
        json!({
            "count": self.count,
            "p50_us": tenth(self.p50),
            "p99_us": tenth(self.p99),
            "p999_us": tenth(self.p999),
            "max_us": tenth(self.max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(figure: f64, wanted: f64) -> bool {
        (figure - wanted).abs() <= wanted / 500.0
    }

    #[test]
    fn quantiles_of_a_thousand() {
        let latency = Latency::new();
        assert_eq!(latency.summary(), None);
        for millis in 1..=1000 {
            latency.record(Duration::from_millis(millis));
        }
        let summary = latency.summary().expect("there are some");
        assert_eq!(summary.count, 1000);
        assert!(near(summary.p50, 500e3), "{summary:?}");
        assert!(near(summary.p99, 990e3), "{summary:?}");
        assert!(near(summary.p999, 999e3), "{summary:?}");
        assert!(near(summary.max, 1e6), "{summary:?}");
        assert_eq!(summary.json()["count"], 1000);
    }

    #[test]
    fn times_beyond_the_end_count_as_the_end() {
        let latency = Latency::new();
        latency.record(Duration::from_secs(3600));
        let max = latency.summary().expect("there is one").max;
        assert!(near(max, 600e6), "{max}");
    }

    #[test]
    fn two_are_added() {
        let (one, other) = (Latency::new(), Latency::new());
        one.record(Duration::from_micros(10));
        other.record(Duration::from_micros(1000));
        one.add(&other);
        let summary = one.summary().expect("there are two");
        assert_eq!(summary.count, 2);
        assert!(near(summary.max, 1000.0));
        one.clear();
        assert_eq!(one.summary(), None);
    }
}
