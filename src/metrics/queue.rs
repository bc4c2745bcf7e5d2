//! Handles for what is estimated of a server's queues.

use super::families::MetricFamilies;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::queue::{QueueEstimator, SIZE_CLASSES, SizeClassStats};

/// The gauges of one upstream's queues, which only a scrape sets.
pub struct QueueSeries {
    families: Arc<MetricFamilies>,
    upstream: Arc<str>,
}

impl std::fmt::Debug for QueueSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSeries").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl QueueSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, upstream: &Arc<str>) -> Self {
        Self { families, upstream: Arc::clone(upstream) }
    }

    /// What is known of this model's queue now.
    pub fn set(&self, model: &str, estimator: &QueueEstimator, now: Duration) {
        let Self { families, upstream } = self;
        let labels = [model, upstream];
        if let Some(wait) = estimator.current_wait() {
            families.estimated_wait.with_label_values(&labels).set(wait);
        }
        match estimator.slot_model() {
            Some(slots) => {
                families.queue_slots.with_label_values(&labels).set(slots.count as f64);
            }
            // What is no longer known must not go on being told; it is an error only if it never was.
            None => drop(families.queue_slots.remove_label_values(&labels)),
        }
        let Some(baseline) = estimator.baseline() else { return };
        families.baseline_spread.with_label_values(&labels).set(baseline.log_spread);
        let age = now.saturating_sub(baseline.newest);
        families.baseline_age.with_label_values(&labels).set(age.as_secs_f64());
        for ((_, size), stratum) in SIZE_CLASSES.iter().zip(&baseline.strata) {
            let labels = [model, upstream, size];
            match stratum {
                Some(SizeClassStats { median, samples }) => {
                    families.baseline.with_label_values(&labels).set(*median);
                    families.baseline_samples.with_label_values(&labels).set(*samples as f64);
                }
                None => {
                    drop(families.baseline.remove_label_values(&labels));
                    drop(families.baseline_samples.remove_label_values(&labels));
                }
            }
        }
    }
}
