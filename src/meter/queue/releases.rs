//! When requests gave back what they held.

use super::{Held, Observation};
use std::collections::VecDeque;

/// Releases that are remembered: those of the requests looked back on, and of the ones before them that they
/// waited for.
pub(super) const REMEMBERED: usize = 1024;

/// The newest releases, in order.
#[derive(Debug, Default)]
pub(super) struct Releases {
    /// The instant, and the number of the request.
    newest: VecDeque<(f64, u64)>,
    forgotten: u64,
}

impl Releases {
    pub fn push(&mut self, number: u64, at: f64) {
        if self.newest.len() >= REMEMBERED {
            self.newest.pop_front();
            self.forgotten += 1;
        }
        self.newest.push_back((at, number));
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.forgotten + self.newest.len() as u64
    }

    /// The instants at which requests that arrived before this one let go, from its arrival to `until`. `None`
    /// if they are forgotten.
    pub fn before(
        &self,
        request: &Observation,
        held: Held,
        until: f64,
    ) -> Option<impl Iterator<Item = f64>> {
        let after = request.after.of(held);
        let skipped = usize::try_from(after.checked_sub(self.forgotten)?).ok()?;
        let number = request.number;
        let since = self.newest.range(skipped.min(self.newest.len())..);
        let until = since.take_while(move |(at, _)| *at <= until);
        Some(until.filter(move |(_, other)| *other < number).map(|(at, _)| *at))
    }
}
