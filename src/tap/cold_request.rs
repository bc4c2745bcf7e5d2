//! What one inference request shows of cold starts.

use super::Tap;
use super::request_side::RequestSide;
use crate::metrics::{RequestSeries, StartKind};
use crate::socket;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::dialect::loading::LoadingDetector;
use streamgauge_core::meter::cold::{ColdReason, FirstOutput, ReportedTimes, RequestId};
use streamgauge_core::meter::queue::ExpectedTtft;
use streamgauge_core::meter::{EndCause, Outcome, RequestRecord};

/// An inference request, for the detector of its upstream. What each read looks at comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ColdRequest {
    /// The body of a 503, until it has said that the model is being loaded.
    refusal: Option<LoadingDetector>,
    reason: Option<ColdReason>,
    has_left: bool,
    ask: RequestId,
    tap: Arc<Tap>,
    first: Option<FirstOutputState>,
}

/// The first output.
#[derive(Debug)]
struct FirstOutputState {
    at: Duration,
    sent: Option<Duration>,
    model: Option<Arc<str>>,
    bytes: u64,
    expected: Option<ExpectedTtft>,
    tells_load: bool,
    /// Only the end of the response tells whether the request was cold.
    later: bool,
}

impl FirstOutputState {
    fn output(&self) -> FirstOutput<'_> {
        let Self { at, sent, bytes, expected, tells_load, .. } = *self;
        FirstOutput { at, sent, model: self.model(), bytes, expected, tells_load }
    }

    /// The model asked for; empty if none was named.
    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }
}

impl ColdRequest {
    /// A request arrived; `at` is its `t_req`.
    pub fn arrived(tap: &Arc<Tap>, at: Duration) -> Self {
        Self {
            tap: Arc::clone(tap),
            ask: tap.cold.arrived(at),
            has_left: false,
            refusal: None,
            first: None,
            reason: None,
        }
    }

    /// The upstream's head has this status.
    pub fn status(&mut self, status: u16) {
        self.refusal = (status == 503).then(LoadingDetector::default);
    }

    /// The next bytes of the response's body.
    pub fn data(&mut self, tap: &Tap, side: &RequestSide, at: Duration, bytes: &[u8]) {
        if let Some(refusal) = &mut self.refusal
            && refusal.push(bytes)
        {
            self.refusal = None;
            self.loading(tap, side, at);
        }
    }

    /// The server says that it loads the model.
    pub fn loading(&self, tap: &Tap, side: &RequestSide, at: Duration) {
        tap.cold.loading(self.ask, at, side.model().as_deref().unwrap_or_default());
    }

    /// The first output, or the first byte of a body that is no stream; later ones do not count.
    /// `tells_load`: the end of the response may tell how long its model was loaded.
    pub fn output(
        &mut self,
        tap: &Tap,
        side: &RequestSide,
        at: Duration,
        stream: bool,
        tells_load: bool,
    ) {
        if self.first.is_none() {
            let (model, bytes) = (side.model(), side.bytes());
            let name = model.as_deref().unwrap_or_default();
            let expected = if stream { tap.expected(name, bytes) } else { None };
            let sent = side.sent();
            let mut first =
                FirstOutputState { at, sent, model, bytes, expected, tells_load, later: false };
            (self.reason, first.later) = tap.cold.output(self.ask, &first.output());
            self.first = Some(first);
        }
    }

    /// Whether the request met its model ready, as far as is known.
    pub fn start(&self) -> StartKind {
        match &self.first {
            _ if self.reason.is_some() => StartKind::Cold,
            Some(FirstOutputState { later: true, .. }) => StartKind::Undetermined,
            _ => StartKind::Warm,
        }
    }

    /// The end of the request, of which the record holds the times. Fills in whether it met the server
    /// ready, and observes what waited for that.
    pub fn finish(
        mut self,
        tap: &Tap,
        (end, outcome): (EndCause, Outcome),
        now: Duration,
        series: &RequestSeries,
        record: &mut RequestRecord,
    ) {
        let was_told = self.start() != StartKind::Undetermined;
        if let Some(first) = &self.first {
            let told =
                ReportedTimes { load: record.engine_load_s, prefill: record.engine_prefill_s };
            self.reason = tap.cold.told(self.ask, &first.output(), told, self.reason);
        }
        if let Some(refusal) = self.refusal.take()
            && refusal.finish()
        {
            tap.cold.loading(self.ask, now, record.model.as_deref().unwrap_or_default());
        }
        match (outcome, end) {
            (Outcome::UpstreamUnreachable | Outcome::Timeout, EndCause::LocalResponse(_)) => {
                tap.cold.unreachable(self.ask, now);
            }
            (Outcome::Truncated, EndCause::UpstreamFailed | EndCause::LocalResponse(_)) => {
                tap.cold.broke(now)
            }
            _ => {}
        }
        self.leave(now);
        record.cold = self.first.as_ref().map(|_| self.reason.is_some());
        record.cold_reason = self.reason.map(ColdReason::label);
        let start = if self.reason.is_some() { StartKind::Cold } else { StartKind::Warm };
        if let Some(after) = record.ttft_s.filter(|_| !was_told) {
            series.first(after, start);
        }
        if let Some(after) = record.answer_s.filter(|_| !was_told) {
            series.first_answer(after, start);
        }
    }

    fn leave(&mut self, now: Duration) {
        self.has_left = true;
        let model = self.first.as_ref().map_or("", FirstOutputState::model);
        self.tap.cold.left(self.ask, model, now);
    }
}

impl Drop for ColdRequest {
    fn drop(&mut self) {
        // If our own record of the end failed, the detector must not take it for one in flight.
        if !self.has_left {
            self.leave(socket::now());
        }
    }
}
