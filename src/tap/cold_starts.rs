//! The cold starts of an upstream: its detector, and who is told of what it finds.

use super::lock;
use crate::metrics::{ColdStartSeries, Metrics};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use streamgauge_core::meter::cold::{
    ColdReason, ColdStart, ColdStartConfig, ColdStartDetector, ColdVerdict, FirstOutput,
    ProbeResult, ProcessTimes, ReportedTimes, RequestId,
};
use tokio::sync::Notify;

/// The detector of one upstream. Its lock is taken a few times per request.
#[derive(Debug)]
pub(crate) struct ColdStartWatch {
    upstream: Arc<str>,
    detector: Mutex<ColdStartDetector>,
    /// A probe may be due earlier than it was.
    wake: Notify,
    series: ColdStartSeries,
    metrics: Arc<Metrics>,
}

impl ColdStartWatch {
    pub fn new(
        upstream: &Arc<str>,
        config: ColdStartConfig,
        now: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            detector: Mutex::new(ColdStartDetector::new(config, now)),
            wake: Notify::new(),
            series: metrics.cold(upstream),
            metrics,
        }
    }

    fn detector(&self) -> MutexGuard<'_, ColdStartDetector> {
        // A panic of the detector's leaves a state that is at worst wrong about one cold start.
        lock(&self.detector)
    }

    /// When the next probe is due; `None` while none is wanted.
    pub fn probe_due(&self) -> Option<Duration> {
        self.detector().probe_due()
    }

    /// Waits until [`probe_due`](Self::probe_due) may say something else.
    pub async fn schedule_changed(&self) {
        self.wake.notified().await;
    }

    /// A probe that began at `asked` has found this.
    pub fn record_probe(&self, asked: Duration, at: Duration, found: ProbeResult) {
        let ended = self.detector().on_probe_result(asked, at, found);
        self.tell(ended);
        self.look_for_outage(at);
    }

    /// When the next page of the server's metrics is due; `None` while none is wanted.
    pub fn metrics_page_due(&self) -> Option<Duration> {
        self.detector().metrics_page_due()
    }

    /// A page that was asked for at `asked` has come back, and tells this of its process, or nothing.
    pub fn record_metrics_page(&self, asked: Duration, at: Duration, page: Option<ProcessTimes>) {
        let (ended, has_several) = {
            let mut detector = self.detector();
            (detector.on_process_times(asked, at, page), detector.has_several_processes())
        };
        if let Some(page) = page {
            self.series.started(page.started);
        }
        if has_several {
            let upstream = &*self.upstream;
            tracing::warn!(upstream, "server_metrics_path is of no use: several processes answer");
        }
        self.tell(ended);
    }

    /// Sets the gauges, and tells what time alone has decided.
    pub fn refresh(&self, now: Duration) {
        let (ended, is_up, ladder) = {
            let mut detector = self.detector();
            (detector.tick(now), detector.is_up(), detector.boot_times())
        };
        self.tell(ended);
        self.look_for_outage(now);
        if let Some(is_up) = is_up {
            self.series.up(is_up);
        }
        self.series.boot(ladder);
    }

    fn look_for_outage(&self, now: Duration) {
        let since = self.detector().outage(now);
        if let Some(since) = since {
            let seconds = now.saturating_sub(since).as_secs();
            tracing::warn!(upstream = &*self.upstream, seconds, "away for so long: an outage");
        }
    }

    fn tell(&self, ended: Option<ColdStart>) {
        if let Some(start) = ended {
            let model = self.metrics.model_label(start.model.as_deref());
            self.series.ended(&model, start.reason, start.duration());
            let reason = start.reason.label();
            let seconds = start.duration().map(|length| length.as_secs_f64());
            tracing::info!(upstream = &*self.upstream, reason, seconds, "a cold start has ended");
        }
    }

    pub fn arrived(&self, at: Duration) -> RequestId {
        self.detector().on_request(at)
    }

    pub fn unreachable(&self, ask: RequestId, at: Duration) {
        self.detector().on_connect_failure(ask, at);
        self.wake.notify_one();
    }

    pub fn broke(&self, at: Duration) {
        self.detector().on_broken_connection(at);
        self.wake.notify_one();
    }

    pub fn loading(&self, ask: RequestId, at: Duration, model: &str) {
        self.detector().on_model_loading(ask, at, model);
        self.wake.notify_one();
    }

    /// Gives why the request is cold, and whether only its end can tell.
    pub fn output(&self, ask: RequestId, output: &FirstOutput<'_>) -> (Option<ColdReason>, bool) {
        let ColdVerdict { needs_end: later, reason: cold, ended } =
            self.detector().on_first_output(ask, output);
        self.tell(ended);
        (cold, later)
    }

    pub fn told(
        &self,
        ask: RequestId,
        output: &FirstOutput<'_>,
        told: ReportedTimes,
        cold: Option<ColdReason>,
    ) -> Option<ColdReason> {
        let ColdVerdict { reason: cold, ended, .. } =
            self.detector().on_response_end(ask, output, told, cold);
        self.tell(ended);
        cold
    }

    pub fn left(&self, ask: RequestId, model: &str, at: Duration) {
        let ended = self.detector().on_request_end(ask, model, at);
        self.tell(ended);
    }
}
