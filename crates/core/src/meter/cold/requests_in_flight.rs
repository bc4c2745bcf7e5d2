//! Requests in flight, and which of them had the server for themselves.

use std::collections::BTreeMap;
use std::time::Duration;

/// Slack for requests that are processed together: they may take this many times as long as one after the other.
const TOGETHER_SLACK: f64 = 1.5;

/// Inference requests in flight, by id, which is the order of arrival.
#[derive(Debug, Default)]
pub(super) struct RequestsInFlight {
    open: BTreeMap<u64, TrackedRequest>,
    /// Number of requests without output.
    waiting: usize,
    /// Since when the oldest request is the oldest one.
    oldest_since: Duration,
}

#[derive(Debug, Clone, Copy)]
struct TrackedRequest {
    /// `t_req`.
    arrived: Duration,
    has_output: bool,
}

impl RequestsInFlight {
    /// Adds a request that arrived at `at`.
    pub fn add(&mut self, id: u64, at: Duration) {
        if self.open.is_empty() {
            self.oldest_since = at;
        }
        self.open.insert(id, TrackedRequest { arrived: at, has_output: false });
        self.waiting += 1;
    }

    /// Records that a request has output.
    pub fn set_output(&mut self, id: u64) {
        if let Some(one) = self.open.get_mut(&id)
            && !std::mem::replace(&mut one.has_output, true)
        {
            self.waiting -= 1;
        }
    }

    /// Removes a request that ended at `at`.
    pub fn remove(&mut self, id: u64, at: Duration) {
        if self.is_oldest(id) {
            self.oldest_since = at;
        }
        if self.open.remove(&id).is_some_and(|one| !one.has_output) {
            self.waiting -= 1;
        }
    }

    fn is_oldest(&self, id: u64) -> bool {
        self.open.first_key_value().is_some_and(|(oldest, _)| *oldest == id)
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a request has no output yet.
    pub fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Arrivals of the requests without output, the oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Duration> {
        self.open.values().filter(|one| !one.has_output).map(|one| one.arrived)
    }

    /// Since when no earlier request has been in flight. `None` if one still is, so that the server may have been busy
    /// with it.
    pub fn alone_since(&self, id: u64) -> Option<Duration> {
        self.is_oldest(id).then_some(self.oldest_since)
    }

    /// Time that the other requests in flight can add to the wait of this one, which begins at `from` and takes `service`
    /// alone.
    ///
    /// Servers process prompts that arrive close together at once. A request that arrives before the earlier ones are
    /// through can take part, and each adds about as much as the first. This is the busy period of a queue: it ends at the
    /// first instant at which all that has arrived is done.
    pub fn added_by_others(&self, id: u64, from: Duration, service: Duration) -> Duration {
        let mut busy_until = from + service;
        for (_, one) in self.open.iter().filter(|(other, _)| **other != id) {
            if one.arrived > busy_until {
                break;
            }
            busy_until += service.mul_f64(TOGETHER_SLACK);
        }
        busy_until.saturating_sub(from + service)
    }
}

/// Signs of the server's state from the requests in flight, while it is away.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlightHints {
    /// Some arrived before the last failed probe and are still open, so they wait for the server.
    pub has_waiting: bool,
    /// Arrival of the first one after the last failed probe. It was not refused, so the server accepted connections by
    /// then.
    pub first_accepted: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_request_is_alone_when_all_earlier_ones_have_ended() {
        let mut requests = RequestsInFlight::default();
        (1..=3).for_each(|id| requests.add(id, at(id)));
        assert_eq!(requests.alone_since(1), Some(at(1)));
        assert_eq!(requests.alone_since(2), None);
        requests.remove(1, at(50));
        assert_eq!(requests.alone_since(2), Some(at(50)));
        requests.remove(3, at(60));
        assert_eq!(requests.alone_since(2), Some(at(50)), "later requests do not matter");
    }

    #[test]
    fn waiting_requests_are_counted_once() {
        let mut requests = RequestsInFlight::default();
        (1..=2).for_each(|id| requests.add(id, at(id)));
        requests.set_output(1);
        requests.set_output(1);
        assert_eq!(requests.waiting().collect::<Vec<_>>(), [at(2)]);
        requests.remove(1, at(9));
        assert!(requests.has_waiting());
        requests.remove(2, at(9));
        requests.remove(2, at(9));
        assert!(!requests.has_waiting() && requests.is_empty());
    }

    #[test]
    fn only_requests_of_the_same_busy_period_add_to_the_wait() {
        let mut requests = RequestsInFlight::default();
        for (id, arrived) in [(1, 0), (2, 10), (3, 20), (4, 5000)] {
            requests.add(id, at(arrived));
        }
        assert_eq!(requests.added_by_others(1, at(0), at(100)), at(300));
        assert_eq!(requests.added_by_others(1, at(0), at(5)), at(0));
    }
}
