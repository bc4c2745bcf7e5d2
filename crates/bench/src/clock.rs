//! The clock of a measurement: `CLOCK_MONOTONIC`, which is the same for all processes.

use std::time::Duration;

use nix::time::ClockId;

/// Returns `CLOCK_MONOTONIC` in nanoseconds.
pub fn now() -> u64 {
    // The clock counts from boot and cannot fail on Linux.
    ClockId::CLOCK_MONOTONIC.now().map_or(0, |at| nanos(Duration::from(at)))
}

/// Converts a duration to nanoseconds.
pub fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// Converts seconds to nanoseconds.
pub fn seconds(seconds: f64) -> u64 {
    nanos(Duration::from_secs_f64(seconds))
}

/// Waits until `at`; up to a millisecond late, never early.
pub async fn sleep_until(at: u64) {
    loop {
        let left = at.saturating_sub(now());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_nanos(left)).await;
    }
}
