//! The proxy's request log, held against what was true.

use std::collections::HashMap;

use serde_json::Value;

use super::span::Span;
use super::witness::Truth;
use crate::Error;

/// A number of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// From the request to the first token.
    Ttft,
    /// From the request to the last token.
    Latency,
    /// The mean time between two tokens.
    Tpot,
    /// The longest one: of single gaps, the one that a line tells.
    LongestGap,
}

impl Number {
    /// All, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Ttft, Self::Latency, Self::Tpot, Self::LongestGap];

    /// As it stands in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Latency => "latency",
            Self::Tpot => "TPOT",
            Self::LongestGap => "longest gap",
        }
    }

    /// As it stands in a log line, in seconds.
    fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_s",
            Self::Latency => "latency_s",
            Self::Tpot => "tpot_s",
            Self::LongestGap => "max_gap_s",
        }
    }

    fn truth(self, truth: &Truth) -> Option<Span> {
        let (first, last) = (truth.tokens.first()?, truth.tokens.last()?);
        match self {
            Self::Ttft => Some(first.since(truth.asked)),
            Self::Latency => Some(last.since(truth.asked)),
            Self::Tpot => match truth.tokens.len() as u64 - 1 {
                0 => None,
                gaps => Some(last.since(*first).divided(gaps)),
            },
            Self::LongestGap => Span::longest_gap(&truth.tokens),
        }
    }
}

/// How wrong something is, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The distance from what the truth allows.
    pub error: u64,
    /// How much it allows.
    pub width: u64,
}

impl Deviation {
    /// Of `value`.
    pub fn of(value: u64, truth: Span) -> Self {
        Self { error: truth.distance(value), width: truth.width() }
    }
}

/// One line, compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The line says that a delay of the proxy's own could have touched a number.
    pub degraded: bool,
    /// Of each number, as [`Number::ALL`] has them.
    pub deviations: [Deviation; Number::ALL.len()],
}

impl Line {
    /// Of a line of the log of a proxy that was told to use this clock.
    pub fn of(line: &Value, truths: &HashMap<u64, Truth>, clock: &str) -> Result<Self, Error> {
        if line["clock"] != clock {
            return Err(format!(
                "a line was told by the clock {} and not by {clock}; does this kernel stamp what it receives?\n{line}",
                line["clock"]
            )
            .into());
        }
        let id = line["trace_id"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok());
        let truth = id.and_then(|id| truths.get(&id));
        let truth = truth.ok_or_else(|| format!("nobody asked for this line: {line}"))?;
        let mut deviations = [Deviation { error: 0, width: 0 }; Number::ALL.len()];
        for (deviation, number) in deviations.iter_mut().zip(Number::ALL) {
            let seconds = line[number.key()].as_f64();
            let value = seconds.map(|seconds| (seconds * 1e9).round() as u64);
            let (value, truth) = value
                .zip(number.truth(truth))
                .ok_or_else(|| format!("a line has no {}: {line}", number.key()))?;
            *deviation = Deviation::of(value, truth);
        }
        Ok(Self { degraded: line["degraded"] == true, deviations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MS: u64 = 1_000_000;

    fn truths() -> HashMap<u64, Truth> {
        let span = |at: u64| Span { low: at * MS, high: at * MS + 5 };
        let tokens = vec![span(30), span(50), span(90)];
        HashMap::from([(31, Truth { asked: span(10), tokens, received: HashMap::new() })])
    }

    #[test]
    fn a_line_is_as_wrong_as_its_numbers() {
        let line = json!({
            "trace_id": format!("{:032x}", 31), "clock": "kernel", "degraded": true,
            "ttft_s": 0.020_000_001, "latency_s": 0.081, "max_gap_s": 0.039,
            "tpot_s": 0.03,
        });
        let found = Line::of(&line, &truths(), "kernel").unwrap();
        let expected = [(0, 10), (MS - 5, 10), (0, 6), (MS - 5, 10)];
        let deviations = expected.map(|(error, width)| Deviation { error, width });
        assert_eq!(found, Line { degraded: true, deviations });
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let line = |id: &str, clock: &str, latency: Value| {
            let line = json!({
                "trace_id": id, "clock": clock, "ttft_s": 0.02, "latency_s": latency,
                "max_gap_s": 0.04, "tpot_s": 0.03,
            });
            Line::of(&line, &truths(), "kernel").map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(line("1f", "kernel", json!(0.08)), Ok(()));
        let error = line("1f", "program", json!(0.08)).unwrap_err();
        assert!(error.starts_with("a line was told by the clock \"program\""), "{error}");
        let error = line("20", "kernel", json!(0.08)).unwrap_err();
        assert!(error.starts_with("nobody asked"), "{error}");
        let error = line("1f", "kernel", Value::Null).unwrap_err();
        assert!(error.starts_with("a line has no latency_s"), "{error}");
    }
}
