//! Idle time of an upstream.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Inference requests in flight, and the end of the last one. Has no lock: it is updated twice per request.
#[derive(Debug)]
pub(crate) struct UpstreamActivity {
    in_flight: AtomicU64,
    /// In nanoseconds on the clock that all instants share.
    last_end: AtomicU64,
    /// Value of `last_end` before the first request.
    started: u64,
}

impl UpstreamActivity {
    /// An upstream that has been idle since `now`.
    pub fn new(now: Duration) -> Self {
        let started = nanos(now);
        Self { in_flight: AtomicU64::new(0), last_end: AtomicU64::new(started), started }
    }

    /// An inference request arrived.
    pub fn request_started(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// An inference request ended.
    pub fn request_ended(&self, now: Duration) {
        // Workers read the clock at slightly different times, so ends may be reported out of order.
        self.last_end.fetch_max(nanos(now), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Time since the last inference request ended; zero while one is in flight.
    pub fn idle_time(&self, now: Duration) -> Duration {
        if self.in_flight.load(Relaxed) > 0 {
            return Duration::ZERO;
        }
        now.saturating_sub(Duration::from_nanos(self.last_end.load(Relaxed)))
    }

    /// Time since an inference request was in flight. `None` if there was none.
    pub fn since_request(&self, now: Duration) -> Option<Duration> {
        let has_ended = self.last_end.load(Relaxed) > self.started;
        let had_one = has_ended || self.in_flight.load(Relaxed) > 0;
        had_one.then(|| self.idle_time(now))
    }
}

/// 64 bits hold five hundred years.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_counts_from_the_last_end() {
        let at = Duration::from_secs;
        let activity = UpstreamActivity::new(at(1));
        assert_eq!((activity.idle_time(at(5)), activity.since_request(at(5))), (at(4), None));
        activity.request_started();
        activity.request_started();
        assert_eq!(activity.idle_time(at(6)), Duration::ZERO);
        activity.request_ended(at(8));
        assert_eq!(activity.idle_time(at(9)), Duration::ZERO);
        activity.request_ended(at(7));
        assert_eq!(activity.idle_time(at(10)), at(2), "ends may be reported out of order");
    }
}
