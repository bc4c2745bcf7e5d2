//! Series of an upstream's cold starts. They are rare, so no handles are kept.

use super::families::MetricFamilies;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::cold::{BootTimes, ColdReason};

/// Stages of a boot: the values of the label `stage`.
pub(super) const BOOT_STAGES: [&str; 3] = ["port_open", "healthy", "first_token"];

/// Cold-start series of one upstream.
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

    /// Counts a cold start that has ended, and records its length if that is known. `model` is the label of the model
    /// whose output ended it.
    pub fn record_cold_start(&self, model: &str, reason: ColdReason, length: Option<Duration>) {
        let labels = [&*self.upstream, model, reason.label()];
        self.families.cold_starts.with_label_values(&labels).inc();
        if let Some(length) = length {
            self.families.cold_start.with_label_values(&labels).observe(length.as_secs_f64());
        }
    }

    /// Sets whether the upstream is ready.
    pub fn set_up(&self, is_up: bool) {
        self.families.up.with_label_values(&[&self.upstream]).set(i64::from(is_up));
    }

    /// Sets whether slow requests cannot be judged now.
    pub fn set_judgement_suspended(&self, is_suspended: bool) {
        let gauge = &self.families.cold_judgement_suspended;
        gauge.with_label_values(&[&self.upstream]).set(i64::from(is_suspended));
    }

    /// Sets the start time of the upstream's process, in seconds since 1970, as its own metrics report it.
    pub fn set_start_time(&self, at: f64) {
        self.families.started.with_label_values(&[&self.upstream]).set(at);
    }

    /// Sets the time from Streamgauge's start to each stage that the upstream has reached.
    pub fn set_boot_times(&self, ladder: BootTimes) {
        let BootTimes { port_open, healthy, first_token } = ladder;
        for (stage, after) in BOOT_STAGES.into_iter().zip([port_open, healthy, first_token]) {
            if let Some(after) = after {
                let gauge = self.families.boot.with_label_values(&[&*self.upstream, stage]);
                gauge.set(after.as_secs_f64());
            }
        }
    }
}
