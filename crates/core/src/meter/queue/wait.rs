//! Wait of an ended request, with the interval that holds the truth of nine in ten requests.
//!
//! | what is known | wait | low | high |
//! |---|---|---|---|
//! | nothing else was in flight | 0 | 0 | 0 |
//! | the slots | up to the turn | without the way into and out of the server | up to the latest start that leaves time for the prompt |
//! | nobody waits, as enough requests show | time to first output above the baseline | without the time for a prompt that shares the server | time to first output |
//! | nothing | the low end | as above | as above |

use super::estimate::{EstimateSource, WaitEstimate};
use super::request::{ObservedRequest, QueueEntry, SlotSpan, TurnSign};
use super::slots::{INSTANT_ERROR, MAX_LOOKBACK, SlotModel};
use super::{QueueEstimator, TtftBaseline};

impl QueueEstimator {
    /// Estimates the wait of a request, which had this entry.
    pub(super) fn estimate(
        &self,
        request: &ObservedRequest,
        entry: &QueueEntry,
    ) -> Option<WaitEstimate> {
        if request.is_lone() {
            let has_slots = self.fit.slots.is_some();
            let source = if has_slots { EstimateSource::Slots } else { EstimateSource::Baseline };
            return Some(self.estimated(0.0, 0.0, 0.0, source));
        }
        let Some(slots) = &self.fit.slots else {
            return self.without_slots(request, entry.sent_meanwhile);
        };
        // The number of slots may have changed since the first output.
        let turn = entry.turn.map_or_else(|| slots.turn(request, &self.releases, usize::MAX), Ok);
        let Ok(turn) = turn else {
            let seconds = self.wait_above_baseline(request, 0.0)?;
            let high = request.latest_turn() - request.sent;
            return Some(self.estimated(seconds, 0.0, high, EstimateSource::Baseline));
        };
        let seconds = (turn - request.sent).max(0.0);
        let baseline = self.baseline.as_ref().or(self.unstreamed.as_ref());
        let way = baseline.map_or(0.0, |baseline| match slots.span {
            // The way into and out of the server takes no longer than the fastest response, and varies no more than the
            // time to first output: a busy front end delays both.
            SlotSpan::Response => {
                let streamed = self.baseline.as_ref();
                let variation = |one: &TtftBaseline| one.variation(request.bytes, request.tokens);
                baseline.fastest() + streamed.map_or(0.0, variation)
            }
            // A part of the prompt may be processed beside the prompt before.
            SlotSpan::Prefill => baseline.expect(request.bytes, request.tokens),
        });
        // A server that works in steps begins at the start of one, which is known within half a step.
        let error = INSTANT_ERROR + slots.step_seconds.unwrap_or(0.0) / 2.0;
        let low = (seconds - error - way - self.next_turn(slots)).max(0.0);
        let high = self.latest_start(request);
        Some(self.estimated(seconds, low, high.max(seconds + error), EstimateSource::Slots))
    }

    /// If the ends of responses show the slots, there may be one more: the turn was then that of the request before. Nine in
    /// ten exponential times between two releases are shorter than this, in seconds.
    fn next_turn(&self, slots: &SlotModel) -> f64 {
        let mean = slots.holding_seconds / slots.count as f64;
        if self.unstreamed.is_some() { std::f64::consts::LN_10 * mean } else { 0.0 }
    }

    fn without_slots(
        &self,
        request: &ObservedRequest,
        sent_meanwhile: usize,
    ) -> Option<WaitEstimate> {
        let baseline = self.baseline.as_ref()?;
        let ttft = request.first_output? - request.sent;
        // Prompts that are processed together slow each other down, also those that arrive later. Each gets at least its
        // share of the server.
        let sharing = (request.earlier_when_sent.response + 1 + sent_meanwhile) as f64;
        let longest = baseline.expect(request.bytes, request.tokens) * baseline.band.exp();
        let low = (ttft - longest * sharing).max(0.0);
        // The baseline may include waits, so it does not bound the time for a prompt.
        let high = ttft;
        Some(if self.nobody_waits {
            let seconds = self.wait_above_baseline(request, baseline.band)?;
            self.estimated(seconds, low, high, EstimateSource::Baseline)
        } else {
            self.estimated(low, low, high, EstimateSource::LowerBound)
        })
    }

    fn estimated(&self, seconds: f64, low: f64, high: f64, source: EstimateSource) -> WaitEstimate {
        let (low, high) = (low.min(seconds), high.max(seconds));
        WaitEstimate { seconds, low, high, source, model: self.model() }
    }

    /// Latest likely start of a request, in seconds after it was sent: it leaves a short time for the prompt.
    fn latest_start(&self, request: &ObservedRequest) -> f64 {
        // A response that is not streamed shows only that its turn came before its end.
        let shortest = match request.turn_sign() {
            TurnSign::FirstOutput => {
                let baseline = self.baseline.as_ref();
                baseline.map(|one| one.shortest(request.bytes, request.tokens))
            }
            // Its time depends on its length, which is not known.
            TurnSign::End => self.unstreamed.as_ref().map(TtftBaseline::fastest),
        };
        let prompt = shortest.unwrap_or(0.0);
        (request.latest_turn() - request.sent - prompt).max(0.0)
    }

    /// Time to first output minus that of a request that does not wait. 0 if the two are within a factor of `e^band`.
    ///
    /// If another request left near the end of this wait, the turn probably came then: the time for a prompt is known
    /// less exactly than the time at which other requests left.
    fn wait_above_baseline(&self, request: &ObservedRequest, band: f64) -> Option<f64> {
        let ttft = request.first_output? - request.sent;
        let baseline = self.baseline.as_ref()?;
        let expected = baseline.expect(request.bytes, request.tokens);
        if ttft <= expected * band.exp() {
            return Some(0.0);
        }
        let excess = ttft - expected;
        let distance = |wait: &f64| (wait - excess).abs();
        let noise = baseline.variation(request.bytes, request.tokens);
        let releases =
            self.releases.response.earlier_backwards(request.latest_turn(), request, MAX_LOOKBACK);
        let turns = releases.map(|at| at - request.sent).filter(|wait| distance(wait) <= noise);
        let wait = turns.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(excess);
        Some(wait.max(0.0))
    }
}
