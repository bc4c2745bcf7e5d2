//! The one wait in the server's queue that a request is told to have had.

use super::RequestState;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::meter::queue::ServedRequest;
use streamgauge_core::meter::{ClampedInterval, EndCause, QueueWait, RequestRecord, ResponseMeter};

impl RequestState {
    /// Leaves the queue, and fills in the wait there, of the best source that there is. `end` is how and when
    /// the request ended.
    pub(super) fn queue_wait(
        &self,
        meter: Option<&ResponseMeter>,
        end: (EndCause, Duration),
        engine: Option<Engine>,
        record: &mut RequestRecord,
    ) {
        let (end, now) = end;
        let read = self.upstream.as_ref().filter(|_| end == EndCause::Complete);
        let left = read.map_or(now, |upstream| upstream.last_read().at);
        let served = meter.and_then(|meter| served(meter, record));
        let estimate = self.side.leave_queue(left, served);
        let header = meter.and_then(|meter| self.until_slot(meter, engine));
        let wait = QueueWait::from_best_source(meter.map(ResponseMeter::tally), header, estimate);
        if wait.is_some_and(|wait| wait.clamped) {
            self.tap.series.clamped(ClampedInterval::QueueWait);
        }
        record.set_queue_wait(wait, estimate);
    }

    /// From the last byte of the request to the head of a stream, in seconds, of a server that sends it when a
    /// slot takes the request. llama.cpp tells its build in OpenAI's shape alone, so what it told there counts
    /// for its other routes. A head that came with the first output was held back, by a gateway between us.
    fn until_slot(&self, meter: &ResponseMeter, engine: Option<Engine>) -> Option<f64> {
        let known = &self.tap.head_at_slot;
        let told = meter.tally().head_at_slot;
        if let Some(told) = told {
            known.store(told, Relaxed);
        }
        let is_llama_cpp = engine == Some(Engine::LlamaCpp);
        if !told.unwrap_or_else(|| is_llama_cpp && known.load(Relaxed))
            || !meter.is_stream()
            || meter.is_session()
        {
            return None;
        }
        let (head, sent) = (self.head?, self.side.sent()?);
        let is_apart = meter.tally().first_output.is_none_or(|first| first.at > head);
        is_apart.then_some(head.as_secs_f64() - sent.as_secs_f64())
    }
}

/// What a response that began as a success says of its request, whole or not; `None` where nothing of it could
/// be read.
fn served(meter: &ResponseMeter, record: &RequestRecord) -> Option<ServedRequest> {
    let has_output = meter.is_stream() && meter.tally().first_output.is_some();
    let cached = record.cached_tokens.unwrap_or(0);
    let tokens = record.input_tokens.map(|count| count.saturating_sub(cached));
    let is_warm = record.cold != Some(true);
    (has_output || meter.is_fully_read())
        .then_some(ServedRequest { prompt_tokens: tokens, is_warm })
}
