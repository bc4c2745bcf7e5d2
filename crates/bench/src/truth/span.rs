//! What is known of an instant or a length: between which two it lies.

use crate::clock;

/// An instant or a length that lies in `low..=high`, nanoseconds.
///
/// Whoever writes cannot tell the instant at which the kernel took the bytes, only one before and one after.
/// Who loses the processor in between knows less, and does not know anything wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// No earlier, or shorter.
    pub low: u64,
    /// No later, or longer.
    pub high: u64,
}

impl Span {
    /// Does `action`; the instant of it.
    pub fn of<T>(action: impl FnOnce() -> T) -> (T, Self) {
        let low = clock::now();
        let done = action();
        (done, Self { low, high: clock::now() })
    }

    /// The time since an instant that was earlier.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            low: self.low.saturating_sub(earlier.high),
            high: self.high.saturating_sub(earlier.low),
        }
    }

    /// The mean of `count` parts of it.
    pub fn divided(self, count: u64) -> Self {
        Self { low: self.low / count, high: self.high.div_ceil(count) }
    }

    /// The longest time between two neighbours in `instants`; `None` of fewer than two.
    pub fn longest_gap(instants: &[Self]) -> Option<Self> {
        let gaps = instants.windows(2).map(|pair| pair[1].since(pair[0]));
        gaps.reduce(|one, other| Self {
            low: one.low.max(other.low),
            high: one.high.max(other.high),
        })
    }

    /// By how much `value` is wrong at the least: 0 inside.
    pub fn distance(self, value: u64) -> u64 {
        self.low.saturating_sub(value) + value.saturating_sub(self.high)
    }

    /// By how much more than [`distance`](Self::distance) a value may be wrong.
    pub fn width(self) -> u64 {
        self.high - self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(low: u64, high: u64) -> Span {
        Span { low, high }
    }

    #[test]
    fn a_length_is_as_uncertain_as_both_of_its_ends() {
        let length = span(100, 104).since(span(10, 13));
        assert_eq!(length, span(87, 94));
        assert_eq!(length.width(), 7);
        assert_eq!(length.divided(10), span(8, 10));
        // Their order is known, so no length is below 0.
        assert_eq!(span(10, 20).since(span(5, 15)), span(0, 15));
    }

    #[test]
    fn only_what_lies_outside_is_wrong() {
        let known = span(10, 20);
        let distances = [8, 10, 15, 20, 23].map(|value| known.distance(value));
        assert_eq!(distances, [2, 0, 0, 0, 3]);
    }

    #[test]
    fn which_gap_is_the_longest_need_not_be_known() {
        assert_eq!(Span::longest_gap(&[span(1, 2)]), None);
        // 8 to 10, then 4 to 12.
        let instants = [span(0, 1), span(9, 10), span(14, 21)];
        assert_eq!(Span::longest_gap(&instants), Some(span(8, 12)));
    }

    #[test]
    fn an_action_lies_between_its_stamps() {
        let (at, span) = Span::of(clock::now);
        assert!(span.low <= at && at <= span.high);
    }
}
