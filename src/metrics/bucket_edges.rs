//! The bucket edges of each histogram.

use super::MetricsConfig;
use super::table::{self, BucketSet, Metric};
use streamgauge_core::meter::Target;

/// Which histograms measure what a target is of: its limits are edges of theirs.
const TARGETS: &[(&Metric, Target)] = &[
    (&table::TTFT, Target::Ttft),
    (&table::TPOT, Target::Tpot),
    (&table::STREAM_LATENCY, Target::Latency),
    (&table::REQUEST_DURATION, Target::Latency),
    (&table::STREAM_MAX_GAP, Target::MaxGap),
    (&table::NORMALIZED, Target::Normalized),
];

/// The edges of a histogram in ascending order: those of its set, as configured, and the limits of what it
/// measures, so that the share of requests within a limit is exact.
pub(super) fn bucket_edges(metric: &Metric, set: BucketSet, config: &MetricsConfig) -> Vec<f64> {
    let mut edges = config.buckets.get(set.name).map_or(set.edges, Vec::as_slice).to_vec();
    let targets = TARGETS.iter().filter(|(one, _)| one.name == metric.name);
    edges.extend(targets.flat_map(|(_, target)| config.slo.limits_of(*target)));
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}
