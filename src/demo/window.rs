//! The scrapes of the last seconds, for rates.

use super::scrape::{Labels, Scrape};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How far back a rate looks.
pub(super) const LENGTH: Duration = Duration::from_secs(10);

/// The scrapes that lie within [`LENGTH`] of the latest, and the one before them.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(Instant, Scrape)>);

impl Window {
    /// Adds the latest scrape; what is too old leaves.
    pub fn push(&mut self, at: Instant, scrape: Scrape) {
        self.0.push_back((at, scrape));
        // The oldest is kept as long as the window would be too short without it.
        while self.0.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= LENGTH) {
            self.0.pop_front();
        }
    }

    /// The latest scrape.
    pub fn latest(&self) -> Option<&Scrape> {
        self.0.back().map(|(_, scrape)| scrape)
    }

    /// How fast the counters of this name and these labels rose, per second. A counter that was not
    /// there yet began at 0, since all of this process' do. `None` with fewer than two scrapes.
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
    fn rates_are_over_the_last_ten_seconds() {
        let start = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.rate("c", &[]), None);
        window.push(start, Scrape::default());
        assert_eq!(window.rate("c", &[]), None);
        // 3 a second, and from the tenth second on 7 a second.
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
