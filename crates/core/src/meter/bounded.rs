//! A queue that keeps the newest values.

use std::collections::VecDeque;

/// Appends a value. Removes and returns the oldest one if there would be more than `max`.
pub(super) fn push_bounded<T>(values: &mut VecDeque<T>, value: T, max: usize) -> Option<T> {
    let oldest = if values.len() < max { None } else { values.pop_front() };
    values.push_back(value);
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_values_are_kept() {
        let mut values = VecDeque::new();
        let removed: Vec<_> = (1..=4).map(|value| push_bounded(&mut values, value, 2)).collect();
        assert_eq!(removed, [None, None, Some(1), Some(2)]);
        assert_eq!(values, [3, 4]);
    }
}
