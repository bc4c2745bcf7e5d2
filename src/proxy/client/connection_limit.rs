//! Limit on the number of client connections of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Maximum number of connections beyond the limit that get a response. Further ones are closed at once.
const MAX_REFUSED: usize = 32;

/// Limit on the number of client connections, shared by all listeners of the process.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: usize,
    open: AtomicUsize,
}

impl ConnectionLimit {
    /// Returns a limit of `max` connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, open: AtomicUsize::new(0) })
    }

    /// Counts a new connection. Returns `None` if there are so many that it must be closed at once.
    pub(super) fn admit(self: &Arc<Self>) -> Option<ConnectionSlot> {
        let before = self.open.fetch_add(1, Relaxed);
        // Dropped, and so no longer counted, if it is not returned.
        let slot = ConnectionSlot { limit: Arc::clone(self), is_refused: before >= self.max };
        (before < self.max + MAX_REFUSED).then_some(slot)
    }
}

/// Place of a connection. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    limit: Arc<ConnectionLimit>,
    /// The connection is beyond the limit, so each of its requests must be refused.
    pub is_refused: bool,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limit.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_makes_room() {
        let limit = ConnectionLimit::new(2);
        let slots: Vec<ConnectionSlot> =
            (0..2 + MAX_REFUSED).filter_map(|_| limit.admit()).collect();
        assert_eq!(slots.iter().filter(|slot| !slot.is_refused).count(), 2);
        assert_eq!(slots.len(), 2 + MAX_REFUSED);
        assert!(limit.admit().is_none());
        drop(slots);
        assert!(!limit.admit().unwrap().is_refused);
    }
}
