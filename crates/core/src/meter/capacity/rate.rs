//! Arrival rate over the recent past.

/// Youngest age of the average, in seconds: a single request does not make a rate.
const MIN_AGE: f64 = 30.0;

/// Exponentially weighted average of the arrivals per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalRate {
    /// Time constant, in seconds.
    window: f64,
    /// Instant of the first and of the last arrival, in seconds.
    span: Option<(f64, f64)>,
    /// Weighted number of arrivals per second, at the last arrival.
    sum: f64,
}

impl ArrivalRate {
    pub fn new(window: f64) -> Self {
        Self { window, span: None, sum: 0.0 }
    }

    /// Adds an arrival.
    pub fn arrive(&mut self, at: f64) {
        self.sum = self.sum_at(at) + 1.0 / self.window;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first, last.max(at)));
    }

    /// Arrivals per second. The time before the first arrival does not count.
    pub fn at(&self, now: f64) -> f64 {
        let Some((first, _)) = self.span else { return 0.0 };
        let age = (now - first).max(MIN_AGE);
        self.sum_at(now) / (1.0 - (-age / self.window).exp())
    }

    fn sum_at(&self, now: f64) -> f64 {
        let Some((_, last)) = self.span else { return 0.0 };
        self.sum * ((last - now).min(0.0) / self.window).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_right_from_the_start_and_falls_when_arrivals_stop() {
        let mut rate = ArrivalRate::new(60.0);
        assert_eq!(rate.at(5.0), 0.0);
        for i in 0..400 {
            rate.arrive(1000.0 + f64::from(i) * 0.5);
            if i > 80 {
                let now = rate.at(1000.0 + f64::from(i) * 0.5);
                assert!((now - 2.0).abs() < 0.06, "{now} after {i}");
            }
        }
        let later = rate.at(1200.0 + 60.0);
        assert!((later - 2.0 / std::f64::consts::E).abs() < 0.1, "{later}");
    }
}
