//! Handles for how evenly streams come, and for clients that left.

use super::request_series::{HandleCache, RequestSeries};
use prometheus::{Histogram, IntCounter};
use std::sync::OnceLock;
use streamgauge_core::meter::{Outcome, RequestRecord, ResponseTokens, TokenSource};

/// The classes of input, each with the most tokens that it holds; beside them are `more` and `unknown`.
const INPUT_SIZES: [(u64, &str); 5] =
    [(256, "256"), (1024, "1024"), (4096, "4096"), (16384, "16384"), (65536, "65536")];

/// How far a request had come when its client disconnected, by outcome.
pub(super) const ABANDON_PHASES: [(Outcome, &str); 3] = [
    (Outcome::ClientGoneBeforeHead, "before_head"),
    (Outcome::ClientGoneBeforeToken, "before_token"),
    (Outcome::ClientGoneMidStream, "mid_stream"),
];

/// Part of [`RequestSeries`].
#[derive(Default)]
pub(super) struct StreamFlowHandles {
    max_gap: OnceLock<Histogram>,
    stalls: OnceLock<IntCounter>,
    tokens_per_chunk: OnceLock<Histogram>,
    burst_ratio: OnceLock<Histogram>,
    abandoned: HandleCache<Outcome, Histogram>,
    wasted: OnceLock<IntCounter>,
    ttft_by_input: HandleCache<&'static str, Histogram>,
}

/// Counts the stalls of streams with the same labels.
#[derive(Debug, Clone)]
pub struct StallCounter(IntCounter);

impl StallCounter {
    /// Another one.
    pub fn inc(&self) {
        self.0.inc();
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a test's")]
    pub(crate) fn alone() -> Self {
        Self(IntCounter::new("stalls_total", "h").unwrap())
    }

    #[cfg(test)]
    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

impl RequestSeries {
    /// The counter of stalls, which is there from the first stream with output on.
    pub fn stalls(&self) -> StallCounter {
        let new = || self.counter(&self.families.stalls, []);
        StallCounter(self.flow.stalls.get_or_init(new).clone())
    }

    /// A stream has ended, whatever its outcome, with this longest gap.
    pub(super) fn flowed(&self, record: &RequestRecord) {
        if let Some(gap) = record.max_gap_s {
            let new = || self.histogram(&self.families.max_gap, []);
            self.flow.max_gap.get_or_init(new).observe(gap);
        }
        if self.families.by_input_size
            && record.cold != Some(true)
            && let Some(ttft) = record.ttft_s
        {
            let size = input_size(record.input_tokens);
            let new = || self.histogram(&self.families.ttft_by_input, [size]);
            self.flow.ttft_by_input.get(size, new).observe(ttft);
        }
    }

    /// A client has left, if this outcome says so.
    pub(super) fn left(&self, record: &RequestRecord, outcome: Outcome) {
        let phase = ABANDON_PHASES.iter().find(|(one, _)| *one == outcome);
        let Some((_, phase)) = phase else { return };
        let new = || self.histogram(&self.families.abandoned, [phase]);
        self.flow.abandoned.get(outcome, new).observe(record.duration_s);
        // A session's tokens were for the client while it was there.
        if let Some(tokens) = record.output_tokens.filter(|_| !self.is_of_sessions()) {
            let new = || self.counter(&self.families.wasted, []);
            self.flow.wasted.get_or_init(new).inc_by(tokens);
        }
    }

    /// What only a complete stream gives.
    pub(super) fn pieced(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        let is_told = matches!(tokens.output, Some((_, TokenSource::Usage | TokenSource::Engine)));
        if let (true, Some(tokens), Some(events)) = (is_told, tokens.streamed, record.output_events)
            && events > 0
        {
            let new = || self.histogram(&self.families.tokens_per_chunk, []);
            let handle = self.flow.tokens_per_chunk.get_or_init(new);
            handle.observe(tokens as f64 / events as f64);
        }
        if let Some(ratio) = record.burst_ratio {
            let new = || self.histogram(&self.families.burst_ratio, []);
            self.flow.burst_ratio.get_or_init(new).observe(ratio);
        }
    }
}

/// Every value of the label `input_size` of TTFT.
pub(super) fn input_size_labels() -> Vec<&'static str> {
    INPUT_SIZES.iter().map(|(_, class)| *class).chain(["more", "unknown"]).collect()
}

/// The class of an input of so many tokens, as the server told them.
fn input_size(tokens: Option<u64>) -> &'static str {
    let Some(tokens) = tokens else { return "unknown" };
    INPUT_SIZES.iter().find(|(most, _)| tokens <= *most).map_or("more", |(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_sizes() {
        for (tokens, class) in [
            (None, "unknown"),
            (Some(0), "256"),
            (Some(256), "256"),
            (Some(257), "1024"),
            (Some(65536), "65536"),
            (Some(65537), "more"),
        ] {
            assert_eq!(input_size(tokens), class, "{tokens:?}");
        }
    }
}
