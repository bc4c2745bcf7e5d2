//! Expected wait of a new request.
//!
//! | what is known | expected wait |
//! |---|---|
//! | the slots | requests that must leave first, divided by the rate at which slots are released while requests wait |
//! | no model, and requests are served in the order of sending | requests behind the newest one with output, divided by the rate at which this place moved while requests waited |
//! | nothing | 0 |
//!
//! While the server makes no progress, it is at least the age of a request in flight without output, minus the time that
//! this request needs.

use super::estimate::ExpectedWait;
use super::open::RankAtOutput;
use super::rate::BusyRate;
use super::slots::SlotModel;
use super::{QueueEstimator, SlotSpan};
use crate::meter::bounded::push_bounded;
use std::collections::VecDeque;
use std::time::Duration;

/// Half of the width of an interval that holds nine in ten values of a normal distribution, in standard deviations.
const NINE_IN_TEN: f64 = 1.645;
/// Smallest number of responses without a stream from which the time for such a response is known.
const MIN_UNSTREAMED: usize = 5;
/// Weight of the fit in the rate of releases, in releases.
const FIT_WEIGHT: f64 = 32.0;
/// Smallest number of the newest times whose longest is the longest usual one, once there were as many.
const MIN_RECENT: usize = 64;
/// Smallest number of events from which a rate is known.
const MIN_EVENTS: f64 = 8.0;

/// Number of outputs, while requests wait for slots, whose numbers of requests in service are remembered.
const MAX_IN_SERVICE: usize = 16;
/// If the most requests in service at these outputs are at most this part of the slots, the server has fewer slots now.
const MAX_PART_OF_FEWER: f64 = 0.6;

/// Progress of the server through its queue.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Releases of slots while a request waits for one, for each slot.
    releases: BusyRate,
    /// Numbers of requests in service at the newest outputs while a request waited for a slot.
    in_service: VecDeque<usize>,
    /// Number of slots, if these show another one than the fit found.
    changed: Option<ChangedSlots>,
    /// Requests passed by the newest output, while a request is overdue.
    passed: BusyRate,
    /// Number of requests up to the last one that had output, and the instant of this output in seconds.
    head: u64,
    head_at: f64,
    /// Number of requests that ended without a response since then.
    abandoned: u64,
    /// Instant of the last output or end of a response, in seconds.
    moved_at: f64,
    /// Newest gaps between two of these while a request was in flight, in seconds.
    gaps: RecentTimes,
    /// Durations of the newest responses that were not streamed, in seconds.
    unstreamed: RecentTimes,
}

impl Progress {
    /// Records an output of the request with this sequence number.
    pub fn on_output(&mut self, sequence: u64, at: f64) {
        let passed = (sequence + 1).saturating_sub(self.head);
        if passed > 0 {
            self.head += passed;
            self.head_at = at;
            self.abandoned = 0;
        }
        self.passed.count(passed as f64);
    }

    /// Records that a request ended without a response.
    pub fn on_abandoned(&mut self) {
        self.abandoned += 1;
    }

    /// Records that a request was sent while nothing else was in flight.
    pub fn on_begin(&mut self, at: f64) {
        self.moved_at = at;
    }

    /// Records that an output arrived or a response ended.
    pub fn on_moved(&mut self, at: f64) {
        self.gaps.push((at - self.moved_at).max(0.0));
        self.moved_at = self.moved_at.max(at);
    }

    /// Longest usual time between two signs of progress, in seconds. The longest one may be an outage.
    fn usual_gap(&self) -> f64 {
        self.gaps.longest().second
    }

    /// Whether nothing has moved for longer than usual.
    fn is_stuck(&self, now: f64) -> bool {
        now - self.moved_at > self.usual_gap()
    }

    /// Records the duration of a response that was not streamed, in seconds.
    pub fn on_unstreamed(&mut self, seconds: f64) {
        self.unstreamed.push(seconds);
    }

