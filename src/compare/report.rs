//! The result of a comparison, as data.

use super::statistics::ConfidenceInterval;
use serde::Serialize;

/// The comparison of two logs.
#[derive(Debug, Serialize)]
pub struct ComparisonReport {
    /// Summary of log A.
    pub a: LogSummary,
    /// Summary of log B.
    pub b: LogSummary,
    /// One per operation and mode (streamed or not) that both logs have.
    pub comparisons: Vec<Comparison>,
    /// Sentences about data that is not comparable or was excluded, and other cautions.
    pub notes: Vec<String>,
}

/// One of the two logs.
#[derive(Debug, Serialize)]
pub struct LogSummary {
    pub file: String,
    /// Number of lines that are not empty.
    pub lines: u64,
    /// Number of lines that are not requests.
    pub bad_lines: u64,
    /// Number of selected inference requests.
    pub requests: u64,
    pub models: Vec<String>,
    pub upstreams: Vec<String>,
    pub engines: Vec<String>,
    /// First arrival, RFC 3339.
    pub from: Option<String>,
    /// Last end, RFC 3339.
    pub to: Option<String>,
    /// Mean number of requests in flight.
    pub in_flight: Option<f64>,
}

/// Both sides of one operation, in one mode (streamed or not).
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Operation of the requests.
    pub operation: &'static str,
    /// Whether the responses are streamed.
    pub stream: bool,
    /// Complete warm requests in size classes that both sides have: of A and of B.
    pub compared: [usize; 2],
    /// Complete warm requests in other size classes.
    pub unmatched: [usize; 2],
    /// Complete requests that waited for a cold start.
    pub cold: [usize; 2],
    /// Number of size classes with enough requests on both sides.
    #[serde(rename = "strata")]
    pub size_classes: usize,
    #[serde(skip)]
    pub(super) tokens: TokenComparability,
    /// Lines of the table.
    pub rows: Vec<ComparisonRow>,
}

/// Whether the tokens of both sides are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenComparability {
    Alike,
    Differ,
    Unknown,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct ComparisonRow {
    /// Compared quantity.
    pub quantity: &'static str,
    /// RowStatistic over the requests.
    pub statistic: RowStatistic,
    /// Whether this is the main line of the table.
    pub headline: bool,
    /// Number of requests with this quantity: of A and of B.
    pub requests: [usize; 2],
    /// The same, including size classes that the other side lacks.
    #[serde(skip)]
    pub(super) seen: [usize; 2],
    /// Value of A; `None` with too few requests.
    pub a: Option<f64>,
    /// Value of B; `None` with too few requests.
    pub b: Option<f64>,
    /// How B differs from A.
    pub change: Option<RelativeChange>,
    /// Conclusion of this line.
    pub finding: Conclusion,
    /// The finding as text.
    pub words: String,
    #[serde(skip)]
    pub(super) unit: super::quantity::QuantityUnit,
}

/// RowStatistic of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatistic {
    /// Median.
    Median,
    /// 90th percentile, for times.
    P90,
    /// 10th percentile, for speeds.
    P10,
    /// Share of requests with an outcome.
    Share,
}

impl RowStatistic {
    /// Name in the table.
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
pub enum RelativeChange {
    /// `b / a`.
    Ratio(ConfidenceInterval),
    /// `b - a`, for values whose interval includes 0.
    Difference(ConfidenceInterval),
}

impl RelativeChange {
    /// Whether the interval excludes equality.
    pub(super) fn is_shown(self) -> bool {
        let (interval, equal) = match self {
            Self::Ratio(ratio) => (ratio, 1.0),
            Self::Difference(difference) => (difference, 0.0),
        };
        equal < interval.low || interval.high < equal
    }

    /// Whether B's value is greater.
    pub(super) fn is_more(self) -> bool {
        match self {
            Self::Ratio(ratio) => ratio.value > 1.0,
            Self::Difference(difference) => difference.value > 0.0,
        }
    }
}

/// Conclusion of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// B is better.
    Better,
    /// B is worse.
    Worse,
    /// B differs, which is neither better nor worse.
    Different,
    /// The interval includes equality.
    NoDifferenceShown,
    /// Too few requests.
    TooFew,
    /// The values have different meanings, such as tokens of different tokenizers.
    NotComparable,
}
