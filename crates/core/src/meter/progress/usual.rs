//! Usual values: the largest of the newest, and the one that most minutes do not exceed.

use std::time::Duration;

/// Part of the minutes whose largest value is usual. The largest of all is not: a server that hangs once in a while, or
/// soon after its start, keeps its limit.
const USUAL_PART: f64 = 0.95;
/// Number of minutes that are remembered.
const MINUTES: usize = 128;
const MINUTE: Duration = Duration::from_secs(60);

/// The newest values, in a ring.
#[derive(Debug)]
pub(super) struct RecentValues<T, const N: usize> {
    values: [T; N],
    count: usize,
}

impl<T: Copy + Default, const N: usize> Default for RecentValues<T, N> {
    fn default() -> Self {
        Self { values: [T::default(); N], count: 0 }
    }
}

impl<T: Copy + Ord, const N: usize> RecentValues<T, N> {
    pub fn push(&mut self, value: T) {
        if let Some(slot) = self.values.get_mut(self.count % N) {
            *slot = value;
            self.count += 1;
        }
    }

    /// Largest of the newest values. `None` if fewer than `least` are known.
    pub fn largest(&self, least: usize) -> Option<T> {
        let known = self.values.iter().take(self.count);
        known.copied().max().filter(|_| self.count >= least)
    }

    /// The value that this part of the values do not exceed, and at least one does. `None` if fewer than two are known.
    fn quantile(&self, part: f64) -> Option<T> {
        let mut values: Vec<_> = self.values.iter().take(self.count).copied().collect();
        values.sort_unstable();
        let within = (values.len() as f64 * part).ceil() as usize;
        let within = within.min(values.len().saturating_sub(1));
        values.get(within.checked_sub(1)?).copied()
    }
}

/// Largest value of each of the newest minutes that have one.
#[derive(Debug, Default)]
pub(super) struct MinuteMaxima<T: Copy + Default> {
    minutes: RecentValues<T, MINUTES>,
    /// Start of the current minute, and its largest value.
    began: Option<Duration>,
    largest: T,
    usual: T,
}

impl<T: Copy + Ord + Default> MinuteMaxima<T> {
    /// Adds a value that was measured at `now`.
    pub fn push(&mut self, now: Duration, value: T) {
        let began = *self.began.get_or_insert(now);
        if now.saturating_sub(began) >= MINUTE {
            self.minutes.push(std::mem::take(&mut self.largest));
            self.usual = self.minutes.quantile(USUAL_PART).unwrap_or_default();
            self.began = Some(now);
        }
        self.largest = self.largest.max(value);
    }

    /// The value that most minutes do not exceed.
    pub fn usual(&self) -> T {
        self.usual
    }

    /// Largest value of all minutes. `None` if fewer than `least` are known.
    pub fn largest(&self, least: usize) -> Option<T> {
        Some(self.minutes.largest(least)?.max(self.largest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_silence_is_that_of_most_minutes() {
        let (mut silences, second) = (MinuteMaxima::default(), Duration::from_secs);
        for minute in 0..200 {
            for at in 0..60 {
                let now = second(minute * 60 + at);
                // A hang each half hour is not usual.
                let is_hang = minute % 30 == 7 && at == 30;
                silences.push(now, if is_hang { second(90) } else { Duration::from_millis(300) });
            }
        }
        assert_eq!(silences.usual(), Duration::from_millis(300));
        // From now on each answer has a pause of 20 s: at first unusual, then usual.
        for minute in 200..214 {
            for at in [5, 30, 59] {
                silences.push(second(minute * 60 + at), second(20));
            }
        }
        assert_eq!(silences.usual(), second(20));
    }

    #[test]
    fn one_minute_is_not_usual() {
        let (mut silences, second) = (MinuteMaxima::default(), Duration::from_secs);
        let mut usual = |minute: u64, silence: u64| {
            silences.push(second(minute * 60), second(silence));
            silences.usual()
        };
        // The first prompts of a new server take long.
        assert_eq!(usual(0, 15), Duration::ZERO);
        assert_eq!(usual(1, 2), Duration::ZERO);
        assert_eq!(usual(2, 35), second(2), "a hang has not taught anything yet");
        assert_eq!(usual(3, 2), second(15));
        assert_eq!(usual(4, 35), second(15));
        assert_eq!(usual(5, 2), second(35), "two minutes with such a silence");
    }

    #[test]
    fn the_largest_recent_value_is_forgotten() {
        let mut times = RecentValues::<_, 4>::default();
        assert_eq!(times.largest(1), None);
        for ms in [9, 1, 2, 3] {
            times.push(Duration::from_millis(ms));
        }
        assert_eq!((times.largest(5), times.largest(4)), (None, Some(Duration::from_millis(9))));
        times.push(Duration::from_millis(4));
        assert_eq!(times.largest(4), Some(Duration::from_millis(4)));
    }
}
