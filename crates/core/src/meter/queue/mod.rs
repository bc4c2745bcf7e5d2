//! How long requests wait in a server that does not tell: an estimate from what a proxy sees.
//!
//! Pure: instants, sizes and counts in, waits out. The method, its formulas and its bounds are in
//! `docs/queue-wait.md`. In short:
//!
//! * **SlotModel.** Servers take requests in the order of their arrival into a number of slots. With `c` slots a
//!   request begins at the later of its arrival and the instant at which fewer than `c` earlier ones are left:
//!   that follows from arrivals and ends alone, whatever a prompt costs. [`slots`] finds the number, and whether
//!   there is one, by which beginnings explain best when the first output came.
//! * **TtftBaseline.** Until that is known: the time to the first output over that of a request which does not
//!   wait ([`baseline`]).
//!
//! All memory is bounded by the constants of this folder, whatever the traffic.

mod baseline;
mod line;
mod releases;
mod slots;
#[cfg(test)]
mod tests;

pub use baseline::{ExpectedTtft, SIZE_CLASSES, SizeClassStats, TtftBaseline};
pub use slots::{SlotModel, SlotSpan};

use releases::Releases;
use std::collections::VecDeque;
use std::time::Duration;

/// Requests that the fits look back on.
const WINDOW: usize = 256;
/// Requests with nothing else in flight that are remembered beyond that.
const ALONE: usize = 64;
/// New requests before the next fit.
const REFIT_EVERY: usize = 16;
/// Seconds before the next fit.
const REFIT_AFTER: f64 = 0.25;
/// Seconds within which the server may have taken requests in another order than they were sent in.
const TIE: f64 = 0.0005;
/// Waits that the live estimate without slots looks back on.
const RECENT: usize = 16;

/// The queue of one upstream and model, as seen from before it.
#[derive(Debug, Default)]
pub struct QueueEstimator {
    arrivals: u64,
    /// The newest request's.
    last: Option<QueuePosition>,
    /// Requests that have not yet given back what they hold, by [`SlotSpan`].
    open: PerSpan<usize>,
    releases: PerSpan<Releases>,
    window: VecDeque<ObservedRequest>,
    alone: VecDeque<ObservedRequest>,
    slots: Option<SlotModel>,
    baseline: Option<TtftBaseline>,
    recent: VecDeque<f64>,
    unfitted: usize,
    fitted: f64,
}

/// A request that was sent to the server and has not left yet.
#[derive(Debug, Clone)]
pub struct QueueEntry {
    place: QueuePosition,
    bytes: u64,
    /// When its first output came, once it has.
    first: Option<f64>,
}

/// What is known of a request that the server has served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedRequest {
    /// Tokens of its prompt that were not cached, as the server counted them.
    pub prompt_tokens: Option<u64>,
    /// The server was ready for it: what a cold one took says nothing of the next.
    pub is_warm: bool,
}

/// A place in the order of arrival. Requests that came at the same time have the same, that of the first.
#[derive(Debug, Clone, Copy)]
struct QueuePosition {
    arrived: f64,
    /// In the order of arrival.
    number: u64,
    /// Earlier requests that it found open, and releases before it, by [`SlotSpan`].
    ahead: PerSpan<usize>,
    after: PerSpan<u64>,
}

/// One request. Instants are seconds of the caller's clock.
#[derive(Debug, Clone, Copy)]
struct ObservedRequest {
    /// As in its [`QueuePosition`].
    number: u64,
    arrived: f64,
    /// Absent where the answer is not streamed.
    first: Option<f64>,
    left: f64,
    bytes: u64,
    tokens: Option<u64>,
    /// As in its place, but those of the same place that had output before it are earlier ones, too.
    ahead: PerSpan<usize>,
    after: PerSpan<u64>,
    /// Earlier requests that were still open at its first output, or when it left without one. Absent until
    /// then, and where too much has happened since it came.
    still: Option<PerSpan<usize>>,
}

