//! Passes the events of one inference request to the cold-start detector.

use super::Tap;
use super::request_progress::RequestProgress;
use crate::metrics::{RequestSeries, StartKind};
use crate::socket;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::dialect::loading::LoadingDetector;
use streamgauge_core::meter::cold::{
    ColdReason, FailureSign, FirstOutput, ReportedTimes, RequestId,
};
use streamgauge_core::meter::queue::ExpectedTtft;
use streamgauge_core::meter::{EndCause, Outcome, RequestRecord};

/// An inference request, as the cold-start detector of its upstream sees it.
///
/// The fields that each read uses come first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ColdRequest {
    /// Searches the body of a 503 for a "model is loading" message, until it finds one.
    loading_search: Option<LoadingDetector>,
    reason: Option<ColdReason>,
    has_ended: bool,
    id: RequestId,
    tap: Arc<Tap>,
    first_output: Option<FirstOutputState>,
}

/// The first output of a request, kept until its end.
#[derive(Debug)]
struct FirstOutputState {
    at: Duration,
    sent: Option<Duration>,
    model: Option<Arc<str>>,
    bytes: u64,
    is_stream: bool,
    expected: Option<ExpectedTtft>,
    reports_load: bool,
    /// Only the end of the response determines whether the request was cold.
    is_undetermined: bool,
}

impl FirstOutputState {
    fn output(&self) -> FirstOutput<'_> {
        let Self { at, sent, bytes, is_stream, expected, reports_load, .. } = *self;
        FirstOutput { at, sent, model: self.model(), bytes, is_stream, expected, reports_load }
    }

    /// The requested model; empty if the request names none.
    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }
}

impl ColdRequest {
    /// Registers a request whose first byte arrived at `at`.
    pub fn start(tap: &Arc<Tap>, at: Duration) -> Self {
        Self {
            tap: Arc::clone(tap),
            id: tap.cold_starts.on_request(at),
            has_ended: false,
            loading_search: None,
            first_output: None,
            reason: None,
        }
    }

    /// The response headers arrived, with this status.
    pub fn on_status(&mut self, status: u16) {
        self.loading_search = (status == 503).then(LoadingDetector::default);
    }

    /// The next bytes of the response body arrived.
    pub fn on_response_data(
        &mut self,
        tap: &Tap,
        progress: &RequestProgress,
        at: Duration,
        bytes: &[u8],
    ) {
        if let Some(search) = &mut self.loading_search
            && search.push(bytes)
        {
            self.loading_search = None;
            self.on_loading(tap, progress, at);
        }
    }

    /// The server reported that it is loading the model.
    pub fn on_loading(&self, tap: &Tap, progress: &RequestProgress, at: Duration) {
        tap.cold_starts.on_loading(self.id, at, progress.model().as_deref().unwrap_or_default());
    }

    /// The first output arrived, or the first byte of a body that is not a stream. Later calls have no effect.
    /// `reports_load`: the end of the response may report how long the model was loaded.
    pub fn on_first_output(
        &mut self,
        tap: &Tap,
        progress: &RequestProgress,
        at: Duration,
        is_stream: bool,
        reports_load: bool,
    ) {
        if self.first_output.is_none() {
            let (model, bytes) = (progress.model(), progress.bytes());
            let name = model.as_deref().unwrap_or_default();
            let expected = if is_stream { tap.expected_ttft(name, bytes) } else { None };
            let mut first = FirstOutputState {
                at,
                sent: progress.sent(),
                model,
                bytes,
                is_stream,
                expected,
                reports_load,
                is_undetermined: false,
            };
            (self.reason, first.is_undetermined) =
                tap.cold_starts.on_first_output(self.id, &first.output());
            self.first_output = Some(first);
        }
    }

    /// Whether the server was ready for the request, as far as known.
    pub fn start_kind(&self) -> StartKind {
        match &self.first_output {
            _ if self.reason.is_some() => StartKind::Cold,
            Some(FirstOutputState { is_undetermined: true, .. }) => StartKind::Undetermined,
            _ => StartKind::Warm,
        }
    }

    /// Ends the request. Adds to the record whether the start was cold, and records TTFT and the times to the first answer
    /// and the first sound if that had to be known first.
    pub fn finish(
        mut self,
        tap: &Tap,
        (end, outcome): (EndCause, Outcome),
        now: Duration,
        series: &RequestSeries,
        record: &mut RequestRecord,
    ) {
        let was_determined = self.start_kind() != StartKind::Undetermined;
        if let Some(first) = &self.first_output {
            let reported = ReportedTimes {
                load: record.engine_load_s,
                prefill: record.engine_prefill_s,
                decode: record.engine_decode_s,
                per_token: record.tpot_s,
                output_tokens: record.output_tokens,
            };
            self.reason =
                tap.cold_starts.on_reported_times(self.id, &first.output(), reported, self.reason);
        }
        if let Some(search) = self.loading_search.take() {
            if search.finish() {
                let model = record.model.as_deref().unwrap_or_default();
                tap.cold_starts.on_loading(self.id, now, model);
            } else {
                tap.cold_starts.on_unavailable(now);
            }
        }
        let sign = match (outcome, end) {
            (Outcome::UpstreamUnreachable, EndCause::LocalResponse(_)) => {
                Some(FailureSign::NotConnected)
            }
            (Outcome::Timeout, EndCause::LocalResponse(_)) => Some(FailureSign::TimedOut),
            (Outcome::Truncated, EndCause::UpstreamFailed | EndCause::LocalResponse(_)) => {
                Some(FailureSign::Broken)
            }
            _ => None,
        };
        if let Some(sign) = sign {
            tap.cold_starts.on_failure(self.id, now, sign);
        }
        self.end(now);
        record.cold = self.first_output.as_ref().map(|_| self.reason.is_some());
        record.cold_reason = self.reason.map(ColdReason::label);
        record.cold_confidence = self.reason.map(|reason| reason.confidence().label());
        if !was_determined {
            let start = if self.reason.is_some() { StartKind::Cold } else { StartKind::Warm };
            if let Some(ttft) = record.ttft_s {
                series.record_ttft(ttft, start);
            }
            if let Some(seconds) = record.answer_s {
                series.record_time_to_first_answer(seconds, start);
            }
            if let Some(seconds) = record.first_audio_s {
                series.record_time_to_first_audio(seconds, start);
            }
        }
    }

    fn end(&mut self, now: Duration) {
        self.has_ended = true;
        let model = self.first_output.as_ref().map_or("", FirstOutputState::model);
        self.tap.cold_starts.on_request_end(self.id, model, now);
    }
}

impl Drop for ColdRequest {
    fn drop(&mut self) {
        // If the end could not be recorded, the detector must not count the request as in flight for ever.
        if !self.has_ended {
            self.end(socket::now());
        }
    }
}
