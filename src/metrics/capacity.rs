//! Gauges of the estimated capacity of an upstream.

use super::families::MetricFamilies;
use prometheus::GaugeVec;
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
        set(&families.saturation, &[model, upstream], estimator.saturation(now));
        for (class, rate) in estimator.rates() {
            let labels = [model, upstream, class];
            set(&families.sustainable, &labels, rate.rate);
            set(&families.sustainable_low, &labels, rate.low);
            set(&families.sustainable_high, &labels, rate.high);
        }
    }
}

fn set(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // Removing a series that was never set is an error, and harmless.
        None => drop(gauge.remove_label_values(labels)),
    }
}
