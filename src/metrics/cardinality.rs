//! Number of series that a configuration leads to: a likely figure and an upper bound.
//!
//! A series is one line of `/metrics`: each bucket of a histogram is one, and so are its sum and count. The
//! `process_*` families are not counted.

use super::MetricsConfig;
use super::bucket_edges::bucket_edges;
use super::labels::LabelValues;
use super::table::{self, Metric, MetricKind};

/// How many series a configuration leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesEstimate {
    /// Series of an ordinary deployment. The assumption: each upstream has one engine, one operation and the models in
    /// `models` (one model if that is empty). Every other label takes two of its values.
    pub likely: u64,
    /// Upper bound: every combination of label values that can occur.
    pub worst_case: u64,
    /// The family with the most series in the worst case.
    pub largest_family: &'static str,
    /// Number of its series in the worst case.
    pub largest_family_series: u64,
    /// Its labels with their number of values, most first.
    pub largest_family_labels: Vec<(&'static str, u64)>,
}

impl SeriesEstimate {
    /// Describes the largest family, for a message: `name: 1020 series of 51 gen_ai_request_model x 14 ...`.
    pub fn cause(&self) -> String {
        let labels: Vec<String> =
            self.largest_family_labels.iter().map(|(name, n)| format!("{n} {name}")).collect();
        format!(
            "{}: {} series of {}",
            self.largest_family,
            self.largest_family_series,
            labels.join(" x ")
        )
    }
}

/// Estimates the number of series of this configuration with this many upstreams.
pub fn estimate_series(upstreams: usize, config: &MetricsConfig) -> SeriesEstimate {
    let upstreams = count(upstreams);
    let metrics = || {
        let enabled = |metric: &&Metric| {
            config.ttft_by_input_size || metric.name != table::TTFT_BY_INPUT.name
        };
        table::ALL.iter().filter(enabled)
    };
    let worst = |metric: &Metric| worst_case(metric, upstreams, config);
    let largest = metrics().max_by_key(|metric| worst(metric)).unwrap_or(&table::REQUESTS);
    let values = |values| count_of(values, false, upstreams, config);
    let mut largest_family_labels: Vec<_> =
        largest.labels.iter().map(|label| (label.name, values(label.values))).collect();
    largest_family_labels.sort_by_key(|(_, values)| std::cmp::Reverse(*values));
    SeriesEstimate {
        likely: total(metrics().map(|metric| likely(metric, upstreams, config))),
        worst_case: total(metrics().map(worst)),
        largest_family: largest.name,
        largest_family_series: worst(largest),
        largest_family_labels,
    }
}

/// Most series of one family.
pub(super) fn worst_case(metric: &Metric, upstreams: u64, config: &MetricsConfig) -> u64 {
    let combinations = |with_model| {
        product(
            metric
                .labels
                .iter()
                .filter(|label| !matches!(label.values, LabelValues::Model))
                .map(|label| count_of(label.values, with_model, upstreams, config)),
        )
    };
    let named = if has_model(metric) { count_models(config) - 1 } else { 0 };
    let labelled = named.saturating_mul(combinations(true)).saturating_add(combinations(false));
    labelled.saturating_mul(lines(metric, config))
}

/// Series of one family in an ordinary deployment: see [`SeriesEstimate::likely`].
fn likely(metric: &Metric, upstreams: u64, config: &MetricsConfig) -> u64 {
    let values = |label: &table::Label| match label.values {
        LabelValues::Upstream => upstreams,
        LabelValues::Model => count(config.models.len()).max(1),
        LabelValues::SloClass => count(config.slo.len()),
        LabelValues::Provider | LabelValues::Engine | LabelValues::Version => 1,
        LabelValues::Closed(_) if label.name == "gen_ai_operation_name" => 1,
        LabelValues::Closed(_) | LabelValues::ByResponse { .. } => {
            count_of(label.values, false, upstreams, config).min(2)
        }
    };
    product(metric.labels.iter().map(values)).saturating_mul(lines(metric, config))
}

/// Number of values that a label can take.
fn count_of(values: LabelValues, with_model: bool, upstreams: u64, config: &MetricsConfig) -> u64 {
    match values {
        LabelValues::ByResponse { with_model: values, .. } if with_model => count(values().len()),
        LabelValues::Closed(values) | LabelValues::ByResponse { without_model: values, .. } => {
            count(values().len())
        }
        LabelValues::Upstream => upstreams,
        // One for each upstream, and the upstreams are counted.
        LabelValues::Provider | LabelValues::Engine | LabelValues::Version => 1,
        LabelValues::Model => count_models(config),
        LabelValues::SloClass => count(config.slo.len()),
    }
}

fn count_models(config: &MetricsConfig) -> u64 {
    count(config.max_models).saturating_add(count(config.models.len())).saturating_add(1)
}

fn has_model(metric: &Metric) -> bool {
    metric.labels.iter().any(|label| matches!(label.values, LabelValues::Model))
}

/// Series of one combination of label values. A histogram has one for each edge, and `+Inf`, sum and count.
fn lines(metric: &Metric, config: &MetricsConfig) -> u64 {
    match metric.kind {
        MetricKind::Histogram(set) => count(bucket_edges(metric, set, config).len() + 3),
        MetricKind::Counter | MetricKind::Gauge => 1,
    }
}

fn count(n: usize) -> u64 {
    n as u64
}

fn product(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(1, u64::saturating_mul)
}

fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
