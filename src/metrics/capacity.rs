//! Gauges of the estimated capacity of an upstream.

use super::families::{MetricFamilies, set_or_remove};
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::capacity::CapacityEstimator;

/// Capacity gauges of one upstream. They are set at each scrape.
pub struct CapacitySeries {
    families: Arc<MetricFamilies>,
    upstream: Arc<str>,
}

impl std::fmt::Debug for CapacitySeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CapacitySeries").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl CapacitySeries {
    pub(super) fn new(families: Arc<MetricFamilies>, upstream: &Arc<str>) -> Self {
        Self { families, upstream: Arc::clone(upstream) }
    }

    /// Sets the gauges of one model. A gauge whose value is no longer known is removed.
    pub fn set_capacity(&self, model: &str, estimator: &CapacityEstimator, now: Duration) {
        let Self { families, upstream } = self;
        set_or_remove(&families.saturation, &[model, upstream], estimator.saturation(now));
        for (class, rate) in estimator.rates() {
            let labels = [model, upstream, class];
            set_or_remove(&families.sustainable, &labels, rate.rate);
            set_or_remove(&families.sustainable_low, &labels, rate.low);
            set_or_remove(&families.sustainable_high, &labels, rate.high);
        }
    }
}
