//! The calls of one trace, joined: a pipeline embeds, reranks and generates, and its user waits for all of it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Most traces that are known at a time.
const MOST: usize = 4096;
/// A trace is known for this long after its first request.
const AGE: Duration = Duration::from_secs(600);

/// When the first request of each trace arrived. At most 4096 traces are known, the latest, which takes at most
/// 640 KiB.
#[derive(Debug, Default)]
pub struct Traces {
    first: HashMap<u128, Duration>,
    /// In the order in which they came.
    order: VecDeque<u128>,
}

impl Traces {
    /// A request of this trace arrived. Gives the instant of the trace's first request, if that was another.
    pub fn record_request(&mut self, trace: u128, at: Duration) -> Option<Duration> {
        self.forget(at);
        let first = self.first.get(&trace).copied();
        if first.is_none() {
            self.first.insert(trace, at);
            self.order.push_back(trace);
        }
        first
    }

    /// Makes room for another, and forgets what is too old.
    fn forget(&mut self, now: Duration) {
        while let Some(oldest) = self.order.front() {
            let age = self.first.get(oldest).map(|first| now.saturating_sub(*first));
            if self.order.len() < MOST && age.is_some_and(|age| age <= AGE) {
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
    fn later_requests_are_told_when_the_first_came() {
        let mut traces = Traces::default();
        assert_eq!(traces.record_request(1, at(10)), None);
        assert_eq!(traces.record_request(2, at(20)), None, "another trace");
        assert_eq!(traces.record_request(1, at(30)), Some(at(10)));
        assert_eq!(traces.record_request(1, at(40)), Some(at(10)), "each later one");
        assert_eq!(traces.record_request(2, at(50)), Some(at(20)));
    }

    #[test]
    fn a_trace_is_forgotten_ten_minutes_after_it_began() {
        let mut traces = Traces::default();
        traces.record_request(1, at(0));
        assert_eq!(traces.record_request(1, AGE), Some(at(0)), "just in time");
        assert_eq!(traces.record_request(1, AGE + at(1)), None, "it begins anew");
        assert_eq!(traces.record_request(1, AGE + at(2)), Some(AGE + at(1)));
    }

    #[test]
    fn the_oldest_make_room() {
        let mut traces = Traces::default();
        for trace in 0..100_000_u128 {
            traces.record_request(trace, at(trace as u64 / 1000));
            assert!(traces.first.len() <= MOST);
            assert_eq!(traces.first.len(), traces.order.len());
        }
        let oldest = 100_000 - MOST as u128;
        assert_eq!(
            traces.record_request(oldest + 1, at(200)),
            Some(at((oldest as u64 + 1) / 1000))
        );
        assert_eq!(traces.record_request(oldest - 1, at(200)), None);
        // The map has a byte for each place, and leaves one of eight free.
        let places = traces.first.capacity() * 8 / 7;
        let map = places * (size_of::<(u128, Duration)>() + 1);
        assert!(map + traces.order.capacity() * size_of::<u128>() <= 640 << 10);
    }
}
