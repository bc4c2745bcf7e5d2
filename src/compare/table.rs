//! The report as text.

use super::quantity::QuantityUnit;
use super::report::{Comparison, ComparisonReport, ComparisonRow, LogSummary, RelativeChange};
use std::fmt::{self, Display, Formatter};

const HEADLINE: &str = "\
*              the main result: the first quantity with enough requests that does not depend on the tokenizer";
const LEGEND: &str = "\
A, B           over the same classes of request size, with the same weights on both sides
B / A          with its 95 % interval; B - A (with a sign) if a value can be 0
p90, p10       the slow tail: one request in ten is slower
requests       number of requests with this quantity, of A and of B
each line      is wrong with a probability of 5 %: one in twenty lines differs by chance between equal servers";

impl Display for ComparisonReport {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        log(to, "A", &self.a)?;
        log(to, "B", &self.b)?;
        for comparison in &self.comparisons {
            writeln!(to)?;
            of_kind(to, comparison)?;
        }
        writeln!(to)?;
        let mut rows = self.comparisons.iter().flat_map(|comparison| &comparison.rows);
        if rows.any(|row| row.headline) {
            writeln!(to, "{HEADLINE}")?;
        }
        writeln!(to, "{LEGEND}\n\nNotes on data that is excluded or not comparable:")?;
        self.notes.iter().try_for_each(|note| paragraph(to, note))
    }
}

fn log(to: &mut Formatter<'_>, name: &str, log: &LogSummary) -> fmt::Result {
    let names = |names: &[String]| match names {
        [] => "unknown".to_owned(),
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more", names.len() - 3)
        }
        few => few.join(", "),
    };
    writeln!(to, "{name}  {}: {} requests", log.file, count(log.requests))?;
    if let (Some(from), Some(until), Some(in_flight)) = (&log.from, &log.to, log.in_flight) {
        writeln!(to, "   {from} to {until}, {} in flight on average", digits(in_flight))?;
    }
    writeln!(
        to,
        "   model {}; upstream {}; engine {}",
        names(&log.models),
        names(&log.upstreams),
        names(&log.engines)
    )
}

fn of_kind(to: &mut Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    let [a, b] = comparison.compared;
    let kind = if comparison.stream { "streamed" } else { "not streamed" };
    writeln!(
        to,
        "{}, {kind}: {a} complete requests of A and {b} of B, in {} size classes\n",
        comparison.operation, comparison.size_classes
    )?;
    let head = ["", "", "A", "B", "B / A", "95 % interval", "requests", ""].map(String::from);
    let mut rows = vec![head];
    let mut before = "";
    for row in &comparison.rows {
        rows.push(cells(row, before));
        before = row.quantity;
    }
    lay_out(to, &rows)
}

fn cells(row: &ComparisonRow, before: &str) -> [String; 8] {
    let text =
        |value: Option<f64>| value.map_or_else(|| "-".into(), |value| value_text(value, row.unit));
    let (change, interval) = match row.change {
        None => ("-".into(), String::new()),
        Some(RelativeChange::Difference(of)) if of.low == 0.0 && of.high == 0.0 => {
            ("=".into(), String::new())
        }
        Some(RelativeChange::Ratio(of)) => {
            (format!("{:.3}", of.value), format!("{:.3} to {:.3}", of.low, of.high))
        }
        Some(RelativeChange::Difference(of)) => {
            let [value, low, high] = [of.value, of.low, of.high].map(|value| {
                let text = value_text(value.abs(), row.unit);
                if value < 0.0 { format!("-{text}") } else { format!("+{text}") }
            });
            (value, format!("{low} to {high}"))
        }
    };
    let name = if row.quantity == before { "" } else { row.quantity };
    let mark = if row.headline { "* " } else { "  " };
    let [a, b] = row.requests;
    [
        format!("{mark}{name}"),
        row.statistic.label().into(),
        text(row.a),
        text(row.b),
        change,
        interval,
        format!("{a} / {b}"),
        row.words.clone(),
    ]
}

/// Aligns columns: words to the left, numbers to the right.
fn lay_out(to: &mut Formatter<'_>, rows: &[[String; 8]]) -> fmt::Result {
    let mut widths = [0; 8];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            line.push_str(&match at {
                0 | 1 | 7 => format!("{cell:<width$}  "),
                _ => format!("{cell:>width$}  "),
            });
        }
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes a note in lines of at most 110 characters.
fn paragraph(to: &mut Formatter<'_>, text: &str) -> fmt::Result {
    let mut line = "-".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() + 1 > 110 {
            writeln!(to, "{line}")?;
            line = " ".into();
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(to, "{line}")
}

/// Formats a value with its unit, with about three digits.
pub(super) fn value_text(value: f64, unit: QuantityUnit) -> String {
    match unit {
        QuantityUnit::Seconds if value == 0.0 => "0 s".into(),
        QuantityUnit::Seconds if value < 0.9995 => digits(value * 1e3) + " ms",
        QuantityUnit::Seconds => digits(value) + " s",
        QuantityUnit::PerSecond => digits(value) + " /s",
        QuantityUnit::Number => digits(value),
        QuantityUnit::Share => percent(value) + " %",
    }
}

/// Formats a share in percent, without the percent sign.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// Formats a non-negative number with at least three digits, and a comma between thousands.
pub(super) fn digits(value: f64) -> String {
    if value < 0.9995 {
        return format!("{value:.3}");
    }
    if value < 9.995 {
        return format!("{value:.2}");
    }
    if value < 99.95 {
        return format!("{value:.1}");
    }
    count(value.round() as u64)
}

/// Formats a whole number with a comma between thousands.
pub(super) fn count(count: u64) -> String {
    let whole = count.to_string();
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_about_three_digits() {
        for (value, unit, expected) in [
            (0.0, QuantityUnit::Seconds, "0 s"),
            (0.000_123_4, QuantityUnit::Seconds, "0.123 ms"),
            (0.012_34, QuantityUnit::Seconds, "12.3 ms"),
            (0.2344, QuantityUnit::Seconds, "234 ms"),
            (0.9996, QuantityUnit::Seconds, "1.00 s"),
            (12.34, QuantityUnit::Seconds, "12.3 s"),
            (12_345.6, QuantityUnit::Number, "12,346"),
            (999.4, QuantityUnit::Number, "999"),
            (231.7, QuantityUnit::PerSecond, "232 /s"),
            (0.0213, QuantityUnit::Share, "2.1 %"),
        ] {
            assert_eq!(value_text(value, unit), expected);
        }
    }
}
