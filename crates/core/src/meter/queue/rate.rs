//! Rate at which a server with a queue makes progress.

/// Number of events after which an old one has lost most of its weight.
const MEMORY: f64 = 256.0;

/// Rate of events during the time in which the server has a queue.
///
/// The mean over this time counts each event once, however long a request took. A mean over requests that have ended
/// would prefer the short ones while a queue builds up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BusyRate {
    /// Time with a queue, in seconds, of each slot. Old times and events lose weight with each new event.
    seconds: f64,
    events: f64,
    /// Instant up to which the time is counted.
    at: f64,
    /// Whether the server had a queue just before this instant.
    is_busy: bool,
}

impl BusyRate {
    /// Creates a rate from an earlier estimate, with the weight of this number of events.
    pub fn start(rate: f64, events: f64, at: f64) -> Self {
        Self { seconds: events / rate.max(1e-9), events, at, is_busy: false }
    }

    /// Counts the time up to this instant if the server had a queue until then, but none after `until`. `weight`: number of
    /// slots that were busy.
    pub fn advance(&mut self, at: f64, until: f64, is_busy: bool, weight: f64) {
        if is_busy {
            self.seconds += weight * (at.min(until) - self.at).max(0.0);
        }
        self.at = self.at.max(at);
        self.is_busy = is_busy;
    }

    /// Counts events of this instant, if the server had a queue just before.
    pub fn count(&mut self, events: f64) {
        if !self.is_busy {
            return;
        }
        let weight = (1.0 - 1.0 / MEMORY).powf(events);
        self.seconds *= weight;
        self.events = self.events * weight + events;
    }

    /// Events per second. `None` without any.
    pub fn per_second(&self) -> Option<f64> {
        (self.events > 0.0 && self.seconds > 0.0).then(|| self.events / self.seconds)
    }

    /// Number of events that the rate is derived from.
    pub fn events(&self) -> f64 {
        self.events
    }
}
