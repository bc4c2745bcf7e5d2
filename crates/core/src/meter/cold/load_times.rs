//! Load times that responses report, or that are left of their wait after the prompt: which of them are loads.

use crate::meter::bounded::push_bounded;
use std::collections::VecDeque;

/// Number of load times of a loaded model that are remembered.
const MAX_LOADS: usize = 64;
/// Quantile of them that is the floor. Servers report a load time for every request (Ollama: 55 to 122 ms), which includes
/// the scheduler of a busy server.
const FLOOR_QUANTILE: f64 = 0.1;
/// A load time is a cold start if it exceeds the floor by this (seconds), and by this number of floors.
const MIN_ABOVE_FLOOR: f64 = 0.25;
const FLOORS_ABOVE: f64 = 3.0;
/// The same if there is no floor yet, in seconds.
const MIN_LOAD_WITHOUT_FLOOR: f64 = 0.5;

/// Load times of a loaded model, in seconds: servers report one for every request.
#[derive(Debug, Default)]
pub(super) struct WarmLoadTimes(VecDeque<f64>);

impl WarmLoadTimes {
    /// Adds the load time of a request to a loaded model.
    pub fn push(&mut self, seconds: f64) {
        push_bounded(&mut self.0, seconds, MAX_LOADS);
    }

    /// Whether the model was loaded in this time, rather than loaded before.
    pub fn is_load(&self, seconds: f64) -> bool {
        match self.floor() {
            Some(floor) => seconds > floor + MIN_ABOVE_FLOOR.max(FLOORS_ABOVE * floor),
            None => seconds > MIN_LOAD_WITHOUT_FLOOR,
        }
    }

    fn floor(&self) -> Option<f64> {
        let mut values: Vec<f64> = self.0.iter().copied().collect();
        let at = (values.len() as f64 * FLOOR_QUANTILE) as usize;
        let (_, floor, _) =
            (at < values.len()).then(|| values.select_nth_unstable_by(at, f64::total_cmp))?;
        Some(*floor)
    }
}
