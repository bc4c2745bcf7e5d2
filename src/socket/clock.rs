//! The program's monotonic clock, and the conversion of kernel timestamps to it.

use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time for which a measured clock offset is used before it is measured again.
const OFFSET_VALID_FOR: Duration = Duration::from_secs(1);
/// Age of a kernel timestamp above which the offset is checked: either the program is behind, or the wall clock was set.
const SUSPICIOUS_AGE: Duration = Duration::from_millis(1);
/// Maximum difference between two measurements of the same offset.
const PRECISION: Duration = Duration::from_micros(20);

/// Returns the time on the program's clock (`CLOCK_MONOTONIC`, clock_gettime(2)). It starts 1 to 2 s before the first
/// call, so it is never 0, and 0 can represent "not yet" in an atomic.
pub fn now() -> Duration {
    /// A whole second, so that the subtraction needs no carry.
    static START: OnceLock<i64> = OnceLock::new();
    // The clock exists on every supported system.
    let now = ClockId::CLOCK_MONOTONIC.now().unwrap_or(TimeSpec::new(0, 0));
    let start = *START.get_or_init(|| now.tv_sec() - 1);
    let seconds = u64::try_from(now.tv_sec() - start).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec()).unwrap_or_default())
}

/// Measured offset between the wall clock and the program's clock.
///
/// It changes only when the wall clock is set. Adjustments of the wall clock's speed apply to the monotonic clock, too.
#[derive(Debug, Clone, Copy)]
struct WallClockOffset {
    /// Time on the wall clock, since 1970, when the program's clock is 0.
    wall: Duration,
    measured_at: Duration,
    /// The wall clock was set before this instant: earlier timestamps cannot be converted.
    valid_from: Duration,
}

impl WallClockOffset {
    /// Measures the offset three times, and returns the result with the least time between its readings.
    fn measure() -> Self {
        let measure_once = || {
            let before = now();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let measured_at = now();
            let between = measured_at.saturating_sub(before);
            (
                between,
                Self {
                    wall: wall.saturating_sub(before + between / 2),
                    measured_at,
                    valid_from: Duration::ZERO,
                },
            )
        };
        let results = [measure_once(), measure_once(), measure_once()];
        let [first, ..] = results;
        results.into_iter().fold(first, |best, one| if one.0 < best.0 { one } else { best }).1
    }

    /// Whether the wall clock still has this offset, by one reading right after `now`.
    ///
    /// When the program is behind, all timestamps are old. This check costs one reading, a new measurement nine.
    fn is_valid(&self, now: Duration) -> bool {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        wall.abs_diff(self.wall + now) <= PRECISION
    }
}

/// Converts a kernel timestamp (wall clock, since 1970, not later than `now`) to the program's clock. Returns `None` if
/// the wall clock was set after the timestamp.
pub(super) fn instant_of(stamp: Duration, now: Duration) -> Option<Duration> {
    thread_local! {
        static OFFSET: Cell<Option<WallClockOffset>> = const { Cell::new(None) };
    }
    let previous = OFFSET.get();
    let is_recent =
        |offset: &WallClockOffset| now.saturating_sub(offset.measured_at) < OFFSET_VALID_FOR;
    if let Some(offset) = previous.filter(is_recent) {
        let at = stamp.saturating_sub(offset.wall);
        if at >= offset.valid_from
            && at <= now
            && (now - at < SUSPICIOUS_AGE || offset.is_valid(now))
        {
            return Some(at);
        }
    }
    let mut offset = WallClockOffset::measure();
    if let Some(previous) = previous {
        let was_set = previous.wall.abs_diff(offset.wall) > PRECISION;
        offset.valid_from = if was_set { offset.measured_at } else { previous.valid_from };
    }
    OFFSET.set(Some(offset));
    let at = stamp.saturating_sub(offset.wall);
    (at >= offset.valid_from && at <= now + PRECISION).then(|| at.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_valid_until_the_clock_is_set() {
        // A check that is interrupted between its readings fails, which costs only time.
        let is_valid = |error: Duration| {
            (0..20).any(|_| {
                let offset = WallClockOffset::measure();
                WallClockOffset { wall: offset.wall + error, ..offset }.is_valid(now())
            })
        };
        assert!(is_valid(Duration::ZERO));
        assert!(!is_valid(Duration::from_millis(1)), "the clock was set back");
    }

    #[test]
    fn kernel_timestamps_convert_to_instants() {
        for _ in 0..100 {
            let before = now();
            let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let after = now();
            let at = instant_of(stamp, after).unwrap();
            assert!(at + PRECISION >= before && at <= after, "{before:?} {at:?} {after:?}");
        }
        // An old timestamp is a delay, not an error.
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let before = now();
        std::thread::sleep(Duration::from_millis(30));
        let at = instant_of(stamp, now()).unwrap();
        assert!(at.abs_diff(before) < Duration::from_millis(5), "{at:?} {before:?}");
    }
}
