//! Estimate of the queue wait in a server that does not report it, from what a proxy observes.
//!
//! # Model
//!
//! Requests of one upstream and model are numbered in the order in which they were sent. Request `j` was sent at `a_j`,
//! had its first output at `t_j`, and left the server at `f_j`. Inference servers admit requests first come, first
//! served, into a number of slots `c`. A request holds its slot until it leaves, or in some servers only until its first
//! output ([`SlotSpan`]).
//!
//! | question | answer | code |
//! |---|---|---|
//! | when was the turn of request `j`? | `s_j(c) = max(a_j, instant at which only c - 1 earlier requests are left)` | `SlotModel::turn` |
//! | how long did it wait? | `wait_j = s_j(c) - w - a_j` if it waited | [`QueueEstimator::finish`] |
//! | how many slots are there? | the `c` for which `t_j - s_j(c)` depends most closely on the prompt's size | `slots::select` |
//! | what if `c` is unknown? | `wait_j = (t_j - a_j) - g(size_j)`: compared with requests that did not wait | [`TtftBaseline`] |
//! | how long will a new request wait? | `(n - c + 1) * h / c - w`, with n requests in flight that hold a slot for h each | [`QueueEstimator::current_wait`] |
//!
//! `w` is the time on the way into and out of the server, which an idle server's requests need too.
//!
//! Example: with two slots, A and B are in service when C is sent at 1.0 s. A leaves at 4.0 s. The turn of C is at 4.0 s,
//! so C waited 3.0 s. This needs no model of service times.
//!
//! For `c = 1` the formula is Lindley's recursion (D. V. Lindley, The theory of queues with a single server, 1952). For
//! more slots it is the recursion of J. Kiefer and J. Wolfowitz (On the theory of queues with many servers, 1955), with
//! observed instants. `docs/queue-wait.md` has the method in full, with its accuracy and limits.
//!
//! # Files
//!
//! | file | content |
//! |---|---|
//! | `request` | requests and their positions in the queue |
//! | `releases` | instants at which requests released their slots |
//! | `slots` | finds the number of slots |
//! | `baseline` | time to first output of a request that does not wait |
//! | `robust_stats` | medians, quantiles, a resistant line, a rank correlation |
//!
//! All memory is bounded by constants, whatever the traffic.

mod baseline;
mod releases;
mod request;
mod robust_stats;
mod slots;
#[cfg(test)]
mod tests;

pub use baseline::{ExpectedTtft, SIZE_CLASSES, SizeClassStats, TtftBaseline};
pub use request::{QueueEntry, ServedRequest, SlotSpan};
pub(super) use robust_stats::ResistantLine;
pub use slots::SlotModel;

use baseline::REFIT_EVERY;
use releases::Releases;
use request::{ArrivalPosition, ObservedRequest, PerSpan};
use std::collections::VecDeque;
use std::time::Duration;

/// Number of requests that the fits use.
const WINDOW: usize = 256;
/// Number of lone requests (nothing else in flight) that are remembered in addition.
const MAX_LONE: usize = 64;
/// Shortest time between two fits, in seconds.
const REFIT_AFTER: f64 = 0.25;
/// The server may take requests that are sent within this time in another order. Seconds.
const TIE: f64 = 0.0005;
/// Number of waits that the live estimate without slots averages.
const RECENT: usize = 16;

/// Estimator for the queue of one upstream and model.
#[derive(Debug, Default)]
pub struct QueueEstimator {
    /// Number of requests so far.
    sent_count: u64,
    /// Position of the newest request.
    last: Option<ArrivalPosition>,
    /// Number of requests that hold or wait for a slot.
    open: PerSpan<usize>,
    releases: PerSpan<Releases>,
    /// Newest finished streams.
    window: VecDeque<ObservedRequest>,
    /// Newest finished streams that were sent with nothing else in flight.
    lone: VecDeque<ObservedRequest>,
    slots: Option<SlotModel>,
    baseline: Option<TtftBaseline>,
    recent_waits: VecDeque<f64>,
    /// Number of finished streams since the last fit.
    unfitted: usize,
    /// Instant of the last fit, in seconds.
    fitted_at: f64,
}

impl QueueEstimator {
    /// Records that a request with a body of this size is completely sent to the server.
    pub fn arrive(&mut self, at: Duration, bytes: u64) -> QueueEntry {
        let sent = at.as_secs_f64();
        let PerSpan { prefill, response } = &self.releases;
        let new = ArrivalPosition {
            sent,
            number: self.sent_count,
            earlier_when_sent: self.open,
            releases_before: PerSpan { prefill: prefill.count(), response: response.count() },
        };
        let position = self.last.filter(|last| (sent - last.sent).abs() <= TIE).unwrap_or(new);
        self.last = Some(position);
        self.sent_count += 1;
        self.open = PerSpan { prefill: self.open.prefill + 1, response: self.open.response + 1 };
        // Requests that share a position keep their own instants.
        QueueEntry { position: ArrivalPosition { sent, ..position }, bytes, first_output: None }
    }

    /// Records the first output of a stream. Only the first call counts.
    pub fn first_output(&mut self, entry: &mut QueueEntry, at: Duration) {
        let QueueEntry { position, first_output, .. } = entry;
        if first_output.is_none() {
            let at = at.as_secs_f64().max(position.sent);
            *first_output = Some(at);
            self.release(SlotSpan::Prefill, position.number, at);
        }
    }