impl QueueEstimator {
    /// A request of so many bytes is wholly sent to the server.
    pub fn arrive(&mut self, at: Duration, bytes: u64) -> QueueEntry {
        let arrived = at.as_secs_f64();
        let PerSpan { prefill, answer } = &self.releases;
        let new = QueuePosition {
            arrived,
            number: self.arrivals,
            ahead: self.open,
            after: PerSpan { prefill: prefill.count(), answer: answer.count() },
        };
        let place = self.last.filter(|last| (arrived - last.arrived).abs() <= TIE).unwrap_or(new);
        self.last = Some(place);
        self.arrivals += 1;
        self.open = PerSpan { prefill: self.open.prefill + 1, answer: self.open.answer + 1 };
        // It has come when it has, whoever came at the same time.
        QueueEntry { place: QueuePosition { arrived, ..place }, bytes, first: None }
    }

    /// The first output of a stream; only the first call counts.
    pub fn first_output(&mut self, ticket: &mut QueueEntry, at: Duration) {
        let QueueEntry { place, first, .. } = ticket;
        if first.is_none() {
            let at = at.as_secs_f64().max(place.arrived);
            *first = Some(at);
            self.release(SlotSpan::Prefill, place.number, at);
        }
    }

    /// A request is over, however it ended. `served` is what is known of it, absent if the server did not begin
    /// to answer it: then it only makes room. Gives its estimated wait in seconds, absent where it can't be known
    /// that its turn had come.
    pub fn finish(
        &mut self,
        ticket: QueueEntry,
        at: Duration,
        served: Option<ServedRequest>,
    ) -> Option<f64> {
        let mut request = ticket.left(at.as_secs_f64());
        if request.first.is_none() {
            self.release(SlotSpan::Prefill, request.number, request.left);
        }
        self.release(SlotSpan::Response, request.number, request.left);
        let served = served.filter(|served| served.is_warm)?;
        if request.first.is_none() && self.slots.is_none() {
            // Only a first output tells of a wait where no slots are known.
            return None;
        }
        request.tokens = served.prompt_tokens;
        let before = self.releases.prefill.before_of_its_place(&request);
        request.ahead.prefill += before;
        request.ahead.answer += before;
        request.still = self.still(&request);
        let wait = self.wait(&request);
        if let Some(wait) = wait {
            push(&mut self.recent, wait, RECENT);
        }
        if request.first.is_some() {
            push(&mut self.window, request, WINDOW);
            if request.is_alone() {
                push(&mut self.alone, request, ALONE);
            }
            self.unfitted += 1;
            self.fit(request.left);
        }
        wait
    }

    /// What a request of so many bytes takes to its first output if it does not wait.
    pub fn expected_ttft(&self, bytes: u64) -> Option<ExpectedTtft> {
        self.baseline.as_ref()?.expected(bytes)
    }

    /// Seconds that a request would wait which arrives now; absent until there is a baseline.
    pub fn current_wait(&self) -> Option<f64> {
        self.baseline.as_ref()?;
        let Some(slots) = &self.slots else {
            // Without slots nothing says how the queue moves: it is taken to be as it has been of late.
            let sum: f64 = self.recent.iter().sum();
            let is_idle = self.open.answer == 0;
            return Some(if is_idle { 0.0 } else { sum / self.recent.len().max(1) as f64 });
        };
        let must_leave = (self.open.of(slots.held) + 1).saturating_sub(slots.count);
        let wait = must_leave as f64 * slots.holding / slots.count as f64;
        Some((wait - slots.overlap).max(0.0))
    }

    /// The slots, if there is a number of them that explains what is seen.
    pub fn slot_model(&self) -> Option<&SlotModel> {
        self.slots.as_ref()
    }

    /// What requests take that do not wait, once there are enough of them.
    pub fn baseline(&self) -> Option<&TtftBaseline> {
        self.baseline.as_ref()
    }

    /// Nothing was learned and nothing is in flight.
    pub fn is_unused(&self) -> bool {
        self.window.is_empty() && self.open.answer == 0
    }

    fn release(&mut self, held: SlotSpan, number: u64, at: f64) {
        let open = self.open.of_mut(held);
        *open = open.saturating_sub(1);
        self.releases.of_mut(held).push(number, at);
    }

