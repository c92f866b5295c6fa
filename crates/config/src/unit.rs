//! Values with a unit: durations and sizes.

use crate::raw::{Raw, quote};
use crate::value::Value;
use std::time::Duration;

/// A size in bytes, written with its unit: `"256 KiB"`, `"10 MB"`, `"0 B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(
    /// How many bytes.
    pub u64,
);

impl Bytes {
    /// So many KiB (1024 bytes).
    pub const fn kib(n: u64) -> Bytes {
        Bytes(n * 1024)
    }

    /// So many MiB (1024 KiB).
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n * 1024 * 1024)
    }

    /// The size for use in memory; as large as fits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Prints the size in the largest unit that divides it: `256 KiB`.
impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&in_largest_unit(self.0, SIZES))
    }
}

/// Smallest first; what is printed uses only those marked so.
const SIZES: &[Unit] = &[
    unit("B", 1, true),
    unit("kB", 1000, false),
    unit("KB", 1000, false),
    unit("KiB", 1 << 10, true),
    unit("MB", 1000 * 1000, false),
    unit("MiB", 1 << 20, true),
    unit("GB", 1000 * 1000 * 1000, false),
    unit("GiB", 1 << 30, true),
];

/// In milliseconds.
const TIMES: &[Unit] = &[
    unit("ms", 1, true),
    unit("s", 1000, true),
    unit("min", 60 * 1000, true),
    unit("h", 60 * 60 * 1000, true),
    unit("d", 24 * 60 * 60 * 1000, true),
];

struct Unit {
    name: &'static str,
    factor: u64,
    printed: bool,
}

const fn unit(name: &'static str, factor: u64, printed: bool) -> Unit {
    Unit {
        name,
        factor,
        printed,
    }
}

impl Value for Bytes {
    const TYPE: &'static str = "size";

    fn read(raw: &Raw) -> Result<Bytes, String> {
        read_unit(raw, SIZES, "a size such as \"256 KiB\"").map(Bytes)
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

/// A length of time with its unit, no finer than a millisecond.
impl Value for Duration {
    const TYPE: &'static str = "duration";

    fn read(raw: &Raw) -> Result<Duration, String> {
        read_unit(raw, TIMES, "a duration such as \"5 s\" or \"2 min\"").map(Duration::from_millis)
    }

    fn show(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return quote("0 s");
        }
        quote(&in_largest_unit(millis, TIMES))
    }
}

fn read_unit(raw: &Raw, units: &[Unit], wanted: &str) -> Result<u64, String> {
    let expected = || format!("expected {wanted}, found {}", raw.found());
    let text = raw.as_str().ok_or_else(expected)?.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = (&text[..digits], text[digits..].trim_start());
    if number.is_empty() || name.is_empty() || name.starts_with(|c: char| !c.is_alphabetic()) {
        return Err(expected());
    }
    let Some(unit) = units.iter().find(|unit| unit.name == name) else {
        let known: Vec<&str> = units.iter().map(|unit| unit.name).collect();
        return Err(format!(
            "unknown unit {} (units: {})",
            quote(name),
            known.join(", ")
        ));
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit.factor))
        .ok_or_else(|| format!("{} is too large", quote(text)))
}

fn in_largest_unit(amount: u64, units: &[Unit]) -> String {
    let fits =
        |unit: &&Unit| unit.printed && amount >= unit.factor && amount.is_multiple_of(unit.factor);
    let unit = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{} {}", amount / unit.factor, unit.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let pairs = [
            ("256 KiB", 262_144, "\"256 KiB\""),
            ("1024KiB", 1 << 20, "\"1 MiB\""),
            ("10 MB", 10_000_000, "\"10000000 B\""),
            ("0 B", 0, "\"0 B\""),
        ];
        for (text, bytes, shown) in pairs {
            assert_eq!(Bytes::from_text(text), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).show(), shown);
        }
        assert_eq!(Bytes::kib(1).to_string(), "1 KiB");
    }

    #[test]
    fn durations() {
        let pairs = [
            ("5 s", 5_000, "\"5 s\""),
            ("120s", 120_000, "\"2 min\""),
            ("1 h", 3_600_000, "\"1 h\""),
            ("36 h", 129_600_000, "\"36 h\""),
            ("250 ms", 250, "\"250 ms\""),
            ("0 s", 0, "\"0 s\""),
        ];
        for (text, millis, shown) in pairs {
            assert_eq!(Duration::from_text(text), Ok(Duration::from_millis(millis)));
            assert_eq!(Duration::from_millis(millis).show(), shown);
        }
    }

    #[test]
    fn bad_units_are_told() {
        let told = [
            (
                "5",
                "expected a duration such as \"5 s\" or \"2 min\", found the number 5",
            ),
            (
                "s",
                "expected a duration such as \"5 s\" or \"2 min\", found text \"s\"",
            ),
            (
                "-5 s",
                "expected a duration such as \"5 s\" or \"2 min\", found text \"-5 s\"",
            ),
            (
                "1.5 h",
                "expected a duration such as \"5 s\" or \"2 min\", found text \"1.5 h\"",
            ),
            ("5 sec", "unknown unit \"sec\" (units: ms, s, min, h, d)"),
            (
                "99999999999999999999 s",
                "\"99999999999999999999 s\" is too large",
            ),
            (
                "9999999999999999999 d",
                "\"9999999999999999999 d\" is too large",
            ),
        ];
        for (text, message) in told {
            assert_eq!(Duration::from_text(text), Err(message.to_owned()));
        }
        assert_eq!(
            Bytes::from_text("5 kb"),
            Err("unknown unit \"kb\" (units: B, kB, KB, KiB, MB, MiB, GB, GiB)".to_owned())
        );
    }
}