    /// Records that a request has ended, however it ended.
    ///
    /// `served` is `None` if the server did not begin to respond: the request then only releases its slot. Returns the
    /// estimated wait in seconds; `None` if it is not certain that the turn of the request had come.
    pub fn finish(
        &mut self,
        entry: QueueEntry,
        at: Duration,
        served: Option<ServedRequest>,
    ) -> Option<f64> {
        let mut request = entry.ended(at.as_secs_f64());
        if request.first_output.is_none() {
            self.release(SlotSpan::Prefill, request.number, request.ended);
        }
        self.release(SlotSpan::Response, request.number, request.ended);
        let served = served.filter(|served| served.is_warm)?;
        if request.first_output.is_none() && self.slots.is_none() {
            // Without slots, the wait is derived from the first output.
            return None;
        }
        request.tokens = served.prompt_tokens;
        let earlier = self.releases.prefill.earlier_of_same_position(&request);
        request.earlier_when_sent.prefill += earlier;
        request.earlier_when_sent.response += earlier;
        request.earlier_at_output = self.earlier_at_output(&request);
        let wait = self.wait(&request);
        if let Some(wait) = wait {
            push_bounded(&mut self.recent_waits, wait, RECENT);
        }
        if request.first_output.is_some() {
            push_bounded(&mut self.window, request, WINDOW);
            if request.is_lone() {
                push_bounded(&mut self.lone, request, MAX_LONE);
            }
            self.unfitted += 1;
            self.fit(request.ended);
        }
        wait
    }

    /// Expected time to first output of a request with a body of this size that does not wait.
    pub fn expected_ttft(&self, bytes: u64) -> Option<ExpectedTtft> {
        self.baseline.as_ref()?.expected(bytes)
    }

    /// Expected wait of a new request, in seconds. `None` until there is a baseline.
    pub fn current_wait(&self) -> Option<f64> {
        self.baseline.as_ref()?;
        let Some(slots) = &self.slots else {
            // Without slots it is unknown how fast the queue moves. The mean of the recent waits is the best guess.
            let sum: f64 = self.recent_waits.iter().sum();
            let is_idle = self.open.response == 0;
            return Some(if is_idle { 0.0 } else { sum / self.recent_waits.len().max(1) as f64 });
        };
        let must_end = (self.open.get(slots.span) + 1).saturating_sub(slots.count);
        let wait = must_end as f64 * slots.holding_seconds / slots.count as f64;
        Some((wait - slots.path_seconds).max(0.0))
    }

    /// The slots of the server. `None` if no number of slots explains the observations.
    pub fn slot_model(&self) -> Option<&SlotModel> {
        self.slots.as_ref()
    }

    /// Time to first output of requests that do not wait. `None` until there are enough of them.
    pub fn baseline(&self) -> Option<&TtftBaseline> {
        self.baseline.as_ref()
    }

    /// Whether no request was observed and none is in flight.
    pub fn is_unused(&self) -> bool {
        self.window.is_empty() && self.open.response == 0
    }

    fn release(&mut self, span: SlotSpan, number: u64, at: f64) {
        let open = self.open.get_mut(span);
        *open = open.saturating_sub(1);
        self.releases.get_mut(span).push(number, at);
    }

    fn earlier_at_output(&self, request: &ObservedRequest) -> Option<PerSpan<usize>> {
        let earlier = |span| {
            let released =
                self.releases.get(span).count_earlier(request, span, request.latest_turn())?;
            Some(request.earlier_when_sent.get(span).saturating_sub(released))
        };
        Some(PerSpan {
            prefill: earlier(SlotSpan::Prefill)?,
            response: earlier(SlotSpan::Response)?,
        })
    }

    fn wait(&self, request: &ObservedRequest) -> Option<f64> {
        let wait = match &self.slots {
            Some(slots) => match slots.turn(request, &self.releases, usize::MAX) {
                Some(turn) => turn - request.sent,
                None => self.wait_above_baseline(request, 0.0)?,
            },
            None => self.wait_above_baseline(request, self.baseline.as_ref()?.band)?,
        };
        Some(wait.max(0.0))
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
        let noise = expected * (baseline.band.exp() - 1.0);
        let releases = self.releases.response.earlier_backwards(
            request.latest_turn(),
            request,
            slots::MAX_LOOKBACK,
        );
        let turns = releases.map(|at| at - request.sent).filter(|wait| distance(wait) <= noise);
        Some(turns.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(excess))
    }

    fn fit(&mut self, now: f64) {
        let is_first = self.baseline.is_none() && self.window.len() >= baseline::MIN_SAMPLES;
        let is_due = self.unfitted >= REFIT_EVERY && now - self.fitted_at >= REFIT_AFTER;
        if !is_first && !is_due {
            return;
        }
        (self.unfitted, self.fitted_at) = (0, now);
        self.slots = slots::select(self.slots.take(), &self.window, &self.releases);
        let baseline = match &self.slots {
            Some(slots) => baseline::without_slot_waits(slots, &self.window, &self.releases),
            None => baseline::from_least_loaded(&mut self.lone, &mut self.window),
        };
        self.baseline = baseline.or(self.baseline.take());
    }
}

/// Appends a value, and removes the oldest one if there would be more than `max`.
fn push_bounded<T>(values: &mut VecDeque<T>, value: T, max: usize) {
    if values.len() >= max {
        values.pop_front();
    }
    values.push_back(value);
}
