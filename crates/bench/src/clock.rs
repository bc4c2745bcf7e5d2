//! The one clock of a measurement: `CLOCK_MONOTONIC`, which all processes of a machine share.

use std::time::Duration;

use nix::time::ClockId;

/// Nanoseconds on `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    // The clock cannot fail on Linux, and counts from boot.
    ClockId::CLOCK_MONOTONIC.now().map_or(0, |at| nanos(Duration::from(at)))
}

/// A length in nanoseconds.
pub fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of seconds in nanoseconds.
pub fn seconds(seconds: f64) -> u64 {
    nanos(Duration::from_secs_f64(seconds))
}

/// Waits until the clock shows `at`; up to a millisecond late, never early.
pub async fn sleep_until(at: u64) {
    loop {
        let left = at.saturating_sub(now());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_nanos(left)).await;
    }
}
