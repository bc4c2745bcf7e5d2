//! Instants at which requests released their slots.

use super::request::{ObservedRequest, SlotSpan};
use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

/// Number of releases that are remembered: those of the requests in the window, and of earlier ones that they waited for.
pub(super) const MAX_RELEASES: usize = 1024;

/// The newest releases, in the order of their instants.
#[derive(Debug, Default)]
pub(super) struct Releases {
    /// Instant in seconds, and number of the request.
    newest: VecDeque<(f64, u64)>,
    /// Number of older releases that are no longer remembered.
    forgotten: u64,
}

impl Releases {
    pub fn push(&mut self, number: u64, at: f64) {
        if self.newest.len() >= MAX_RELEASES {
            self.newest.pop_front();
            self.forgotten += 1;
        }
        // The end of a response is recorded some time after the arrival of its last bytes, but a client that disconnects
        // is recorded at once. So releases are recorded slightly out of order.
        match self.newest.iter().rev().take_while(|(other, _)| *other > at).count() {
            0 => self.newest.push_back((at, number)),
            later => self.newest.insert(self.newest.len() - later, (at, number)),
        }
    }

    /// Number of remembered releases from one instant to another.
    pub fn count_between(&self, from: f64, to: f64) -> usize {
        self.end_at(to).saturating_sub(self.newest.partition_point(|(at, _)| *at < from))
    }

    /// Number of releases so far.
    pub fn count(&self) -> u64 {
        self.forgotten + self.newest.len() as u64
    }

    /// Number of earlier requests that released their slots after this one was sent, up to `until`. `None` if some of
    /// these releases are no longer remembered.
    pub fn count_earlier(
        &self,
        request: &ObservedRequest,
        span: SlotSpan,
        until: f64,
    ) -> Option<usize> {
        let since = self.since_sent(request, span)?.take_while(|(at, _)| *at <= until);
        Some(since.filter(|release| is_earlier(release, request)).count())
    }

    /// Instants at which earlier requests released their slots, backwards from `until`, at least `request.sent`.
    ///
    /// Examines at most `max_lookback` releases.
    pub fn earlier_backwards(
        &self,
        until: f64,
        request: &ObservedRequest,
        max_lookback: usize,
    ) -> impl Iterator<Item = f64> {
        let back = self.newest.range(..self.end_at(until)).rev().take(max_lookback);
        let request = *request;
        back.filter(move |release| is_earlier(release, &request))
            .map(move |(at, _)| at.max(request.sent))
    }

    /// Releases since the sending of the request. `None` if some of them are no longer remembered.
    fn since_sent(
        &self,
        request: &ObservedRequest,
        span: SlotSpan,
    ) -> Option<Iter<'_, (f64, u64)>> {
        // A release before the sending that is recorded after it moves another release behind this index. The number of
        // releases stays right.
        let before = request.releases_before.get(span).checked_sub(self.forgotten)?;
        let start = usize::try_from(before).ok()?;
        Some(self.newest.range(start.min(self.newest.len())..))
    }

    /// Index behind the last release at or before `until`.
    fn end_at(&self, until: f64) -> usize {
        self.newest.partition_point(|(at, _)| *at <= until)
    }
}

/// Whether the request of this release comes before `request`: it was sent earlier, or at the same time with output
/// earlier.
fn is_earlier((at, other): &(f64, u64), request: &ObservedRequest) -> bool {
    *other < request.number || *other == request.number && *at < request.latest_turn()
}

#[cfg(test)]
mod tests {
    use super::super::QueueEstimator;
    use super::*;
    use std::time::Duration;

    #[test]
    fn releases_are_sorted_by_instant() {
        let at = Duration::from_millis;
        let mut estimator = QueueEstimator::default();
        let [a, b, c] = [0, 100, 200].map(|after| estimator.arrive(at(after), 1, true));
        // Recorded in another order than they happened.
        assert_eq!(estimator.finish(b, at(5000), None), None);
        assert_eq!(estimator.finish(a, at(4900), None), None);
        let releases = &estimator.releases.response;
        assert_eq!(releases.count_earlier(&c.ended(0.0), SlotSpan::Response, 4.95), Some(1));
        assert_eq!(releases.count_earlier(&c.ended(0.0), SlotSpan::Response, 5.0), Some(2));
        let back = |until, lookback| {
            releases.earlier_backwards(until, &c.ended(0.0), lookback).collect::<Vec<_>>()
        };
        assert_eq!(
            (back(4.95, 9), back(5.0, 9), back(5.0, 1)),
            (vec![4.9], vec![5.0, 4.9], vec![5.0])
        );
        let late = estimator.arrive(at(6000), 1, true);
        assert_eq!(estimator.finish(c, at(4950), None), None);
        let releases = &estimator.releases.response;
        assert_eq!(
            releases.count_earlier(&late.ended(0.0), SlotSpan::Response, 7.0),
            Some(1),
            "c was open when it was sent"
        );
        assert_eq!(
            releases.earlier_backwards(7.0, &late.ended(0.0), 9).next(),
            Some(6.0),
            "not before it was sent"
        );
    }

    #[test]
    fn releases_that_are_no_longer_remembered_give_no_count() {
        let mut estimator = QueueEstimator::default();
        let early = estimator.arrive(Duration::ZERO, 1, true);
        for i in 0..=MAX_RELEASES {
            let entry = estimator.arrive(Duration::ZERO, 1, true);
            estimator.finish(entry, Duration::from_secs(i as u64), None);
        }
        assert_eq!(estimator.releases.response.newest.len(), MAX_RELEASES);
        assert_eq!(
            estimator.releases.response.count_earlier(&early.ended(0.0), SlotSpan::Response, 1e9),
            None
        );
    }
}
