//! Bucket edges of each histogram.

use super::MetricsConfig;
use super::table::{self, BucketSet, Metric};
use streamgauge_core::meter::SloTarget;

/// Histograms that measure what an SLO target limits: its limits are added to their edges.
const SLO_TARGETS: &[(&Metric, SloTarget)] = &[
    (&table::TTFT, SloTarget::Ttft),
    (&table::TPOT, SloTarget::Tpot),
    (&table::STREAM_LATENCY, SloTarget::Latency),
    (&table::REQUEST_DURATION, SloTarget::Latency),
    (&table::STREAM_MAX_GAP, SloTarget::MaxGap),
    (&table::NORMALIZED, SloTarget::Normalized),
];

/// Edges of a histogram, ascending: those of its bucket set, as configured, and the SLO limits on what it measures. The
/// share of requests within a limit is exact for this reason.
pub(super) fn bucket_edges(metric: &Metric, set: BucketSet, config: &MetricsConfig) -> Vec<f64> {
    let mut edges = config.buckets.get(set.name).map_or(set.edges, Vec::as_slice).to_vec();
    let targets = SLO_TARGETS.iter().filter(|(one, _)| one.name == metric.name);
    edges.extend(targets.flat_map(|(_, target)| config.slo.distinct_limits(*target)));
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}
