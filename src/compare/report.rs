//! What a comparison comes to, as data.

use super::statistics::Interval;
use serde::Serialize;

/// The comparison of two logs.
#[derive(Debug, Serialize)]
pub struct Report {
    pub a: LogSummary,
    pub b: LogSummary,
    /// One for each operation, streamed or not, that both logs have.
    pub comparisons: Vec<Comparison>,
    /// What is not comparable, what was left out, and what to bear in mind: sentences.
    pub notes: Vec<String>,
}

/// One of the two logs.
#[derive(Debug, Serialize)]
pub struct LogSummary {
    pub file: String,
    /// Lines that are not empty.
    pub lines: u64,
    /// Lines that are no request.
    pub bad_lines: u64,
    /// Inference requests that the selection takes.
    pub requests: u64,
    pub models: Vec<String>,
    pub upstreams: Vec<String>,
    pub engines: Vec<String>,
    /// First arrival and last end, RFC 3339.
    pub from: Option<String>,
    pub to: Option<String>,
    /// On average.
    pub in_flight: Option<f64>,
}

/// Both sides of one operation, streamed or not.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub operation: &'static str,
    pub stream: bool,
    /// Complete requests that no cold start held up, in strata that both sides have: of A and of B.
    pub compared: [usize; 2],
    /// Such requests whose size only one side has enough of.
    pub unmatched: [usize; 2],
    /// Complete requests of a cold server.
    pub cold: [usize; 2],
    /// Classes of request size that count.
    pub strata: usize,
    #[serde(skip)]
    pub(super) tokens: Tokens,
    pub rows: Vec<Row>,
}

/// Whether tokens of the two sides are the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokens {
    Alike,
    Differ,
    Unknown,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    pub quantity: &'static str,
    /// Of the requests; `share` of those that ended like this.
    pub statistic: Statistic,
    /// The one to look at, if only one.
    pub headline: bool,
    /// How many requests tell it: of A and of B.
    pub requests: [usize; 2],
    /// The same, with those whose size has no like on the other side.
    #[serde(skip)]
    pub(super) seen: [usize; 2],
    pub a: Option<f64>,
    pub b: Option<f64>,
    pub change: Option<Change>,
    pub finding: Finding,
    /// The finding in words.
    pub words: String,
    #[serde(skip)]
    pub(super) unit: super::quantity::Unit,
}

/// Which statistic of a quantity a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    Median,
    /// The slow end of times.
    P90,
    /// The slow end of speeds.
    P10,
    Share,
}

impl Statistic {
    /// As the table has it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::P90 => "p90",
            Self::P10 => "p10",
            Self::Share => "share",
        }
    }

    pub(super) fn level(self) -> f64 {
        match self {
            Self::Median | Self::Share => 0.5,
            Self::P90 => 0.9,
            Self::P10 => 0.1,
        }
    }
}

/// How B differs from A.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// `b / a`.
    Ratio(Interval),
    /// `b - a`: where 0 is among what a side may be.
    Difference(Interval),
}

impl Change {
    /// Whether the interval holds no equality.
    pub(super) fn is_shown(self) -> bool {
        let (interval, equal) = match self {
            Self::Ratio(ratio) => (ratio, 1.0),
            Self::Difference(difference) => (difference, 0.0),
        };
        equal < interval.low || interval.high < equal
    }

    /// Whether B's value is the greater one.
    pub(super) fn is_more(self) -> bool {
        match self {
            Self::Ratio(ratio) => ratio.value > 1.0,
            Self::Difference(difference) => difference.value > 0.0,
        }
    }
}

/// What a line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// B is better.
    Better,
    /// B is worse.
    Worse,
    /// B is another, which is neither.
    Different,
    NoDifferenceShown,
    TooFew,
    NotComparable,
}
