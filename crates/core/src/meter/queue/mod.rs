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
//! | how long will a new request wait? | `(n - c + 1) / m - w`, with n requests in flight, and m releases per second of a full server | [`QueueEstimator::current_wait`] |
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
//! | `fit_data`, `fit_errors` | requests of a fit, and the errors of a number of slots over them |
//! | `end_ranks` | order in which responses end that are not streamed |
//! | `open` | requests that have not ended, and their ranks |
//! | `baseline` | time to first output of a request that does not wait |
//! | `wait` | wait of an ended request, with its interval |
//! | `signal`, `rate` | expected wait of a new request |
//! | `estimate` | types of the results |
//!
//! All memory is bounded by constants, whatever the traffic.

mod baseline;
mod end_ranks;
mod estimate;
mod fit_data;
mod fit_errors;
mod open;
mod rate;
mod releases;
mod request;
#[cfg(test)]
mod scenario_tests;
mod signal;
mod slots;
#[cfg(test)]
mod tests;
mod wait;

pub use baseline::{ExpectedTtft, SIZE_CLASSES, SizeClassStats, TtftBaseline};
pub use estimate::{EstimateSource, ExpectedWait, FitQuality, QueueModel, WaitEstimate};
pub use request::{QueueEntry, ServedRequest, SlotSpan};
pub use slots::SlotModel;

use super::bounded::push_bounded;
use baseline::REFIT_EVERY;
use end_ranks::EndRanks;
use open::{OpenRequests, RankAtOutput};
use releases::Releases;
use request::{ArrivalPosition, ObservedRequest, PerSpan, TurnSign};
use signal::Progress;
use slots::SlotFit;
use std::collections::VecDeque;
use std::time::Duration;

/// Number of requests that the fits use.
const WINDOW: usize = 256;
/// Number of requests that slots must have explained before it is taken for a change that they no longer do. Servers that
/// queue in another way seldom have slots for that long.
const STABLE: usize = 2 * WINDOW;
/// Number of the newest requests that are tried alone if slots no longer explain the window.
const NEWEST: usize = WINDOW / 4;
/// Number of lone requests (nothing else in flight) that are remembered in addition.
const MAX_LONE: usize = 64;
/// Number of responses of which the share of streams is known,
const STREAMED_MEMORY: f64 = 64.0;
/// and the smallest share with which fits use only streams.
const MIN_STREAMED: f64 = 0.125;
/// Shortest time between two fits, in seconds.
const REFIT_AFTER: f64 = 0.25;
/// As [`REFIT_AFTER`], if nothing is streamed: the end of a response comes later than its first output, and shows less.
const REFIT_ENDS_AFTER: f64 = 4.0;
/// The server may take requests that are sent within this time in another order. Seconds.
const TIE: f64 = 0.0005;

/// Share of streams among the newest responses.
#[derive(Debug)]
struct StreamedShare(f64);

impl Default for StreamedShare {
    fn default() -> Self {
        Self(1.0)
    }
}

impl StreamedShare {
    fn push(&mut self, is_streamed: bool) {
        self.0 += (f64::from(is_streamed) - self.0) / STREAMED_MEMORY;
    }

    /// The first outputs of streams show more than the ends of other responses, if there are enough streams.
    fn sign(&self) -> TurnSign {
        if self.0 >= MIN_STREAMED { TurnSign::FirstOutput } else { TurnSign::End }
    }
}

/// Number of requests that slots explained, and number of those since.
#[derive(Debug, Default)]
struct ExplainedRequests {
    explained: usize,
    since: usize,
}

impl ExplainedRequests {
    /// Adds the requests between two fits.
    fn push(&mut self, fit: &SlotFit) {
        if fit.slots.is_none() {
            self.since += REFIT_EVERY;
        } else if std::mem::take(&mut self.since) > 0 {
            self.explained = REFIT_EVERY;
        } else {
            self.explained = (self.explained + REFIT_EVERY).min(STABLE);
        }
    }

    /// Whether slots explained many requests until lately. The newest requests may then be from a changed server.
    fn may_have_changed(&self) -> bool {
        self.explained >= STABLE && (1..=WINDOW).contains(&self.since)
    }
}

