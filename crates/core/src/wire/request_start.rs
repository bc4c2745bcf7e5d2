//! Parses `X-Request-Start` and `X-Queue-Start`: the time at which a proxy before Streamgauge
//! received the request, by that proxy's clock.
//!
//! | written by | format |
//! |---|---|
//! | nginx, `t=${msec}` | `t=1700000000.123`: seconds |
//! | Heroku's router | `1700000000123`: milliseconds |
//! | Apache, `t=%t`, with or without `D=%D` | `t=1700000000123456`: microseconds |
//! | others | nanoseconds |
//!
//! The unit is detected from the magnitude: the four numbers of one moment differ by a factor of
//! 1000. This works until the year 5138.

use std::time::Duration;

/// Times further from the arrival are not times of this request.
const FURTHEST: Duration = Duration::from_secs(3600);

/// Wait of a request before it reached Streamgauge, according to its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeWait {
    /// The request waited this long.
    Waited(Duration),
    /// The request started in the future: the two clocks differ.
    Negative,
    /// No value is a time within an hour of the arrival.
    Unreadable,
}

impl EdgeWait {
    /// Returns the wait before a request that arrived at `arrival`, a time since 1970. With several
    /// values the earliest counts: it is from the first hop. Returns `None` if there are no values.
    pub fn from_headers<'a>(
        values: impl Iterator<Item = &'a [u8]>,
        arrival: Duration,
    ) -> Option<Self> {
        let mut has_value = false;
        let values = values.inspect(|_| has_value = true);
        let instants = values.flat_map(instants).filter(|at| at.abs_diff(arrival) <= FURTHEST);
        let first = instants.min();
        Some(match first {
            Some(at) if at > arrival => Self::Negative,
            Some(at) => Self::Waited(arrival.saturating_sub(at)),
            None if has_value => Self::Unreadable,
            None => return None,
        })
    }
}

/// Returns the times since 1970 in a header's value, which may have several, or other fields too.
fn instants(value: &[u8]) -> impl Iterator<Item = Duration> {
    let parts = value.split(|byte| matches!(byte, b' ' | b'\t' | b',' | b';'));
    parts.filter_map(|part| instant(part.strip_prefix(b"t=").unwrap_or(part)))
}

fn instant(number: &[u8]) -> Option<Duration> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let text = std::str::from_utf8(number).ok()?;
    let number: f64 = number.iter().all(is_digit).then(|| text.parse().ok())??;
    let unit = match number {
        ..1e11 => 1.0,
        ..1e14 => 1e3,
        ..1e17 => 1e6,
        _ => 1e9,
    };
    // Rounded to microseconds, the precision of an `f64` of this size. Absurd numbers saturate.
    Some(Duration::from_micros((number / unit * 1e6).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::EdgeWait::{Negative, Unreadable, Waited};
    use super::*;

    /// 1700000000.5
    const ARRIVAL: Duration = Duration::from_millis(1_700_000_000_500);

    fn of(values: &[&str]) -> Option<EdgeWait> {
        EdgeWait::from_headers(values.iter().map(|value| value.as_bytes()), ARRIVAL)
    }

    #[test]
    fn every_unit_and_format_gives_the_same_wait() {
        let forms = [
            "1700000000.123",
            "1700000000123",
            "1700000000123000",
            "1700000000123000000",
            "1700000000123.000",
        ];
        for form in forms {
            for value in [form.to_owned(), format!("t={form}"), format!(" t={form} ")] {
                assert_eq!(of(&[&value]), Some(Waited(Duration::from_millis(377))), "{value}");
            }
        }
        assert_eq!(of(&["t=1700000000"]), Some(Waited(Duration::from_millis(500))));
        let apache = of(&["D=3775428 t=1700000000250000"]);
        assert_eq!(apache, Some(Waited(Duration::from_millis(250))));
        assert_eq!(of(&["web1 t=1700000000250"]), Some(Waited(Duration::from_millis(250))));
    }

    #[test]
    fn the_earliest_of_several_values_counts() {
        let wait = |millis| Some(Waited(Duration::from_millis(millis)));
        assert_eq!(of(&["t=1700000000400", "t=1700000000100"]), wait(400));
        assert_eq!(of(&["t=1700000000400, t=1700000000000"]), wait(500));
        assert_eq!(
            of(&["t=1700000000400", "t=5", "nonsense"]),
            wait(100),
            "unreadable values are ignored"
        );
        assert_eq!(of(&["1700000000600", "1700000000400"]), wait(100));
    }

    #[test]
    fn negative_and_unreadable_values() {
        let cases = [
            ("t=1700000000501", Some(Negative)),
            ("1700000000500", Some(Waited(Duration::ZERO))),
            ("1700003600.5", Some(Negative)),
            ("1700003601", Some(Unreadable)),
            ("1699996400.5", Some(Waited(FURTHEST))),
            ("1699996400", Some(Unreadable)),
            ("", Some(Unreadable)),
            ("t=", Some(Unreadable)),
            ("now", Some(Unreadable)),
            ("0", Some(Unreadable)),
            ("-1700000000", Some(Unreadable)),
            ("1e9", Some(Unreadable)),
            ("inf", Some(Unreadable)),
            ("NaN", Some(Unreadable)),
            ("1.7.0", Some(Unreadable)),
            (".", Some(Unreadable)),
            ("99999999999999999999999999999999999999999", Some(Unreadable)),
        ];
        for (value, expected) in cases {
            assert_eq!(of(&[value]), expected, "{value:?}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(EdgeWait::from_headers([&b"t=\xff"[..]].into_iter(), ARRIVAL), Some(Unreadable));
    }
}
