//! Numbers and text for people: used by the terminal commands and the demo.

/// Formats a number without decimals, with a comma between thousands.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 && digits != "0" { format!("-{text}") } else { text }
}

/// Formats seconds in at most six characters up to 27 hours, with a unit and about three digits; `-` if absent.
pub fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(0.0) => "0s".into(),
        Some(value) if value.abs() < 0.000_999_5 => format!("{:.0}us", value * 1e6),
        Some(value) if value.abs() < 0.009_995 => format!("{:.2}ms", value * 1e3),
        Some(value) if value.abs() < 0.099_95 => format!("{:.1}ms", value * 1e3),
        Some(value) if value.abs() < 0.999_5 => format!("{:.0}ms", value * 1e3),
        Some(value) if value.abs() < 9.995 => format!("{value:.2}s"),
        Some(value) if value.abs() < 99.95 => format!("{value:.1}s"),
        Some(value) if value.abs() < 9_999.5 => format!("{value:.0}s"),
        Some(value) => format!("{:.1}h", value / 3600.0),
    }
}

/// Formats a whole number, or `-` if it is absent.
pub fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Truncates a line to this many characters; an ellipsis replaces the rest.
pub fn truncate(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let Some(kept) = columns.checked_sub(1) else { return String::new() };
    let kept: String = text.chars().take(kept).collect();
    format!("{}\u{2026}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_end_with_an_ellipsis() {
        for (text, columns, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab\u{2026}"),
            ("a  d", 3, "a\u{2026}"),
            ("ab", 1, "\u{2026}"),
            ("a", 0, ""),
        ] {
            assert_eq!(truncate(text, columns), expected);
        }
    }

    #[test]
    fn numbers_have_thousands() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.2, "0"),
            (999.4, "999"),
            (999.6, "1,000"),
            (-1_234.0, "-1,234"),
            (12_345_678.0, "12,345,678"),
        ] {
            assert_eq!(whole(number), expected);
        }
    }

    #[test]
    fn seconds_have_a_unit() {
        for (value, expected) in [
            (None, "-"),
            (Some(0.0), "0s"),
            (Some(0.000_000_4), "0us"),
            (Some(0.000_25), "250us"),
            (Some(0.000_999_9), "1.00ms"),
            (Some(0.009_999), "10.0ms"),
            (Some(0.023_4), "23.4ms"),
            (Some(0.203), "203ms"),
            (Some(0.999_6), "1.00s"),
            (Some(7.983), "7.98s"),
            (Some(12.34), "12.3s"),
            (Some(3_600.4), "3600s"),
            (Some(36_000.0), "10.0h"),
        ] {
            assert_eq!(seconds(value), expected);
        }
    }
}