    fn still(&self, request: &ObservedRequest) -> Option<PerSpan<usize>> {
        let still = |held| {
            let gone = self.releases.of(held).gone(request, held, request.until())?;
            Some(request.ahead.of(held).saturating_sub(gone))
        };
        Some(PerSpan { prefill: still(SlotSpan::Prefill)?, answer: still(SlotSpan::Response)? })
    }

    fn wait(&self, request: &ObservedRequest) -> Option<f64> {
        let wait = match &self.slots {
            Some(slots) => match slots.begin(request, &self.releases, usize::MAX) {
                Some(begin) => begin - request.arrived,
                None => self.excess(request, 0.0)?,
            },
            None => self.excess(request, self.baseline.as_ref()?.band)?,
        };
        Some(wait.max(0.0))
    }

    /// The time to the first output over that of a request which does not wait; nothing where the two are
    /// within a factor of `e^band`. Where another request left at about that moment, its turn came then: what
    /// its prompt takes is known less well than when others left.
    fn excess(&self, request: &ObservedRequest, band: f64) -> Option<f64> {
        let taken = request.first? - request.arrived;
        let baseline = self.baseline.as_ref()?;
        let expected = baseline.expect(request.bytes, request.tokens);
        if taken <= expected * band.exp() {
            return Some(0.0);
        }
        let excess = taken - expected;
        let off = |wait: &f64| (wait - excess).abs();
        let noise = expected * (baseline.band.exp() - 1.0);
        let releases = self.releases.answer.back_from(request.until(), request, slots::REACH);
        let turns = releases.map(|at| at - request.arrived).filter(|wait| off(wait) <= noise);
        Some(turns.min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(excess))
    }

    fn fit(&mut self, now: f64) {
        let is_first = self.baseline.is_none() && self.window.len() >= baseline::FEWEST;
        let is_due = self.unfitted >= REFIT_EVERY && now - self.fitted >= REFIT_AFTER;
        if !is_first && !is_due {
            return;
        }
        (self.unfitted, self.fitted) = (0, now);
        self.slots = slots::select(self.slots.take(), &self.window, &self.releases);
        let baseline = match &self.slots {
            Some(slots) => baseline::beside(slots, &self.window, &self.releases),
            None => baseline::unladen(&mut self.alone, &mut self.window),
        };
        self.baseline = baseline.or(self.baseline.take());
    }
}

impl QueueEntry {
    /// Its request, which left at this moment.
    fn left(&self, at: f64) -> ObservedRequest {
        let Self { place: QueuePosition { arrived, number, ahead, after }, bytes, first } = *self;
        let left = at.max(arrived);
        let (tokens, still) = (None, None);
        ObservedRequest { number, arrived, first, left, bytes, tokens, ahead, after, still }
    }
}

impl ObservedRequest {
    fn is_alone(&self) -> bool {
        self.ahead.answer == 0
    }

    /// Its turn came before this.
    fn until(&self) -> f64 {
        self.first.unwrap_or(self.left)
    }

    /// Its prompt's size, in tokens or in bytes.
    fn size(&self, in_tokens: bool) -> Option<f64> {
        let size = if in_tokens { self.tokens } else { Some(self.bytes) };
        size.map(|size| size as f64)
    }
}

/// One of each [`SlotSpan`].
#[derive(Debug, Clone, Copy, Default)]
struct PerSpan<T> {
    prefill: T,
    answer: T,
}

impl<T> PerSpan<T> {
    fn of(&self, held: SlotSpan) -> &T {
        match held {
            SlotSpan::Prefill => &self.prefill,
            SlotSpan::Response => &self.answer,
        }
    }

    fn of_mut(&mut self, held: SlotSpan) -> &mut T {
        match held {
            SlotSpan::Prefill => &mut self.prefill,
            SlotSpan::Response => &mut self.answer,
        }
    }
}

/// The last value is the newest, and there are no more than this many.
fn push<T>(values: &mut VecDeque<T>, value: T, most: usize) {
    if values.len() >= most {
        values.pop_front();
    }
    values.push_back(value);
}
