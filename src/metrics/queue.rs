//! Gauges of the estimated queues of an upstream.

use super::families::MetricFamilies;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::queue::{QueueEstimator, SIZE_CLASSES, SizeClassStats};

/// Queue gauges of one upstream. They are set at each scrape.
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

    /// Sets the gauges of one model's queue. A gauge whose value is no longer known is removed.
    pub fn set_queue(&self, model: &str, estimator: &QueueEstimator, now: Duration) {
        let Self { families, upstream } = self;
        let labels = [model, upstream];
        if let Some(wait) = estimator.current_wait() {
            families.estimated_wait.with_label_values(&labels).set(wait);
        }
        match estimator.slot_model() {
            Some(slots) => {
                families.queue_slots.with_label_values(&labels).set(slots.count as f64);
            }
            // Removing a series that was never set is an error, and harmless.
            None => drop(families.queue_slots.remove_label_values(&labels)),
        }
        let Some(baseline) = estimator.baseline() else { return };
        families.baseline_spread.with_label_values(&labels).set(baseline.log_spread);
        let age = now.saturating_sub(baseline.newest);
        families.baseline_age.with_label_values(&labels).set(age.as_secs_f64());
        for ((_, size), stratum) in SIZE_CLASSES.iter().zip(&baseline.size_classes) {
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