    /// The slots of the server may have changed.
    pub fn on_fit(&mut self, before: Option<&SlotModel>, after: Option<&SlotModel>, now: f64) {
        let slots = |slots: &SlotModel| (slots.span, slots.count);
        if before.map(slots) == after.map(slots) {
            return;
        }
        self.changed = None;
        let has_more = before
            .zip(after)
            .is_some_and(|(before, after)| before.span == after.span && before.count < after.count);
        // The fit explains requests from before there were more slots by longer holding times.
        if has_more && self.releases.events() >= FIT_WEIGHT {
            return;
        }
        self.in_service.clear();
        if let Some(after) = after {
            let rate = 1.0 / after.holding_seconds.max(1e-6);
            self.releases = BusyRate::start(rate, FIT_WEIGHT, now);
        }
    }

    /// Records the number of requests in service at an output, while requests wait for slots.
    fn on_in_service(&mut self, in_service: usize, slots: usize, at: f64) {
        push_bounded(&mut self.in_service, in_service, MAX_IN_SERVICE);
        let largest = self.in_service.iter().map(|one| *one as f64);
        // One request may have been served in another order.
        let most = largest.fold(TwoLongest::default(), TwoLongest::with).second as usize;
        let has_fewer = self.in_service.len() == MAX_IN_SERVICE
            && most as f64 <= MAX_PART_OF_FEWER * slots as f64;
        let at = self.changed.map_or(at, |changed| changed.at);
        self.changed =
            (most > slots || has_fewer).then_some(ChangedSlots { count: most.max(1), at });
    }

    /// Number of slots, if it has changed since the fit.
    pub fn changed(&self) -> Option<ChangedSlots> {
        self.changed
    }

    /// Number of slots of the server now, if the fit found these.
    fn slots_now(&self, slots: &SlotModel) -> usize {
        self.changed.map_or(slots.count, |changed| changed.count)
    }

    /// Longest usual duration of a response that is not streamed, in seconds.
    fn longest_unstreamed(&self) -> Option<f64> {
        (self.unstreamed.count() >= MIN_UNSTREAMED).then(|| self.unstreamed.longest().first)
    }
}

/// A change of the number of slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangedSlots {
    pub count: usize,
    /// Instant at which it was seen, in seconds.
    pub at: f64,
}

/// The two longest of the newest times.
///
/// Times are counted in parts of [`MIN_RECENT`], and the part before the current one is kept. So a new time costs the same
/// whatever the others are.
#[derive(Debug, Default)]
struct RecentTimes {
    /// Those of the current part.
    current: TwoLongest,
    /// Number of times in the current part.
    count: usize,
    /// Those of the part before it.
    before: TwoLongest,
    /// Number of times in the part before it.
    count_before: usize,
}

impl RecentTimes {
    fn push(&mut self, time: f64) {
        if self.count >= MIN_RECENT {
            (self.before, self.count_before) = (self.current, self.count);
            (self.current, self.count) = (TwoLongest::default(), 0);
        }
        self.current = self.current.with(time);
        self.count += 1;
    }

    fn longest(&self) -> TwoLongest {
        self.before.with(self.current.first).with(self.current.second)
    }

    fn count(&self) -> usize {
        self.count_before + self.count
    }
}

/// The two longest of some times, in seconds.
#[derive(Debug, Default, Clone, Copy)]
struct TwoLongest {
    first: f64,
    second: f64,
}

impl TwoLongest {
    /// Adds a time.
    fn with(self, time: f64) -> Self {
        Self { first: self.first.max(time), second: self.second.max(self.first.min(time)) }
    }
}