/// Estimator for the queue of one upstream and model.
#[derive(Debug, Default)]
pub struct QueueEstimator {
    /// Number of requests so far.
    sent_count: u64,
    /// Position of the newest request.
    last: Option<ArrivalPosition>,
    /// Requests that hold or wait for a slot.
    open: OpenRequests,
    releases: PerSpan<Releases>,
    /// Newest finished streams, and other responses if there are hardly any streams.
    window: VecDeque<ObservedRequest>,
    /// Newest finished streams that were sent with nothing else in flight.
    lone: VecDeque<ObservedRequest>,
    fit: SlotFit,
    baseline: Option<TtftBaseline>,
    /// Times from the turn to the end of responses that are not streamed, if the fits use them.
    unstreamed: Option<TtftBaseline>,
    streamed: StreamedShare,
    explained: ExplainedRequests,
    end_ranks: EndRanks,
    /// Whether the requests show that nobody waits. While they are too few to show it, or show that some wait in a way that
    /// no slots explain, an estimate without slots is only a lower bound.
    nobody_waits: bool,
    progress: Progress,
    /// Number of requests that ended without a response.
    abandoned_count: u64,
    /// Number of finished streams since the last fit.
    unfitted: usize,
    /// Instant of the last fit, in seconds.
    fitted_at: f64,
}

impl QueueEstimator {
    /// Records that a request with a body of this size is completely sent to the server.
    pub fn arrive(&mut self, at: Duration, bytes: u64, is_streamed: bool) -> QueueEntry {
        let sent = at.as_secs_f64();
        self.advance_progress(sent);
        let PerSpan { prefill, response } = &self.releases;
        let new = ArrivalPosition {
            sent,
            number: self.sent_count,
            earlier_when_sent: self.open.holding(),
            releases_before: PerSpan { prefill: prefill.count(), response: response.count() },
            abandoned_before: self.abandoned_count,
        };
        let position = self.last.filter(|last| (sent - last.sent).abs() <= TIE).unwrap_or(new);
        self.last = Some(position);
        if self.open.holding().response == 0 {
            self.progress.on_begin(sent);
        }
        self.open.add(&position, bytes, is_streamed);
        let sequence = self.sent_count;
        self.sent_count += 1;
        // Requests that share a position keep their own instants.
        let position = ArrivalPosition { sent, ..position };
        let rank = RankAtOutput::default();
        QueueEntry {
            position,
            bytes,
            sequence,
            first_output: None,
            rank,
            sent_meanwhile: 0,
            abandoned: 0,
            turn: None,
        }
    }

    /// Records the first output of a stream. Only the first call counts.
    pub fn first_output(&mut self, entry: &mut QueueEntry, at: Duration) {
        if entry.first_output.is_some() {
            return;
        }
        let at = at.as_secs_f64().max(entry.position.sent);
        self.advance_progress(at);
        entry.first_output = Some(at);
        entry.rank = self.open.output(entry.position.number);
        entry.sent_meanwhile = self.sent_count.saturating_sub(entry.sequence + 1) as usize;
        entry.abandoned = self.abandoned_count - entry.position.abandoned_before;
        self.releases.prefill.push(entry.position.number, at);
        self.progress.on_output(entry.sequence, at);
        self.progress.on_moved(at);
        self.note_in_service(entry.rank, at);
        self.count_release(SlotSpan::Prefill, entry.rank);
        if let Some(slots) = &self.fit.slots {
            // The releases may be forgotten when the response ends.
            let mut request = entry.ended(at);
            self.add_rank(&mut request, entry.rank);
            entry.turn = slots.turn(&request, &self.releases, usize::MAX).ok();
        }
    }

    /// Records that a request has ended, however it ended.
    ///
    /// `served` is `None` if the server did not begin to respond: the request then only releases its slot. Returns the
    /// estimated wait; `None` if it is not certain that the turn of the request had come.
    pub fn finish(
        &mut self,
        entry: QueueEntry,
        at: Duration,
        served: Option<ServedRequest>,
    ) -> Option<WaitEstimate> {
        let mut request = entry.ended(at.as_secs_f64());
        let rank = self.release(&entry, request.ended, served.is_some());
        let served = served.filter(|served| served.is_warm)?;
        request.tokens = served.prompt_tokens;
        self.add_rank(&mut request, rank);
        let wait = self.estimate(&request, &entry);
        self.learn(request);
        wait
    }

    fn learn(&mut self, request: ObservedRequest) {
        let is_streamed = request.turn_sign() == TurnSign::FirstOutput;
        self.streamed.push(is_streamed);
        if !is_streamed {
            self.progress.on_unstreamed(request.ended - request.sent);
            self.end_ranks.push(request.earlier_at_output.response);
        } else if request.is_lone() {
            push_bounded(&mut self.lone, request, MAX_LONE);
        }
        if is_streamed || self.streamed.sign() == TurnSign::End {
            push_bounded(&mut self.window, request, WINDOW);
            self.unfitted += 1;
            self.refit(request.ended);
        }
    }

    /// Expected time to first output of a request with a body of this size that does not wait.
    pub fn expected_ttft(&self, bytes: u64) -> Option<ExpectedTtft> {
        self.baseline.as_ref()?.expected(bytes)
    }

    /// The slots of the server. `None` if no number of slots explains the observations.
    pub fn slot_model(&self) -> Option<&SlotModel> {
        self.fit.slots.as_ref()
    }

