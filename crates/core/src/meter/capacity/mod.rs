//! Saturation and sustainable request rate of a server, from what a proxy observes.
//!
//! The sustainable rate of an SLO class is the largest rate of independent (Poisson) arrivals at which [`OBJECTIVE`] of the
//! requests would still meet the class, with the same mix of requests. Saturation is the arrival rate of the last minute,
//! divided by it.
//!
//! # Model
//!
//! The number of requests in flight, `n`, is the state of the server. It is a birth-death chain: an arrival adds one, an
//! end removes one. Everything that the chain needs is counted while requests pass:
//!
//! | quantity | observed as |
//! |---|---|
//! | completion rate in state `n` | requests that ended while `n` were in flight / time with `n` in flight |
//! | missed share in state `n` | requests that found `n` in flight and missed a target / such requests with a verdict |
//!
//! In the steady state, as many requests arrive in state `n - 1` as end in state `n`. So at the arrival rate `r`
//!
//! ```text
//! p(n) = p(n - 1) * r / completion_rate(n)      how often n requests are in flight
//! missed(r) = sum over n of p(n) * missed_share(n)
//! ```
//!
//! and the sustainable rate is the largest `r` with `missed(r) <= 1 - OBJECTIVE`. Example: a server ends 2 requests per
//! second whenever it is busy, and requests that find 5 or more in flight miss their target. Then
//! `missed(r) = (r / 2)^5`, and 1 % miss at 0.8 requests per second.
//!
//! No service times, slots or tokens are modelled. Batching, chunked prefill, caches and queue limits are all in the two
//! observed functions. The method is operational analysis (P. J. Denning and J. P. Buzen, The Operational Analysis of Queueing
//! Network Models, 1978) with a server whose rate depends on its load (K. M. Chandy, U. Herzog and L. Woo, Parametric
//! Analysis of Queueing Networks, 1975). It differs from these two:
//!
//! - The share of met requests for each window of time needs no model, but a day of traffic is never in a steady state: a
//!   queue left over from a burst makes later windows bad, whatever their own rate.
//! - Concurrency limits (TCP Vegas, Netflix's concurrency-limits) and the universal scalability law (N. J. Gunther, 1993)
//!   find the concurrency of the best throughput. They ignore the targets of a class.
//!
//! **Contexts.** The two functions depend somewhat on the arrival rate: at a higher rate, a request that finds `n` in
//! flight is followed by more. So observations are kept by arrival rate (average of five minutes, four contexts for each
//! doubling), and each rate is judged by those at similar rates. States that are rare there are completed by a few
//! observations at all rates.
//!
//! **Order.** More requests in flight do not end fewer requests per second, nor miss less often. Isotonic regression
//! imposes this, which removes noise.
//!
//! # When there is an estimate
//!
//! | observed | result |
//! |---|---|
//! | fewer than 1,000 requests with a verdict at any rate | nothing |
//! | the class is met at all rates | `low`: the highest rate that was observed |
//! | the class is missed at all rates | `high`: the lowest rate that was observed |
//! | 1,000 requests at rates within 19 % of the result, and a narrow interval | `low`, `rate`, `high` |
//!
//! The interval has three parts. The first is the spread between eight parts of the observations (jackknife). The second is
//! the difference between extreme assumptions about states that were never seen. The third is 10 % for what the model
//! neglects. `cargo bench -p streamgauge-core --bench capacity` compares estimates with the truth.
//!
//! # Bounds
//!
//! Observations lose weight with a time constant of one day. Memory is at most 200 KiB with one class and 450 KiB with
//! eight; usual traffic needs a quarter of it.

mod chain;
mod evidence;
mod isotonic;
mod rate;
mod states;
mod sustainable;
#[cfg(test)]
mod tests;

pub use evidence::CapacityEvidence;
pub use sustainable::SustainableRate;

use super::SloVerdict;
use evidence::{CellKey, GROUPS, nearest_context};
use rate::ArrivalRate;
use std::sync::Arc;
use std::time::Duration;

/// Share of the requests that should meet a class.
pub const OBJECTIVE: f64 = 0.99;
/// Time constant of the arrival rate that saturation is made from, in seconds.
const RECENT: f64 = 60.0;
/// Time constant of the arrival rate that selects the context, in seconds.
const CONTEXT: f64 = 300.0;
/// Groups take turns at this interval, in seconds. It is longer than the time for which observations depend on each other.
const SLICE: f64 = 300.0;
/// Time after which observations have 1/e of their weight, in seconds: peaks of the day before still count.
const MEMORY: f64 = 86_400.0;
/// Shortest time between two estimates, in seconds.
const REFIT_AFTER: f64 = 60.0;

/// Arrival of a request that is in flight.
#[derive(Debug)]
pub struct CapacityEntry {
    key: CellKey,
    group: usize,
}

