//! Memory budget for the windows of all decoders.

use super::CodingError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory for windows, shared by all decoders.
#[derive(Debug)]
pub struct WindowBudget {
    used: AtomicUsize,
    limit: usize,
}

/// Budget of all responses of the process: 64 MiB.
pub static WINDOWS: WindowBudget = WindowBudget::new(64 * 1024 * 1024);
/// Budget of all request bodies of the process: 32 MiB.
pub static REQUEST_WINDOWS: WindowBudget = WindowBudget::new(32 * 1024 * 1024);

/// Returns the number of bytes that the windows of all streams and request bodies use now.
pub fn windows_in_use() -> usize {
    WINDOWS.used() + REQUEST_WINDOWS.used()
}

impl WindowBudget {
    /// Returns a budget of this many bytes.
    pub const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Returns the number of bytes in use.
    pub fn used(&self) -> usize {
        // The counter protects no other memory, so relaxed ordering is enough, here and below.
        self.used.load(Ordering::Relaxed)
    }
}

/// Share of the budget that one decoder holds. Returned when dropped.
#[derive(Debug)]
pub(in crate::wire) struct WindowReservation {
    budget: &'static WindowBudget,
    bytes: usize,
}

impl WindowReservation {
    /// Returns an empty share.
    pub(in crate::wire) fn new(budget: &'static WindowBudget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Sets the size of the window.
    ///
    /// Some libraries report a size only after they have allocated it. Until the decoder is dropped
    /// because of the error, memory then exceeds the budget by that one window.
    pub(in crate::wire) fn resize(&mut self, bytes: usize) -> Result<(), CodingError> {
        let WindowBudget { used, limit } = self.budget;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| sum <= limit)
            })
            .map_err(|_| CodingError::Budget)?;
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for WindowReservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_reservation_is_returned() {
        static BUDGET: WindowBudget = WindowBudget::new(100);
        let (mut one, mut two) = (WindowReservation::new(&BUDGET), WindowReservation::new(&BUDGET));
        assert_eq!(one.resize(60), Ok(()));
        assert_eq!(two.resize(41), Err(CodingError::Budget));
        assert_eq!(BUDGET.used(), 60);
        assert_eq!(two.resize(40), Ok(()));
        assert_eq!(one.resize(61), Err(CodingError::Budget));
        assert_eq!(one.resize(10), Ok(()));
        assert_eq!(BUDGET.used(), 50);
        assert_eq!(two.resize(usize::MAX), Err(CodingError::Budget));
        drop(one);
        assert_eq!(BUDGET.used(), 40);
        drop(two);
        assert_eq!(BUDGET.used(), 0);
    }
}
