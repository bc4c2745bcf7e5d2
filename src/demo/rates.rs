//! The scrapes of the last seconds, and rates computed from them.

use super::scrape::{Labels, Scrape};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Period over which rates are computed.
pub(super) const LENGTH: Duration = Duration::from_secs(10);

/// The scrapes of the last [`LENGTH`], plus the one before them.
#[derive(Debug, Default)]
pub(super) struct ScrapeWindow(VecDeque<(Instant, Scrape)>);

impl ScrapeWindow {
    /// Adds the latest scrape and removes those that are too old.
    pub fn push(&mut self, at: Instant, scrape: Scrape) {
        self.0.push_back((at, scrape));
        // The oldest scrape stays while the window would be shorter than LENGTH without it.
        while self.0.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= LENGTH) {
            self.0.pop_front();
        }
    }

    /// The latest scrape.
    pub fn latest(&self) -> Option<&Scrape> {
        self.0.back().map(|(_, scrape)| scrape)
    }

    /// Increase per second of the counters with this name and these labels. A missing counter counts
    /// as 0, because every counter of this process starts at 0. `None` with fewer than two scrapes.
    pub fn rate(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let ((then, first), (now, last)) = (self.0.front()?, self.0.back()?);
        let seconds = now.duration_since(*then).as_secs_f64();
        (seconds > 0.0).then(|| (last.sum(name, labels) - first.sum(name, labels)) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(value: u32) -> Scrape {
        Scrape::parse(&format!("c{{m=\"a\"}} {value}\nc{{m=\"b\"}} 5\n"))
    }

    #[test]
    fn rates_cover_the_last_ten_seconds() {
        let start = Instant::now();
        let mut window = ScrapeWindow::default();
        assert_eq!(window.rate("c", &[]), None);
        window.push(start, Scrape::default());
        assert_eq!(window.rate("c", &[]), None);
        // The counter rises by 3 per second, and by 7 per second after the tenth second.
        let value = |second: u32| 3 * second + 4 * second.saturating_sub(10);
        for second in 1..=30 {
            window.push(start + Duration::from_secs(second.into()), scrape(value(second)));
            let since = second.saturating_sub(10);
            let expected = f64::from(value(second) - value(since)) / f64::from(second - since);
            assert_eq!(window.rate("c", &[("m", "a")]), Some(expected), "{second}");
            assert!(window.0.len() <= 11);
        }
        assert_eq!(window.rate("c", &[("m", "b")]), Some(0.0));
        assert_eq!(window.rate("absent", &[]), Some(0.0));
        assert_eq!(window.latest().map(|latest| latest.sum("c", &[("m", "b")])), Some(5.0));
    }
}