/// Estimator for the capacity of one upstream and model.
#[derive(Debug)]
pub struct CapacityEstimator {
    in_flight: usize,
    /// Context of the arrival rate, as of the last arrival.
    context_now: i8,
    /// Instant up to which time is counted, in seconds. `None` before the first request.
    counted_to: Option<f64>,
    /// Number of the slice of time.
    slice: u64,
    recent: ArrivalRate,
    context: ArrivalRate,
    evidence: CapacityEvidence,
    /// Whether a verdict was counted since the last estimate.
    has_new_verdicts: bool,
    /// Instant of the last estimate, in seconds.
    estimated_at: Option<f64>,
    rates: Vec<(Arc<str>, SustainableRate)>,
}

impl Default for CapacityEstimator {
    fn default() -> Self {
        Self {
            in_flight: 0,
            context_now: nearest_context(0.0),
            counted_to: None,
            slice: 0,
            recent: ArrivalRate::new(RECENT),
            context: ArrivalRate::new(CONTEXT),
            evidence: CapacityEvidence::default(),
            has_new_verdicts: false,
            estimated_at: None,
            rates: Vec::new(),
        }
    }
}

impl CapacityEstimator {
    /// Records that a request was sent to the server.
    pub fn arrive(&mut self, at: Duration) -> CapacityEntry {
        let at = at.as_secs_f64();
        self.count_time(at, false);
        self.recent.arrive(at);
        if self.context.arrive(at) {
            self.context_now = nearest_context(self.context.at(at));
        }
        let entry = CapacityEntry { key: self.key(), group: self.group() };
        self.in_flight += 1;
        entry
    }

    /// Records that a request has ended, with its verdicts. Without verdicts, nothing is learned about the classes: a cold
    /// start, or a request without a response.
    pub fn finish(
        &mut self,
        entry: CapacityEntry,
        at: Duration,
        verdicts: &[(Arc<str>, SloVerdict)],
    ) {
        self.count_time(at.as_secs_f64(), true);
        self.in_flight = self.in_flight.saturating_sub(1);
        for (class, verdict) in verdicts {
            self.evidence.count_verdict(entry.key, entry.group, class, *verdict);
            self.has_new_verdicts = true;
        }
    }

    /// Copy of the observations if a new estimate is due. An estimate takes about a millisecond for each class, so the
    /// caller computes it without holding a lock, and hands it to [`set_rates`](Self::set_rates).
    pub fn evidence_if_due(&mut self, now: Duration) -> Option<CapacityEvidence> {
        let now = now.as_secs_f64();
        let is_due = self.estimated_at.is_none_or(|at| now - at >= REFIT_AFTER);
        if !is_due || !self.has_new_verdicts {
            return None;
        }
        self.has_new_verdicts = false;
        self.estimated_at = Some(now);
        Some(self.evidence.clone())
    }

    /// Stores the estimates of [`CapacityEvidence::sustainable_rates`].
    pub fn set_rates(&mut self, rates: Vec<(Arc<str>, SustainableRate)>) {
        self.rates = rates;
    }

    /// The last estimates, by class.
    pub fn rates(&self) -> &[(Arc<str>, SustainableRate)] {
        &self.rates
    }

    /// Arrivals of the last minute, divided by the sustainable rate of the class with the smallest. If a class is missed at
    /// all rates that were observed, its upper limit takes the place of the sustainable rate.
    pub fn saturation(&self, now: Duration) -> Option<f64> {
        let limit = |rate: &SustainableRate| {
            rate.rate.or(rate.high.filter(|_| rate.low.is_none())).filter(|limit| *limit > 0.0)
        };
        let limits = self.rates.iter().filter_map(|(_, rate)| limit(rate));
        let least = limits.min_by(f64::total_cmp)?;
        Some(self.recent.at(now.as_secs_f64()) / least)
    }

    /// Forgets all verdicts, because the classes have changed.
    pub fn forget_verdicts(&mut self) {
        self.evidence.forget_verdicts();
        for (_, rate) in &mut self.rates {
            *rate = SustainableRate::UNKNOWN;
        }
    }

    /// Whether nothing was observed and no request is in flight.
    pub fn is_unused(&self) -> bool {
        self.in_flight == 0 && self.evidence.classes().is_empty()
    }

    fn key(&self) -> CellKey {
        let bucket = u8::try_from(states::bucket(self.in_flight)).unwrap_or(u8::MAX);
        CellKey { context: self.context_now, bucket }
    }

    fn group(&self) -> usize {
        (self.slice % GROUPS as u64) as usize
    }

    /// Adds the time since the last event to the current state, and the end of a request if there was one. Events of
    /// different workers can be out of order by a little; time never goes back.
    fn count_time(&mut self, at: f64, is_end: bool) {
        let elapsed = (at - self.counted_to.unwrap_or(at)).max(0.0);
        self.counted_to = Some(self.counted_to.unwrap_or(at).max(at));
        self.evidence.add_time(self.key(), self.group(), elapsed, is_end);
        let slice = (at / SLICE) as u64;
        if slice > self.slice {
            let age = (slice - self.slice) as f64 * SLICE;
            self.slice = slice;
            self.evidence.fade((-age / MEMORY).exp());
        }
    }
}