    /// Model of the server.
    pub fn model(&self) -> QueueModel {
        if self.fit.slots.is_some() { QueueModel::Slots } else { QueueModel::Unknown }
    }

    /// Quality of the slots that explain the requests best, also if it is too bad to use them. `None` if no slots explain
    /// them surely better than that nobody waits.
    pub fn fit_quality(&self) -> Option<&FitQuality> {
        self.fit.quality.as_ref()
    }

    /// Time to first output of requests that do not wait. `None` until there are enough of them.
    pub fn baseline(&self) -> Option<&TtftBaseline> {
        self.baseline.as_ref()
    }

    /// Whether no request was observed and none is in flight.
    pub fn is_unused(&self) -> bool {
        self.window.is_empty() && self.open.holding().response == 0
    }

    /// Removes a request from the open ones. Returns its rank.
    fn release(&mut self, entry: &QueueEntry, at: f64, is_served: bool) -> RankAtOutput {
        self.advance_progress(at);
        let number = entry.position.number;
        let rank = if entry.first_output.is_some() {
            self.count_release(SlotSpan::Response, RankAtOutput::default());
            self.progress.on_moved(at);
            self.open.end_response(number);
            entry.rank
        } else {
            let rank = self.open.end_waiting(number);
            self.releases.prefill.push(number, at);
            if is_served {
                self.progress.on_output(entry.sequence, at);
                self.progress.on_moved(at);
                self.count_release(SlotSpan::Response, rank);
            } else {
                self.abandoned_count += 1;
                self.progress.on_abandoned();
            }
            rank
        };
        self.releases.response.push(number, at);
        rank
    }

    /// Adds the requests that were in flight at the first output, and those that share the position and had output
    /// earlier.
    fn add_rank(&self, request: &mut ObservedRequest, rank: RankAtOutput) {
        request.earlier_when_sent.prefill += rank.tied_before;
        request.earlier_when_sent.response += rank.tied_before;
        let earlier = |span| {
            let releases = self.releases.get(span);
            let released = releases.count_earlier(request, span, request.latest_turn());
            // Releases are counted by their instants, which is exact, while they are remembered.
            released.map_or(*rank.earlier.get(span), |released| {
                request.earlier_when_sent.get(span).saturating_sub(released)
            })
        };
        request.earlier_at_output =
            PerSpan { prefill: earlier(SlotSpan::Prefill), response: earlier(SlotSpan::Response) };
    }

    fn refit(&mut self, now: f64) {
        let sign = self.streamed.sign();
        let is_first = self.baseline.is_none()
            && sign == TurnSign::FirstOutput
            && self.window.len() >= baseline::MIN_SAMPLES;
        let after = match sign {
            TurnSign::FirstOutput => REFIT_AFTER,
            TurnSign::End => REFIT_ENDS_AFTER,
        };
        let is_due = self.unfitted >= REFIT_EVERY && now - self.fitted_at >= after;
        if !is_first && !is_due {
            return;
        }
        (self.unfitted, self.fitted_at) = (0, now);
        let before = self.fit;
        if let Some((changed, slots)) = self.progress.changed().zip(self.fit.slots.as_mut()) {
            // Requests from before the change would hide the new number of slots.
            self.window.retain(|one| one.latest_turn() >= changed.at);
            (slots.count, slots.since) = (changed.count, changed.at);
        }
        let select = |before: &SlotFit, window: &VecDeque<ObservedRequest>| {
            slots::select(before, window, &self.releases, &self.end_ranks, sign)
        };
        self.fit = select(&self.fit, &self.window);
        if sign == TurnSign::FirstOutput {
            self.unstreamed = None;
        }
        self.explained.push(&self.fit);
        if self.explained.may_have_changed() && !self.fit.serves_abandoned {
            let newest: VecDeque<ObservedRequest> =
                self.window.iter().rev().take(NEWEST).rev().copied().collect();
            let fit = select(&SlotFit::default(), &newest);
            if fit.slots.is_some() {
                (self.fit, self.window) = (fit, newest);
            }
        }
        let baseline = match &self.fit.slots {
            Some(slots) => {
                self.nobody_waits = false;
                let times = baseline::without_slot_waits(slots, &self.window, &self.releases, sign);
                match sign {
                    TurnSign::FirstOutput => times,
                    TurnSign::End => {
                        self.unstreamed = times;
                        None
                    }
                }
            }
            None => {
                let least_loaded = baseline::from_least_loaded(&mut self.lone, &mut self.window);
                // Slots that explain much, but contradict too much, show that some requests wait.
                self.nobody_waits = self.fit.quality.is_none() && least_loaded.nobody_waits;
                least_loaded.baseline
            }
        };
        self.baseline = baseline.or(self.baseline.take());
        self.progress.on_fit(before.slots.as_ref(), self.fit.slots.as_ref(), now);
    }
}
