//! Cold starts of an upstream: passes events to the detector, and reports what it finds to metrics and log.

use super::lock;
use crate::metrics::{ColdStartSeries, Metrics};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use streamgauge_core::meter::cold::{
    ColdConfidence, ColdReason, ColdStart, ColdStartConfig, ColdStartDetector, ColdVerdict,
    FailureSign, FirstOutput, ProbeResult, ProcessTimes, ReportedTimes, RequestId,
};
use tokio::sync::Notify;

/// The cold-start detector of one upstream. Its lock is taken a few times per request.
#[derive(Debug)]
pub(crate) struct ColdStartWatch {
    upstream: Arc<str>,
    detector: Mutex<ColdStartDetector>,
    /// Notified when the next probe may be due earlier than before.
    probe_schedule: Notify,
    series: ColdStartSeries,
    metrics: Arc<Metrics>,
    /// Cold starts that only the time of a request shows are counted too.
    counts_likely: bool,
    /// Cold starts that ended since they were last taken; at most [`MAX_ENDED`], the newest.
    ended: Mutex<VecDeque<ColdStart>>,
}

/// Most ended cold starts that are kept until they are taken.
const MAX_ENDED: usize = 32;

impl ColdStartWatch {
    pub fn new(
        upstream: &Arc<str>,
        config: ColdStartConfig,
        counts_likely: bool,
        now: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            counts_likely,
            upstream: Arc::clone(upstream),
            detector: Mutex::new(ColdStartDetector::new(config, now)),
            probe_schedule: Notify::new(),
            series: metrics.cold_start_series(upstream),
            metrics,
            ended: Mutex::default(),
        }
    }

    fn detector(&self) -> MutexGuard<'_, ColdStartDetector> {
        lock(&self.detector)
    }

    /// When the next readiness probe is due; `None` while none is needed.
    pub fn probe_due(&self) -> Option<Duration> {
        self.detector().probe_due()
    }

    /// Waits until [`probe_due`](Self::probe_due) may return another instant.
    pub async fn schedule_changed(&self) {
        self.probe_schedule.notified().await;
    }

    /// Records the result of a readiness probe that began at `started`.
    pub fn record_probe(&self, started: Duration, at: Duration, result: ProbeResult) {
        let ended = self.detector().on_probe_result(started, at, result);
        self.report(ended);
        self.report_outage(at);
    }

    /// When the next read of the server's own metrics is due; `None` while none is needed.
    pub fn metrics_page_due(&self) -> Option<Duration> {
        self.detector().metrics_page_due()
    }

    /// Records the server's own metrics, requested at `requested`: the start time of its process, if they contain it.
    pub fn record_metrics_page(
        &self,
        requested: Duration,
        at: Duration,
        page: Option<ProcessTimes>,
    ) {
        let (ended, has_several) = {
            let mut detector = self.detector();
            (detector.on_process_times(requested, at, page), detector.has_several_processes())
        };
        if let Some(page) = page {
            self.series.set_start_time(page.started);
        }
        if has_several {
            let upstream = &*self.upstream;
            tracing::warn!(
                upstream,
                "ignoring server_metrics_path: responses come from several processes"
            );
        }
        self.report(ended);
    }

    /// Sets the gauges, and reports cold starts and outages that follow from the passage of time.
    pub fn refresh(&self, now: Duration) {
        let (ended, is_up, ladder, is_suspended) = {
            let mut detector = self.detector();
            let ended = detector.tick(now);
            (ended, detector.is_up(), detector.boot_times(), detector.is_judgement_suspended())
        };
        self.series.set_judgement_suspended(is_suspended);
        self.report(ended);
        self.report_outage(now);
        if let Some(is_up) = is_up {
            self.series.set_up(is_up);
        }
        self.series.set_boot_times(ladder);
    }

    fn report_outage(&self, now: Duration) {
        let since = self.detector().outage(now);
        if let Some(since) = since {
            let seconds = now.saturating_sub(since).as_secs();
            tracing::warn!(
                upstream = &*self.upstream,
                seconds,
                "the upstream has been unreachable for this long: an outage"
            );
        }
    }

    fn report(&self, ended: Option<ColdStart>) {
        if let Some(start) = ended {
            let reason = start.reason.label();
            let confidence = start.reason.confidence();
            let seconds = start.duration().map(|length| length.as_secs_f64());
            let upstream = &*self.upstream;
            let label = confidence.label();
            tracing::info!(upstream, reason, confidence = label, seconds, "cold start ended");
            if confidence == ColdConfidence::Likely && !self.counts_likely {
                return;
            }
            let model = self.metrics.model_label(start.model.as_deref());
            self.series.record_cold_start(&model, start.reason, start.duration());
            let mut ended = lock(&self.ended);
            if ended.len() == MAX_ENDED {
                ended.pop_front();
            }
            ended.push_back(start);
        }
    }

    /// Takes the cold starts that ended since the last call.
    pub fn take_ended(&self) -> VecDeque<ColdStart> {
        std::mem::take(&mut lock(&self.ended))
    }

    /// Whether the upstream is ready. `None` until a probe or an output has shown it.
    pub fn is_up(&self) -> Option<bool> {
        self.detector().is_up()
    }

    /// A request arrived.
    pub fn on_request(&self, at: Duration) -> RequestId {
        self.detector().on_request(at)
    }

    /// A request could not be forwarded, or its response broke off.
    pub fn on_failure(&self, id: RequestId, at: Duration, sign: FailureSign) {
        self.detector().on_failure(id, at, sign);
        self.probe_schedule.notify_one();
    }

    /// The server responded with 503, without a reason.
    pub fn on_unavailable(&self, at: Duration) {
        self.detector().on_unavailable(at);
    }

    /// The server reported that it is loading the model.
    pub fn on_loading(&self, id: RequestId, at: Duration, model: &str) {
        self.detector().on_model_loading(id, at, model);
        self.probe_schedule.notify_one();
    }

    /// The first output of a request arrived. Returns why its start was cold, if it was, and whether only the end of the
    /// response determines that.
    pub fn on_first_output(
        &self,
        id: RequestId,
        output: &FirstOutput<'_>,
    ) -> (Option<ColdReason>, bool) {
        let ColdVerdict { needs_end: later, reason: cold, ended } =
            self.detector().on_first_output(id, output);
        self.report(ended);
        (cold, later)
    }

    /// The end of the response reported these times. Returns why its start was cold, if it was.
    pub fn on_reported_times(
        &self,
        id: RequestId,
        output: &FirstOutput<'_>,
        reported: ReportedTimes,
        cold: Option<ColdReason>,
    ) -> Option<ColdReason> {
        let ColdVerdict { reason: cold, ended, .. } =
            self.detector().on_response_end(id, output, reported, cold);
        self.report(ended);
        cold
    }

    /// A request ended.
    pub fn on_request_end(&self, id: RequestId, model: &str, at: Duration) {
        let ended = self.detector().on_request_end(id, model, at);
        self.report(ended);
    }
}
