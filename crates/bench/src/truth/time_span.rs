//! Interval in which an instant or a duration lies.

use crate::clock;

/// An instant or a duration that lies in `low..=high`, in nanoseconds.
///
/// A writer knows only an instant before and one after the kernel took the bytes. If it loses the CPU in between, the
/// interval is wider, but not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpan {
    /// Lower bound.
    pub low: u64,
    /// Upper bound.
    pub high: u64,
}

impl TimeSpan {
    /// Runs `action`; returns its instant.
    pub fn around<T>(action: impl FnOnce() -> T) -> (T, Self) {
        let low = clock::now();
        let done = action();
        (done, Self { low, high: clock::now() })
    }

    /// Returns the time since an earlier instant.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            low: self.low.saturating_sub(earlier.high),
            high: self.high.saturating_sub(earlier.low),
        }
    }

    /// Returns the mean of `count` parts.
    pub fn divided(self, count: u64) -> Self {
        Self { low: self.low / count, high: self.high.div_ceil(count) }
    }

    /// Returns the longest time between two neighbours in `instants`; `None` for fewer than two.
    pub fn longest_gap(instants: &[Self]) -> Option<Self> {
        let gaps = instants.windows(2).map(|pair| pair[1].since(pair[0]));
        gaps.reduce(|one, other| Self {
            low: one.low.max(other.low),
            high: one.high.max(other.high),
        })
    }

    /// Returns the minimum error of `value`: 0 inside of the interval.
    pub fn distance(self, value: u64) -> u64 {
        self.low.saturating_sub(value) + value.saturating_sub(self.high)
    }

    /// Returns the width, by which an error can exceed [`distance`](Self::distance).
    pub fn width(self) -> u64 {
        self.high - self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(low: u64, high: u64) -> TimeSpan {
        TimeSpan { low, high }
    }

    #[test]
    fn duration_is_as_uncertain_as_both_ends() {
        let length = span(100, 104).since(span(10, 13));
        assert_eq!(length, span(87, 94));
        assert_eq!(length.width(), 7);
        assert_eq!(length.divided(10), span(8, 10));
        // The order is known, so no duration is negative.
        assert_eq!(span(10, 20).since(span(5, 15)), span(0, 15));
    }

    #[test]
    fn values_inside_have_no_error() {
        let known = span(10, 20);
        let distances = [8, 10, 15, 20, 23].map(|value| known.distance(value));
        assert_eq!(distances, [2, 0, 0, 0, 3]);
    }

    #[test]
    fn longest_gap_covers_all_candidates() {
        assert_eq!(TimeSpan::longest_gap(&[span(1, 2)]), None);
        // 8 to 10, then 4 to 12.
        let instants = [span(0, 1), span(9, 10), span(14, 21)];
        assert_eq!(TimeSpan::longest_gap(&instants), Some(span(8, 12)));
    }

    #[test]
    fn action_lies_between_its_timestamps() {
        let (at, span) = TimeSpan::around(clock::now);
        assert!(span.low <= at && at <= span.high);
    }
}
