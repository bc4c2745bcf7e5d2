//! What the windows of all decoders together may take.

use super::CodingError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Memory for windows, shared by the streams that need one.
#[derive(Debug)]
pub struct WindowBudget {
    used: AtomicUsize,
    limit: usize,
}

/// The process's budget.
pub static WINDOWS: WindowBudget = WindowBudget::new(64 * 1024 * 1024);

/// Bytes that the windows of all streams take now.
pub fn windows_in_use() -> usize {
    WINDOWS.used()
}

impl WindowBudget {
    /// A budget of so many bytes.
    pub const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Bytes of it that are in use.
    pub fn used(&self) -> usize {
        // The number guards no other memory, so no order is asked for, here and below.
        self.used.load(Ordering::Relaxed)
    }
}

/// What one decoder takes of a budget; given back when dropped.
#[derive(Debug)]
pub(in crate::wire) struct WindowReservation {
    budget: &'static WindowBudget,
    bytes: usize,
}

impl WindowReservation {
    /// None yet.
    pub(in crate::wire) fn new(budget: &'static WindowBudget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// The window has this size now. Some libraries tell it only once they have allocated it: until the
    /// decoder is dropped for the error, memory exceeds the budget by that one window.
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
    fn what_is_taken_comes_back() {
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
