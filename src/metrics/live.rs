//! Metrics that are recorded while a response runs.

use super::model_labels::OTHER;
use super::reconciled_counter::ReconciledCounter;
use super::request_series::{RequestSeries, StartKind};
use prometheus::IntCounter;
use std::time::Duration;
use streamgauge_core::dialect::FinishReason;
use streamgauge_core::meter::{GapBasis, LiveSample, OutputKind};

/// Counts the stalls of streams that share the labels of a request.
#[derive(Debug, Clone)]
pub struct StallCounter(IntCounter);

impl StallCounter {
    /// Counts one stall.
    pub fn inc(&self) {
        self.0.inc();
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a test's")]
    pub(crate) fn unregistered() -> Self {
        Self(IntCounter::new("stalls_total", "h").unwrap())
    }

    #[cfg(test)]
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

impl RequestSeries {
    /// Records what the meter reports while a response runs: each sample belongs to one metric.
    ///
    /// `requested_at` is the arrival of the request; in a realtime session, the instant at which the client
    /// requested this response. `start` is called for the first output only.
    pub fn record_live(
        &self,
        sample: &LiveSample<'_>,
        requested_at: Duration,
        start: impl Fn() -> StartKind,
    ) {
        let elapsed = |at: Duration| at.saturating_sub(requested_at).as_secs_f64();
        match *sample {
            LiveSample::FirstOutput(at) => self.record_ttft(elapsed(at), start()),
            LiveSample::FirstAnswer(at) => self.record_time_to_first_answer(elapsed(at), start()),
            LiveSample::ChunkGap(gap) => self.record_chunk_gap(gap),
            LiveSample::TokenGap { gap, shares, basis } => {
                self.record_inter_token_latency(gap, shares, basis);
            }
            LiveSample::OutputTokens(count) => self.output_tokens().add(count),
            LiveSample::Characters(kind, count) => self.count_characters(kind, count),
            LiveSample::Finished(reason) => self.count_finish_reason(reason),
            LiveSample::ResponseRequested(_)
            | LiveSample::UnrecognisedEvent { .. }
            | LiveSample::Recognised(_)
            | LiveSample::ModelLoading
            | LiveSample::Unparsed(_) => {}
        }
    }

    /// Records the time from the arrival of the request to the upstream's response headers, when they arrive.
    pub fn record_time_to_response_head(&self, elapsed: Duration) {
        let new = || self.histogram(&self.families.head, []);
        self.handles.head.get_or_init(new).observe(elapsed.as_secs_f64());
    }

    /// Records TTFT, in seconds: when the first output of a stream arrives, or at the end of the response if only that
    /// determines whether the start was cold.
    pub fn record_ttft(&self, seconds: f64, start: StartKind) {
        let [warm, cold] = &self.handles.ttft;
        let (handle, label) = match start {
            StartKind::Warm => (warm, "warm"),
            StartKind::Cold => (cold, "cold"),
            StartKind::Undetermined => return,
        };
        handle.get_or_init(|| self.histogram(&self.families.ttft, [label])).observe(seconds);
    }

    /// Records the time to the first output that is not reasoning, in seconds, at the same moments as
    /// [`record_ttft`](Self::record_ttft). Cold starts are excluded.
    pub fn record_time_to_first_answer(&self, seconds: f64, start: StartKind) {
        if start == StartKind::Warm {
            let new = || self.histogram(&self.families.answer, []);
            self.handles.answer.get_or_init(new).observe(seconds);
        }
    }

    /// Records the time from the first request of a trace to the first output of a later one, when that arrives.
    pub fn record_trace_ttft(&self, elapsed: Duration) {
        let new = || self.histogram(&self.families.trace_ttft, []);
        self.handles.trace_ttft.get_or_init(new).observe(elapsed.as_secs_f64());
    }

    /// Records the time in seconds to the first sound of a response that is raw audio, when it arrives, or at the end if the
    /// start was undetermined before. Cold starts are excluded.
    pub fn record_time_to_first_audio(&self, seconds: f64, start: StartKind) {
        if start == StartKind::Warm {
            let new = || self.histogram(&self.families.first_audio, []);
            self.handles.first_audio.get_or_init(new).observe(seconds);
        }
    }

    /// Records an event of a stream of no known API: the time to the first, and the gap before others.
    pub fn record_unrecognised_event(&self, elapsed: Duration, gap: Option<Duration>) {
        match gap {
            None => {
                let new = || self.histogram(&self.families.unrecognised_first_event, []);
                self.handles
                    .unrecognised_first_event
                    .get_or_init(new)
                    .observe(elapsed.as_secs_f64());
            }
            Some(gap) => {
                let new = || self.histogram(&self.families.unrecognised_event_gap, []);
                let handle = self.handles.unrecognised_event_gap.get_or_init(new);
                handle.observe(gap.as_secs_f64());
            }
        }
    }

    fn record_chunk_gap(&self, gap: Duration) {
        let new = || self.sharded(&self.families.chunk_gap, []);
        self.handles.chunk_gap.get_or_init(new).observe(gap.as_secs_f64());
    }

    /// Records the gap between two arrivals of output, shared equally by the tokens of the later one.
    fn record_inter_token_latency(&self, gap: Duration, shares: u64, basis: GapBasis) {
        let [token, event] = &self.handles.itl;
        let handle = if basis == GapBasis::Token { token } else { event };
        let histogram = handle.get_or_init(|| self.sharded(&self.families.itl, [basis.label()]));
        histogram.observe_many(gap.as_secs_f64() / shares.max(1) as f64, shares);
    }

    /// The counter of output tokens: incremented by each event, and corrected at the end of the response.
    pub(super) fn output_tokens(&self) -> &ReconciledCounter {
        let new = || ReconciledCounter::new(self.sharded(&self.families.tokens, ["output"]));
        self.handles.output_tokens.get_or_init(new)
    }

    fn count_characters(&self, kind: OutputKind, count: u64) {
        let [answer, reasoning, tool] = &self.handles.characters;
        let handle = match kind {
            OutputKind::Answer => answer,
            OutputKind::Reasoning => reasoning,
            OutputKind::Tool => tool,
        };
        let new = || self.sharded(&self.families.characters, [kind.label()]);
        handle.get_or_init(new).inc_by(count);
    }

    fn count_finish_reason(&self, reason: &FinishReason) {
        // Only well-known reasons are borrowed. One that a server invents must not become a label value.
        let reason = match reason {
            FinishReason::Borrowed(known) => *known,
            FinishReason::Owned(_) => OTHER,
        };
        let new = || self.counter(&self.families.finish_reasons, [reason]);
        self.handles.finish_reasons.get(reason, new).inc();
    }

    /// The counter of stalls. It exists from the first stream with output on, so that 0 is exported for a server
    /// without stalls.
    pub fn stall_counter(&self) -> StallCounter {
        let new = || self.counter(&self.families.stalls, []);
        StallCounter(self.handles.stalls.get_or_init(new).clone())
    }
}
