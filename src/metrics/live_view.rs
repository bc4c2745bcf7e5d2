//! The counters that the live history reads once a second, without collecting all metrics.

use super::{Metrics, RequestPhase, STANDARD_ERROR_LOG};
use crate::log;
use prometheus::core::Collector;
use prometheus::proto::{self, MetricFamily};
use std::sync::{Arc, PoisonError};
use strum::VariantArray;

/// Counters of one upstream and model, since the start. `None`: none was ever counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrafficCounters {
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Stalls.
    pub stalls: Option<u64>,
}

/// Counters of the whole process, since the start.
#[derive(Debug, Clone, Default)]
pub struct OwnCounters {
    /// Events or bodies that could not be parsed.
    pub unparsed: u64,
    /// Lines of both logs that were dropped.
    pub dropped_lines: u64,
    /// Upper edges and cumulative counts of the forwarding delay of all upstreams. The last edge is infinite.
    pub forwarding_delay: Vec<(f64, u64)>,
    /// Time of the last successful reload in seconds since 1970.
    pub reloaded_at: f64,
}

impl Metrics {
    /// Calls a function with upstream, model label and counters of each set of request labels. Sets that differ in
    /// operation or engine only are separate.
    pub fn for_each_traffic(&self, mut read: impl FnMut(&Arc<str>, &Arc<str>, TrafficCounters)) {
        let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
        for (labels, series) in series.iter() {
            if labels.operation.is_inference() {
                read(&labels.upstream, &labels.model, series.traffic_counters());
            }
        }
    }

    /// Number of requests in flight at an upstream, in the order of [`RequestPhase::VARIANTS`].
    pub fn in_flight_by_phase(&self, upstream: &str) -> [u64; RequestPhase::VARIANTS.len()] {
        let mut counts = [0; RequestPhase::VARIANTS.len()];
        let families = self.families.in_flight.collect();
        for metric in families.iter().flat_map(MetricFamily::get_metric) {
            if label(metric, "upstream") != Some(upstream) {
                continue;
            }
            let phase = label(metric, "phase");
            let at = RequestPhase::VARIANTS.iter().position(|one| Some(one.label()) == phase);
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                // A gauge of requests is a small whole number.
                *count += metric.get_gauge().get_value().max(0.0) as u64;
            }
        }
        counts
    }

    /// Reads the counters of the whole process.
    pub fn own_counters(&self) -> OwnCounters {
        let families = &self.families;
        families
            .log_dropped
            .with_label_values(&[STANDARD_ERROR_LOG])
            .inc_by(log::take_dropped_lines());
        let reload = families.reload_success_time.with_label_values::<&str>(&[]);
        OwnCounters {
            unparsed: sum(&families.unparsed),
            dropped_lines: sum(&families.log_dropped),
            forwarding_delay: buckets(&families.forwarding_delay),
            reloaded_at: reload.get(),
        }
    }
}

fn label<'a>(metric: &'a proto::Metric, name: &str) -> Option<&'a str> {
    metric.get_label().iter().find(|pair| pair.name() == name).map(|pair| pair.value())
}

/// Sum of all counters of a family.
fn sum(family: &impl Collector) -> u64 {
    let families = family.collect();
    let values = families.iter().flat_map(MetricFamily::get_metric);
    values.map(|metric| metric.get_counter().get_value() as u64).sum()
}

/// Buckets of all histograms of a family, added up.
fn buckets(family: &impl Collector) -> Vec<(f64, u64)> {
    let mut total: Vec<(f64, u64)> = Vec::new();
    for metric in family.collect().iter().flat_map(MetricFamily::get_metric) {
        let histogram = metric.get_histogram();
        let edges = histogram.get_bucket().iter();
        let edges = edges.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
        let all = edges.chain([(f64::INFINITY, histogram.get_sample_count())]);
        if total.is_empty() {
            total = all.collect();
        } else {
            total.iter_mut().zip(all).for_each(|(sum, (_, count))| sum.1 += count);
        }
    }
    total
}
