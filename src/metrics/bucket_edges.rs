//! The bucket edges of each histogram.

use super::MetricsConfig;
use super::table::{self, BucketSet, Metric};
use streamgauge_core::meter::SloTarget;

/// Which histograms measure what a target is of: its limits are edges of theirs.
const TARGETS: &[(&Metric, SloTarget)] = &[
    (&table::TTFT, SloTarget::Ttft),
    (&table::TPOT, SloTarget::Tpot),
    (&table::STREAM_LATENCY, SloTarget::Latency),
    (&table::REQUEST_DURATION, SloTarget::Latency),
    (&table::STREAM_MAX_GAP, SloTarget::MaxGap),
    (&table::NORMALIZED, SloTarget::Normalized),
];

/// The edges of a histogram in ascending order: those of its set, as configured, and the limits of what it
/// measures, so that the share of requests within a limit is exact.
pub(super) fn bucket_edges(metric: &Metric, set: BucketSet, config: &MetricsConfig) -> Vec<f64> {
    let mut edges = config.buckets.get(set.name).map_or(set.edges, Vec::as_slice).to_vec();
    let targets = TARGETS.iter().filter(|(one, _)| one.name == metric.name);
    edges.extend(targets.flat_map(|(_, target)| config.slo.distinct_limits(*target)));
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}
