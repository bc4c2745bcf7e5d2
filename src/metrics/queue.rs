//! Gauges of the estimated queues of an upstream.

use super::families::{MetricFamilies, set_or_remove};
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::queue::{
    QueueEstimator, QueueModel, SIZE_CLASSES, SizeClassStats, SlotSpan,
};
use strum::VariantArray;

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
        let wait = estimator.current_wait(now);
        set_or_remove(&families.estimated_wait, &labels, wait.map(|wait| wait.seconds));
        set_or_remove(&families.estimated_wait_low, &labels, wait.map(|wait| wait.low));
        set_or_remove(&families.estimated_wait_high, &labels, wait.and_then(|wait| wait.high));
        for span in SlotSpan::VARIANTS {
            let slots = estimator.slot_model().filter(|slots| slots.span == *span);
            let labels = [model, upstream, span.label()];
            set_or_remove(&families.queue_slots, &labels, slots.map(|slots| slots.count as f64));
        }
        for one in QueueModel::VARIANTS {
            let is_used = f64::from(u8::from(estimator.model() == *one));
            families.queue_model.with_label_values(&[model, upstream, one.label()]).set(is_used);
        }
        let quality = estimator.fit_quality();
        let contradicted = quality.map(|quality| quality.contradicted_ratio);
        set_or_remove(&families.queue_fit_contradicted, &labels, contradicted);
        set_or_remove(
            &families.queue_fit_error,
            &labels,
            quality.map(|quality| quality.error_ratio),
        );
        let Some(baseline) = estimator.baseline() else { return };
        families.baseline_spread.with_label_values(&labels).set(baseline.log_spread);
        let age = now.saturating_sub(baseline.newest);
        families.baseline_age.with_label_values(&labels).set(age.as_secs_f64());
        for ((_, size), stratum) in SIZE_CLASSES.iter().zip(&baseline.size_classes) {
            let labels = [model, upstream, size];
            let of = |value: fn(&SizeClassStats) -> f64| stratum.as_ref().map(value);
            set_or_remove(&families.baseline, &labels, of(|stats| stats.median));
            set_or_remove(&families.baseline_samples, &labels, of(|stats| stats.samples as f64));
        }
    }
}
