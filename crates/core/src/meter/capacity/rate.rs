//! Arrival rate over the recent past.

/// Youngest age of the average, in seconds: a single request does not make a rate.
const MIN_AGE: f64 = 30.0;
/// Arrivals within this time count as one instant, in seconds. It is much shorter than any time constant here, and many
/// arrivals then share one exponential.
const STEP: f64 = 0.1;

/// Exponentially weighted average of the arrivals per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalRate {
    /// Time constant, in seconds.
    window: f64,
    /// Instants of the first arrival, and of the last one that was at least a [`STEP`] after the one before, in seconds.
    span: Option<(f64, f64)>,
    /// Weighted number of arrivals per second, at the second of these instants.
    sum: f64,
}

impl ArrivalRate {
    pub fn new(window: f64) -> Self {
        Self { window, span: None, sum: 0.0 }
    }

    /// Adds an arrival. Returns whether it begins a new [`STEP`].
    pub fn arrive(&mut self, at: f64) -> bool {
        let is_new = self.span.is_none_or(|(_, last)| at - last >= STEP);
        if is_new {
            self.sum = self.sum_at(at);
            self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        }
        self.sum += 1.0 / self.window;
        is_new
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
        for (gap, tolerance) in [(0.5, 0.06), (0.001, 0.01)] {
            let mut rate = ArrivalRate::new(60.0);
            assert_eq!(rate.at(5.0), 0.0);
            let arrivals = (200.0 / gap) as u32;
            for i in 0..arrivals {
                let at = 1000.0 + f64::from(i) * gap;
                rate.arrive(at);
                if at > 1040.0 {
                    let now = rate.at(at) * gap;
                    assert!((now - 1.0).abs() < tolerance, "{now} at {at}, gap {gap}");
                }
            }
            let later = rate.at(1200.0 + 60.0) * gap;
            assert!((later - 1.0 / std::f64::consts::E).abs() < 0.05, "{later}, gap {gap}");
        }
    }
}
