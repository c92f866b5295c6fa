//! Dates and times as XMPP writes them (XEP-0082).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Writes `at` as a XEP-0082 DateTime in UTC with milliseconds, such as
/// `2026-11-20T21:10:05.123Z`. Times before 1970 are written as its beginning (our choice).
pub fn format_date_time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Reads a XEP-0082 DateTime, with any offset and any fraction of a second; `None` when it is
/// not one or lies before 1970.
pub fn parse_date_time(text: &str) -> Option<SystemTime> {
    let (date, time) = (text.get(..10)?, text.get(10..)?.strip_prefix('T')?);
    let (year, month, day) = fields(date, '-')?;
    let zone_at = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let (hour, minute, second) = fields(whole, ':')?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 {
        return None;
    }
    if day < 1 || day > days_in(year, month) || second > 60 {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let utc = i64::try_from(local).ok()? - offset_of(zone)?;
    let nanos = nanos_of(fraction)?;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(utc).ok()?, nanos))
}

fn fields(text: &str, separator: char) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(separator).map(number);
    let three = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(three)
}

fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn nanos_of(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    nine.parse().ok()
}

/// Seconds east of UTC.
fn offset_of(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    let seconds = i64::try_from(hours * 3600 + minutes * 60).ok()?;
    Some(if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of the month.
fn days_before(year: u64, month: u64) -> u64 {
    let leaps = |until: u64| until / 4 - until / 100 + until / 400;
    let whole_years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    whole_years
        + (1..month)
            .map(|earlier| days_in(year, earlier))
            .sum::<u64>()
}

fn date_of(days: u64) -> (u64, u64, u64) {
    // A year is at most 366 days long, so the first guess is never too late.
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_before(year, month + 1) <= days {
        month += 1;
    }
    (year, month, days - days_before(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis)
    }

    #[test]
    fn moments_are_written_and_read() {
        for (moment, text) in [
            (at(0, 0), "1970-01-01T00:00:00.000Z"),
            (at(951_782_400, 0), "2000-02-29T00:00:00.000Z"),
            (at(1_709_251_199, 7), "2024-02-29T23:59:59.007Z"),
            (at(1_763_672_525, 123), "2025-11-20T21:02:05.123Z"),
            (at(4_102_444_800, 0), "2100-01-01T00:00:00.000Z"),
            (at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(format_date_time(moment), text);
            assert_eq!(parse_date_time(text), Some(moment));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let noon = parse_date_time("2026-05-01T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(parse_date_time("2026-05-01T14:00:00+02:00"), noon);
        assert_eq!(parse_date_time("2026-05-01T06:30:00.000000-05:30"), noon);
    }

    #[test]
    fn what_is_no_date_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T-1:00:00Z",
        ] {
            assert_eq!(parse_date_time(text), None, "{text}");
        }
    }
}
