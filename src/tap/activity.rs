//! How busy an upstream is with inference, and since when it is not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The inference requests in flight, and when the last one left. No lock: it is touched twice a request.
#[derive(Debug)]
pub(crate) struct UpstreamActivity {
    in_flight: AtomicU64,
    /// In nanoseconds of the clock that all instants share.
    left: AtomicU64,
}

impl UpstreamActivity {
    /// Idle since this instant: nothing was ever asked for.
    pub fn new(now: Duration) -> Self {
        Self { in_flight: AtomicU64::new(0), left: AtomicU64::new(nanos(now)) }
    }

    /// An inference request arrived.
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// It left.
    pub fn leave(&self, now: Duration) {
        self.left.fetch_max(nanos(now), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// For how long nothing has been in flight; zero while something is.
    pub fn idle(&self, now: Duration) -> Duration {
        if self.in_flight.load(Relaxed) > 0 {
            return Duration::ZERO;
        }
        now.saturating_sub(Duration::from_nanos(self.left.load(Relaxed)))
    }
}

/// Five hundred years fit.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_from_the_last_that_left() {
        let at = Duration::from_secs;
        let activity = UpstreamActivity::new(at(1));
        assert_eq!(activity.idle(at(5)), at(4));
        activity.enter();
        activity.enter();
        assert_eq!(activity.idle(at(6)), Duration::ZERO);
        activity.leave(at(8));
        assert_eq!(activity.idle(at(9)), Duration::ZERO);
        activity.leave(at(7));
        assert_eq!(
            activity.idle(at(10)),
            at(2),
            "the clocks of two workers may differ by a little"
        );
    }
}
