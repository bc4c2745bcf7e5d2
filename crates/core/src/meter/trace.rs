//! First request of each trace, for the time to first token of a whole pipeline.
//!
//! A retrieval pipeline embeds, reranks and generates, and its user waits for all of it. The requests share the trace id
//! of the header `traceparent`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Most traces that are remembered at a time.
const MAX_TRACES: usize = 4096;
/// How long a trace is remembered after its first request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Arrival of the first request of each trace.
///
/// The latest 4096 traces are remembered, each for ten minutes, in at most 640 KiB.
#[derive(Debug, Default)]
pub struct Traces {
    first: HashMap<u128, Duration>,
    /// Trace ids in the order of their first requests.
    order: VecDeque<u128>,
}

impl Traces {
    /// Records a request at `at`. Returns the arrival of the first request of the trace, or `None` if this is the first.
    pub fn record_request(&mut self, trace: u128, at: Duration) -> Option<Duration> {
        self.remove_old(at);
        let first = self.first.get(&trace).copied();
        if first.is_none() {
            self.first.insert(trace, at);
            self.order.push_back(trace);
        }
        first
    }

    /// Removes traces that are too old, and the oldest one if there is no room for another.
    fn remove_old(&mut self, now: Duration) {
        while let Some(oldest) = self.order.front() {
            let age = self.first.get(oldest).map(|first| now.saturating_sub(*first));
            if self.order.len() < MAX_TRACES && age.is_some_and(|age| age <= MAX_AGE) {
                return;
            }
            self.first.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn later_requests_get_the_arrival_of_the_first() {
        let mut traces = Traces::default();
        assert_eq!(traces.record_request(1, at(10)), None);
        assert_eq!(traces.record_request(2, at(20)), None, "another trace");
        assert_eq!(traces.record_request(1, at(30)), Some(at(10)));
        assert_eq!(traces.record_request(1, at(40)), Some(at(10)), "every later request");
        assert_eq!(traces.record_request(2, at(50)), Some(at(20)));
    }

    #[test]
    fn a_trace_is_forgotten_ten_minutes_after_it_began() {
        let mut traces = Traces::default();
        traces.record_request(1, at(0));
        assert_eq!(traces.record_request(1, MAX_AGE), Some(at(0)), "at the limit");
        assert_eq!(traces.record_request(1, MAX_AGE + at(1)), None, "a new trace");
        assert_eq!(traces.record_request(1, MAX_AGE + at(2)), Some(MAX_AGE + at(1)));
    }

    #[test]
    fn the_oldest_trace_is_removed_when_the_table_is_full() {
        let mut traces = Traces::default();
        for trace in 0..100_000_u128 {
            traces.record_request(trace, at(trace as u64 / 1000));
            assert!(traces.first.len() <= MAX_TRACES);
            assert_eq!(traces.first.len(), traces.order.len());
        }
        let oldest = 100_000 - MAX_TRACES as u128;
        assert_eq!(
            traces.record_request(oldest + 1, at(200)),
            Some(at((oldest as u64 + 1) / 1000))
        );
        assert_eq!(traces.record_request(oldest - 1, at(200)), None);
        // A hash map keeps one byte of metadata for each entry, and one of eight entries free.
        let places = traces.first.capacity() * 8 / 7;
        let map = places * (size_of::<(u128, Duration)>() + 1);
        assert!(map + traces.order.capacity() * size_of::<u128>() <= 640 << 10);
    }
}
