//! Compares the proxy's request log with the truth.

use std::collections::HashMap;

use serde_json::Value;
use strum::VariantArray;

use super::client::StreamTruth;
use super::time_span::TimeSpan;
use crate::BoxError;

/// A compared field of a log line. Reports list them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum ComparedNumber {
    /// From the request to the first token.
    Ttft,
    /// From the request to the last token.
    Latency,
    /// Mean time between two tokens.
    Tpot,
    /// Longest gap, the only single gap in a line.
    LongestGap,
}

impl ComparedNumber {
    /// Name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Latency => "latency",
            Self::Tpot => "TPOT",
            Self::LongestGap => "longest gap",
        }
    }

    /// Key in a log line, in seconds.
    fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_s",
            Self::Latency => "latency_s",
            Self::Tpot => "tpot_s",
            Self::LongestGap => "max_gap_s",
        }
    }

    fn truth(self, truth: &StreamTruth) -> Option<TimeSpan> {
        let (first, last) = (truth.tokens.first()?, truth.tokens.last()?);
        match self {
            Self::Ttft => Some(first.since(truth.requested)),
            Self::Latency => Some(last.since(truth.requested)),
            Self::Tpot => match truth.tokens.len() as u64 - 1 {
                0 => None,
                gaps => Some(last.since(*first).divided(gaps)),
            },
            Self::LongestGap => TimeSpan::longest_gap(&truth.tokens),
        }
    }
}

/// Error of a number, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberError {
    /// Distance from the interval of the truth.
    pub error: u64,
    /// Width of the interval of the truth.
    pub width: u64,
}

impl NumberError {
    /// Computes the error of `value`.
    pub fn new(value: u64, truth: TimeSpan) -> Self {
        Self { error: truth.distance(value), width: truth.width() }
    }
}

/// A compared log line.
#[derive(Debug, PartialEq, Eq)]
pub struct ComparedLine {
    /// Whether the line is marked as degraded.
    pub degraded: bool,
    /// Error of each number, in the order of the variants of [`ComparedNumber`].
    pub errors: [NumberError; ComparedNumber::VARIANTS.len()],
}

impl ComparedLine {
    /// Compares a log line of a proxy that is configured with this clock.
    pub fn compare(
        line: &Value,
        truths: &HashMap<u64, StreamTruth>,
        clock: &str,
    ) -> Result<Self, BoxError> {
        if line["clock"] != clock {
            return Err(format!(
                "a line has the clock {} instead of {clock}; does this kernel support receive timestamps?\n{line}",
                line["clock"]
            )
            .into());
        }
        let id = line["trace_id"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok());
        let truth = id.and_then(|id| truths.get(&id));
        let truth = truth.ok_or_else(|| format!("no request belongs to this line: {line}"))?;
        let mut errors = [NumberError { error: 0, width: 0 }; ComparedNumber::VARIANTS.len()];
        for (error_of_number, number) in errors.iter_mut().zip(ComparedNumber::VARIANTS) {
            let seconds = line[number.key()].as_f64();
            let value = seconds.map(|seconds| (seconds * 1e9).round() as u64);
            let (value, truth) = value
                .zip(number.truth(truth))
                .ok_or_else(|| format!("a line has no {}: {line}", number.key()))?;
            *error_of_number = NumberError::new(value, truth);
        }
        Ok(Self { degraded: line["degraded"] == true, errors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MS: u64 = 1_000_000;

    fn truths() -> HashMap<u64, StreamTruth> {
        let span = |at: u64| TimeSpan { low: at * MS, high: at * MS + 5 };
        let tokens = vec![span(30), span(50), span(90)];
        HashMap::from([(31, StreamTruth { requested: span(10), tokens, received: HashMap::new() })])
    }

    #[test]
    fn errors_are_computed_for_each_number() {
        let line = json!({
            "trace_id": format!("{:032x}", 31), "clock": "kernel", "degraded": true,
            "ttft_s": 0.020_000_001, "latency_s": 0.081, "max_gap_s": 0.039,
            "tpot_s": 0.03,
        });
        let compared = ComparedLine::compare(&line, &truths(), "kernel").unwrap();
        let expected = [(0, 10), (MS - 5, 10), (0, 6), (MS - 5, 10)];
        let errors = expected.map(|(error, width)| NumberError { error, width });
        assert_eq!(compared, ComparedLine { degraded: true, errors });
    }

    #[test]
    fn lines_that_cannot_be_compared_are_errors() {
        let line = |id: &str, clock: &str, latency: Value| {
            let line = json!({
                "trace_id": id, "clock": clock, "ttft_s": 0.02, "latency_s": latency,
                "max_gap_s": 0.04, "tpot_s": 0.03,
            });
            ComparedLine::compare(&line, &truths(), "kernel")
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(line("1f", "kernel", json!(0.08)), Ok(()));
        let error = line("1f", "program", json!(0.08)).unwrap_err();
        assert!(error.starts_with("a line has the clock \"program\""), "{error}");
        let error = line("20", "kernel", json!(0.08)).unwrap_err();
        assert!(error.starts_with("no request belongs"), "{error}");
        let error = line("1f", "kernel", Value::Null).unwrap_err();
        assert!(error.starts_with("a line has no latency_s"), "{error}");
    }
}