impl QueueEstimator {
    /// Expected wait of a new request. `None` until there is a baseline.
    pub fn current_wait(&self, now: Duration) -> Option<ExpectedWait> {
        let now = now.as_secs_f64();
        if self.baseline.is_none() && self.progress.longest_unstreamed().is_none() {
            return None;
        }
        // While the server makes progress, the oldest request may soon have its turn, and a new one with it.
        let low = if self.progress.is_stuck(now) {
            let usual = |bytes, is_streamed: bool| {
                let expected = || Some(self.baseline.as_ref()?.expect(bytes, None));
                if is_streamed { expected() } else { self.progress.longest_unstreamed() }
            };
            self.open.longest_overdue(now, usual)
        } else {
            0.0
        };
        let Some(slots) = &self.fit.slots else {
            let seconds = self.wait_behind_head(now).unwrap_or(0.0).max(low);
            return Some(ExpectedWait { seconds, low, high: None });
        };
        let count = self.progress.slots_now(slots);
        let must_end = (self.open.holding().get(slots.span) + 1).saturating_sub(count) as f64;
        let releases = &self.progress.releases;
        let rate = releases.per_second().unwrap_or(1.0 / slots.holding_seconds) * count as f64;
        let rate = rate.max(1e-9);
        // A server that goes on after its client has left also serves these requests first. There is no output meanwhile.
        let is_overdue = self.oldest_needs().is_some_and(|(sent, needs)| now - sent > needs);
        let abandoned = if is_overdue { self.progress.abandoned as f64 } else { 0.0 };
        let since_output = if is_overdue { now - self.progress.head_at } else { 0.0 };
        let wait = (must_end / rate).max((must_end + abandoned) / rate - since_output);
        let wait = (wait - slots.path_seconds).max(0.0);
        // Two causes: the time between two releases varies, and the rate is a mean over a limited number of them.
        let variance = 1.0 / must_end.max(1.0) + 1.0 / releases.events().max(1.0);
        let spread = wait * NINE_IN_TEN * variance.sqrt();
        // The tokens of a step are not seen.
        let error = spread + slots.step_seconds.unwrap_or(0.0);
        Some(ExpectedWait {
            seconds: wait.max(low),
            low: (wait - error).max(low),
            high: Some((wait + error).max(low)),
        })
    }

    /// Counts the time up to this instant with the requests that were open until then.
    pub(super) fn advance_progress(&mut self, at: f64) {
        let slots = self.fit.slots.as_ref();
        let count = slots.map_or(0, |slots| self.progress.slots_now(slots));
        let has_queue = slots.is_some_and(|slots| *self.open.holding().get(slots.span) > count);
        let is_overdue = self.oldest_needs().is_some_and(|(sent, needs)| at - sent > needs);
        // An outage is no part of the usual rate.
        let until = self.progress.moved_at + 2.0 * self.progress.usual_gap();
        self.progress.releases.advance(at, until, has_queue, count as f64);
        self.progress.passed.advance(at, until, is_overdue, 1.0);
    }

    /// Records the rank of an output, if requests wait for slots.
    pub(super) fn note_in_service(&mut self, rank: RankAtOutput, at: f64) {
        if let Some(SlotModel { span: SlotSpan::Response, count, .. }) = self.fit.slots
            && self.open.holding().response > count
        {
            self.progress.on_in_service(rank.earlier.response + 1, count, at);
        }
    }

    /// Counts a release of a slot of this kind, unless the request still waited for one.
    pub(super) fn count_release(&mut self, span: SlotSpan, rank: RankAtOutput) {
        if let Some(slots) = &self.fit.slots
            && slots.span == span
            && *rank.earlier.get(span) < self.progress.slots_now(slots)
        {
            self.progress.releases.count(1.0);
        }
    }

    /// Longest usual time until the output of a request that does not wait, in seconds.
    fn needs(&self, bytes: u64, is_streamed: bool) -> Option<f64> {
        if !is_streamed {
            return self.progress.longest_unstreamed();
        }
        let baseline = self.baseline.as_ref()?;
        Some(baseline.expect(bytes, None) * baseline.band.exp())
    }

    /// When the oldest request without output was sent, and the time that it needs, in seconds.
    fn oldest_needs(&self) -> Option<(f64, f64)> {
        let (sent, bytes, is_streamed) = self.open.oldest_waiting()?;
        Some((sent, self.needs(bytes, is_streamed)?))
    }

    /// Wait until the server has passed the requests behind the newest one with output.
    fn wait_behind_head(&self, now: f64) -> Option<f64> {
        let Progress { passed, head, head_at, .. } = &self.progress;
        let rate = passed.per_second().filter(|_| passed.events() >= MIN_EVENTS)?;
        let (sent, needs) = self.oldest_needs()?;
        if now - sent <= needs {
            return None;
        }
        let behind = self.sent_count.saturating_sub(*head) as f64;
        Some((behind / rate - (now - head_at) - needs).max(0.0))
    }
}
