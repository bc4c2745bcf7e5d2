//! Handles of an upstream for its cold starts, which are rare: each looks its series up.

use super::families::MetricFamilies;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::cold::{BootTimes, ColdReason};

/// The stages of a boot.
pub(super) const BOOT_STAGES: [&str; 3] = ["port_open", "healthy", "first_token"];

/// The handles of one upstream.
pub struct ColdStartSeries {
    families: Arc<MetricFamilies>,
    upstream: String,
}

impl std::fmt::Debug for ColdStartSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColdStartSeries").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl ColdStartSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, upstream: &str) -> Self {
        Self { families, upstream: upstream.to_owned() }
    }

    /// A cold start has ended; `model` is the label of the model whose output ended it. `length`: `None` if that
    /// cannot be known.
    pub fn ended(&self, model: &str, reason: ColdReason, length: Option<Duration>) {
        let labels = [&*self.upstream, model, reason.label()];
        self.families.cold_starts.with_label_values(&labels).inc();
        if let Some(length) = length {
            self.families.cold_start.with_label_values(&labels).observe(length.as_secs_f64());
        }
    }

    /// Whether the upstream is ready.
    pub fn up(&self, is_up: bool) {
        self.families.up.with_label_values(&[&self.upstream]).set(i64::from(is_up));
    }

    /// The upstream's process tells that it started then, in seconds since 1970.
    pub fn started(&self, at: f64) {
        self.families.started.with_label_values(&[&self.upstream]).set(at);
    }

    /// How far the upstream came since our own start.
    pub fn boot(&self, ladder: BootTimes) {
        let BootTimes { port_open, healthy, first_token } = ladder;
        for (stage, after) in BOOT_STAGES.into_iter().zip([port_open, healthy, first_token]) {
            if let Some(after) = after {
                let gauge = self.families.boot.with_label_values(&[&*self.upstream, stage]);
                gauge.set(after.as_secs_f64());
            }
        }
    }
}
