//! Requests that the server has not finished, in the order in which they were sent.

use super::request::{ArrivalPosition, PerSpan};
use std::collections::BTreeMap;

/// Open requests of one queue. The memory is proportional to their number: at most 150 bytes for each.
#[derive(Debug, Default)]
pub(super) struct OpenRequests {
    /// Requests without output, by the number of their position.
    waiting: BTreeMap<u64, WaitingRequests>,
    /// Number of requests with output, by the number of their position.
    responding: BTreeMap<u64, usize>,
    /// Number of requests that hold or wait for a slot.
    holding: PerSpan<usize>,
}

/// Requests without output that share one position.
#[derive(Debug)]
struct WaitingRequests {
    sent: f64,
    /// Size of the largest body.
    bytes: u64,
    is_streamed: bool,
    count: usize,
    /// Number of requests of this position that had output or ended.
    done: usize,
}

/// Rank of a request at its first output, or at its end if it had no output.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RankAtOutput {
    /// Number of requests with the same position that had output before.
    pub tied_before: usize,
    /// Number of earlier requests that still hold or wait for a slot.
    pub earlier: PerSpan<usize>,
}

impl OpenRequests {
    pub fn add(&mut self, position: &ArrivalPosition, bytes: u64, is_streamed: bool) {
        let sent = position.sent;
        let new = || WaitingRequests { sent, bytes, is_streamed, count: 0, done: 0 };
        let waiting = self.waiting.entry(position.number).or_insert_with(new);
        waiting.count += 1;
        waiting.bytes = waiting.bytes.max(bytes);
        waiting.is_streamed &= is_streamed;
        self.holding.prefill += 1;
        self.holding.response += 1;
    }

    /// Number of requests that hold or wait for a slot.
    pub fn holding(&self) -> PerSpan<usize> {
        self.holding
    }

    /// Records the first output of a request, and returns its rank.
    pub fn output(&mut self, number: u64) -> RankAtOutput {
        let rank = self.leave_waiting(number);
        *self.responding.entry(number).or_default() += 1;
        rank
    }

    /// Removes a request that had output.
    pub fn end_response(&mut self, number: u64) {
        if let Some(count) = self.responding.get_mut(&number) {
            *count -= 1;
            if *count == 0 {
                self.responding.remove(&number);
            }
            self.holding.response = self.holding.response.saturating_sub(1);
        }
    }

    /// Removes a request that ended without output, and returns its rank.
    pub fn end_waiting(&mut self, number: u64) -> RankAtOutput {
        let rank = self.leave_waiting(number);
        self.holding.response = self.holding.response.saturating_sub(1);
        rank
    }

    fn leave_waiting(&mut self, number: u64) -> RankAtOutput {
        self.holding.prefill = self.holding.prefill.saturating_sub(1);
        let mut tied_before = 0;
        if let Some(waiting) = self.waiting.get_mut(&number) {
            tied_before = waiting.done;
            waiting.done += 1;
            waiting.count -= 1;
            if waiting.count == 0 {
                self.waiting.remove(&number);
            }
        }
        let prefill: usize =
            self.waiting.range(..number).map(|(_, one)| one.count).take(MAX_RANK).sum();
        let responding: usize =
            self.responding.range(..=number).map(|(_, count)| *count).take(MAX_RANK).sum();
        RankAtOutput { tied_before, earlier: PerSpan { prefill, response: prefill + responding } }
    }

    /// When the oldest request without output was sent, the size of its body, and whether its response is streamed.
    pub fn oldest_waiting(&self) -> Option<(f64, u64, bool)> {
        self.waiting.values().next().map(|one| (one.sent, one.bytes, one.is_streamed))
    }

    /// The largest time that a request without output has spent above the time that it needs, in seconds. `needs` gets
    /// the size of the body and whether the response is streamed; `None` if the time is unknown.
    pub fn longest_overdue(&self, now: f64, needs: impl Fn(u64, bool) -> Option<f64>) -> f64 {
        let overdue =
            |one: &WaitingRequests| Some(now - one.sent - needs(one.bytes, one.is_streamed)?);
        self.waiting.values().filter_map(overdue).fold(0.0, f64::max)
    }
}

/// Number of earlier positions that are counted for a rank. A server with more requests in service has no queue that a
/// number of slots explains.
const MAX_RANK: usize = 1024;
