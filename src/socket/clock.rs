//! The one monotonic clock, and how the kernel's stamps are told on it.

use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a known difference between the wall's clock and ours is used before it is taken again.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// A stamp this much older than now may tell of a delay, or of a clock that was set: look at it.
const DOUBTFUL: Duration = Duration::from_millis(1);
/// What two looks at the same difference may differ by.
const PRECISION: Duration = Duration::from_micros(20);

/// Time since an instant shortly before the process first asked (`CLOCK_MONOTONIC`, clock_gettime(2)). Never 0, so
/// that 0 can mean "not yet" in an atomic.
pub fn now() -> Duration {
    /// A whole second, so that nothing is carried.
    static START: OnceLock<i64> = OnceLock::new();
    // It cannot fail: the clock is there.
    let now = ClockId::CLOCK_MONOTONIC.now().unwrap_or(TimeSpec::new(0, 0));
    let start = *START.get_or_init(|| now.tv_sec() - 1);
    let seconds = u64::try_from(now.tv_sec() - start).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec()).unwrap_or_default())
}

/// What the wall's clock shows when ours shows 0, as far as it was known at `taken`. It changes only
/// when the wall's clock is set: what adjusts its speed adjusts the monotonic clock alike.
#[derive(Debug, Clone, Copy)]
struct WallClockOffset {
    wall: Duration,
    taken: Duration,
    /// The wall's clock was set before this: stamps from then cannot be placed.
    trusted_from: Duration,
}

impl WallClockOffset {
    /// Reads both clocks; of three looks, the one with the least time between its readings.
    fn take() -> Self {
        let look = || {
            let before = now();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let taken = now();
            let between = taken.saturating_sub(before);
            (
                between,
                Self {
                    wall: wall.saturating_sub(before + between / 2),
                    taken,
                    trusted_from: Duration::ZERO,
                },
            )
        };
        let looks = [look(), look(), look()];
        let [first, ..] = looks;
        looks.into_iter().fold(first, |best, one| if one.0 < best.0 { one } else { best }).1
    }

    /// Whether the wall's clock shows what it should, one look at it tells, right after `now` was read.
    /// Where we are behind all stamps are old, and taking the epoch again for each costs nine readings.
    fn holds(&self, now: Duration) -> bool {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        wall.abs_diff(self.wall + now) <= PRECISION
    }
}

/// The instant on our clock of a stamp by the wall's clock, which is a time since 1970 not later than
/// `now`. `None` if the wall's clock was set since the stamp, so that nobody knows.
pub(super) fn instant_of(stamp: Duration, now: Duration) -> Option<Duration> {
    thread_local! {
        static EPOCH: Cell<Option<WallClockOffset>> = const { Cell::new(None) };
    }
    let before = EPOCH.get();
    if let Some(epoch) = before.filter(|epoch| now.saturating_sub(epoch.taken) < KNOWN_FOR) {
        let at = stamp.saturating_sub(epoch.wall);
        if at >= epoch.trusted_from && at <= now && (now - at < DOUBTFUL || epoch.holds(now)) {
            return Some(at);
        }
    }
    let mut epoch = WallClockOffset::take();
    if let Some(before) = before {
        let was_set = before.wall.abs_diff(epoch.wall) > PRECISION;
        epoch.trusted_from = if was_set { epoch.taken } else { before.trusted_from };
    }
    EPOCH.set(Some(epoch));
    let at = stamp.saturating_sub(epoch.wall);
    (at >= epoch.trusted_from && at <= now + PRECISION).then(|| at.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_until_the_clock_is_set() {
        // A look that is interrupted between its readings says no, which costs time and no truth.
        let looks = |off: Duration| {
            (0..20).any(|_| {
                let epoch = WallClockOffset::take();
                WallClockOffset { wall: epoch.wall + off, ..epoch }.holds(now())
            })
        };
        assert!(looks(Duration::ZERO));
        assert!(!looks(Duration::from_millis(1)), "it was set back");
    }

    #[test]
    fn a_stamp_of_the_wall_is_an_instant_of_ours() {
        for _ in 0..100 {
            let before = now();
            let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let after = now();
            let at = instant_of(stamp, after).unwrap();
            assert!(at + PRECISION >= before && at <= after, "{before:?} {at:?} {after:?}");
        }
        // A stamp from long ago is a delay, not a fault.
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let before = now();
        std::thread::sleep(Duration::from_millis(30));
        let at = instant_of(stamp, now()).unwrap();
        assert!(at.abs_diff(before) < Duration::from_millis(5), "{at:?} {before:?}");
    }
}
