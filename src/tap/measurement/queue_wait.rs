//! The queue wait of a request, from the best source available.

use super::RequestState;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::meter::queue::ServedRequest;
use streamgauge_core::meter::{ClampedInterval, QueueWait, RequestRecord, ResponseMeter};

impl RequestState {
    /// Removes the request from the estimated queue, and adds its queue wait to the record.
    pub(super) fn add_queue_wait(
        &self,
        meter: Option<&ResponseMeter>,
        ended_at: Duration,
        engine: Option<Engine>,
        record: &mut RequestRecord,
    ) {
        let served = meter.and_then(|meter| served(meter, record));
        let estimate = self.progress.leave_queue(ended_at, served);
        let header = meter.and_then(|meter| self.wait_until_head(meter, engine));
        // The wait of a cold request includes the load. A replay waits for no slot.
        if record.cold == Some(true) || !self.is_inference() {
            return;
        }
        let wait = QueueWait::from_best_source(meter.map(ResponseMeter::tally), header, estimate);
        if wait.is_some_and(|wait| wait.clamped) {
            self.tap.series.count_clamped(ClampedInterval::QueueWait);
        }
        record.set_queue_wait(wait, estimate);
    }

    /// Seconds from the last byte of the request to the response headers, if the server sends the headers of a stream
    /// when a slot takes the request.
    ///
    /// llama.cpp reports its build only in responses of its OpenAI routes, so what was learned there also applies to its
    /// other routes. There is no value if the headers came together with the first output: a gateway between
    /// the server and Streamgauge held them back.
    fn wait_until_head(&self, meter: &ResponseMeter, engine: Option<Engine>) -> Option<f64> {
        let learned = &self.tap.sends_head_at_slot;
        let reported = meter.tally().head_at_slot;
        if let Some(reported) = reported {
            learned.store(reported, Relaxed);
        }
        let is_llama_cpp = engine == Some(Engine::LlamaCpp);
        if !reported.unwrap_or_else(|| is_llama_cpp && learned.load(Relaxed))
            || !meter.is_stream()
            || meter.is_session()
        {
            return None;
        }
        let (head, sent) = (self.head_at?, self.progress.sent()?);
        let is_before_output = meter.tally().first_output.is_none_or(|first| first.at > head);
        is_before_output.then_some(head.as_secs_f64() - sent.as_secs_f64())
    }
}

/// Returns what a successful response, complete or not, adds to the queue estimate. `None` if nothing of it could be
/// read.
fn served(meter: &ResponseMeter, record: &RequestRecord) -> Option<ServedRequest> {
    let has_output = meter.is_stream() && meter.tally().first_output.is_some();
    let cached = record.cached_tokens.unwrap_or(0);
    let tokens = record.input_tokens.map(|count| count.saturating_sub(cached));
    let is_warm = record.cold != Some(true);
    (has_output || meter.is_fully_read())
        .then_some(ServedRequest { prompt_tokens: tokens, is_warm })
}
