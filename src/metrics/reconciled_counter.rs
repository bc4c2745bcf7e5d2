//! Counter of output tokens, which are estimated while a response streams and corrected at its end.

use super::sharded::ShardedCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter that accepts a lower final count without ever decreasing.
///
/// If a request counted more tokens live than it had, the excess is remembered as a debt, and later increments pay it
/// off first.
#[derive(Debug)]
pub(super) struct ReconciledCounter {
    counter: Arc<ShardedCounter>,
    debt: AtomicU64,
}

impl ReconciledCounter {
    pub fn new(counter: Arc<ShardedCounter>) -> Self {
        Self { counter, debt: AtomicU64::new(0) }
    }

    /// Value of the counter.
    pub fn get(&self) -> u64 {
        self.counter.get()
    }

    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        if self.debt.load(Relaxed) == 0 {
            self.counter.inc_by(count);
            return;
        }
        let pay = |debt: u64| Some(debt.saturating_sub(count));
        // The closure always returns a value, so this is never an error.
        let debt = self.debt.fetch_update(Relaxed, Relaxed, pay).unwrap_or(0);
        self.counter.inc_by(count.saturating_sub(debt));
    }

    /// Corrects the count of a request that added `live` while it streamed and had `total`.
    pub fn reconcile(&self, live: u64, total: u64) {
        match total.checked_sub(live) {
            Some(missing) => self.add(missing),
            None => {
                self.debt.fetch_add(live - total, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sharded::ShardedFamily;
    use super::*;

    #[test]
    fn later_increments_pay_off_what_was_counted_too_much() {
        let family = ShardedFamily::counters("tokens_total", "h", &[], 1).unwrap();
        let counter = family.with_label_values(&[]);
        let tokens = ReconciledCounter::new(Arc::clone(&counter));
        tokens.add(10);
        tokens.reconcile(10, 12);
        assert_eq!(counter.get(), 12);
        tokens.add(5);
        tokens.reconcile(5, 1);
        assert_eq!(counter.get(), 17, "a counter never decreases");
        tokens.add(1);
        assert_eq!(counter.get(), 17);
        tokens.add(9);
        assert_eq!(counter.get(), 12 + 1 + 10, "the debt is paid");
    }
}
