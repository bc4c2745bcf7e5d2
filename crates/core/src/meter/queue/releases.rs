//! When requests gave back what they held.

use super::{ObservedRequest, SlotSpan};
use std::collections::VecDeque;
use std::collections::vec_deque::Iter;

/// Releases that are remembered: those of the requests looked back on, and of the ones before them that they
/// waited for.
pub(super) const REMEMBERED: usize = 1024;

/// The newest releases, in the order of their instants.
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
        // An end that was read from a socket is noted a little after its instant, one that is ours at once.
        let later = self.newest.iter().rev().take_while(|(other, _)| *other > at).count();
        self.newest.insert(self.newest.len() - later, (at, number));
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.forgotten + self.newest.len() as u64
    }

    /// How many requests of the same place in the order of arrival had output before this one.
    pub fn before_of_its_place(&self, request: &ObservedRequest) -> usize {
        let before = self.newest.partition_point(|(at, _)| *at < request.until());
        let since = self.since(request, SlotSpan::Prefill, before);
        since.map_or(0, |since| since.filter(|(_, other)| *other == request.number).count())
    }

    /// How many requests that arrived before this one let go between its arrival and `until`. `None` if some of
    /// them are forgotten.
    pub fn gone(&self, request: &ObservedRequest, held: SlotSpan, until: f64) -> Option<usize> {
        let since = self.since(request, held, self.to(until))?;
        Some(since.filter(|release| is_earlier(release, request)).count())
    }

    /// The instants at which requests that arrived before this one let go, the last before `until` first.
    /// It looks through no more than `reach` releases.
    pub fn back_from(
        &self,
        until: f64,
        request: &ObservedRequest,
        reach: usize,
    ) -> impl Iterator<Item = f64> {
        let back = self.newest.range(..self.to(until)).rev().take(reach);
        let request = *request;
        back.filter(move |release| is_earlier(release, &request))
            .map(move |(at, _)| at.max(request.arrived))
    }

    /// The releases from its arrival up to this place among all. `None` if some of them are forgotten.
    fn since(
        &self,
        request: &ObservedRequest,
        held: SlotSpan,
        to: usize,
    ) -> Option<Iter<'_, (f64, u64)>> {
        // A release that was noted after the arrival, for an instant before it, moves another over this place:
        // the number stays right.
        let from = usize::try_from(request.after.of(held).checked_sub(self.forgotten)?).ok()?;
        Some(self.newest.range(from.min(to)..to))
    }

    fn to(&self, until: f64) -> usize {
        self.newest.partition_point(|(at, _)| *at <= until)
    }
}

/// Whether a request comes before this one that let go then: the server's order is that of the arrivals, and where
/// these are at the same time that of the first outputs.
fn is_earlier((at, other): &(f64, u64), request: &ObservedRequest) -> bool {
    *other < request.number || *other == request.number && *at < request.until()
}

#[cfg(test)]
mod tests {
    use super::super::QueueEstimator;
    use super::*;
    use std::time::Duration;

    #[test]
    fn releases_are_in_the_order_of_their_instants() {
        let at = Duration::from_millis;
        let mut estimator = QueueEstimator::default();
        let [a, b, c] = [0, 100, 200].map(|after| estimator.arrive(at(after), 1));
        // Noted in another order than they were.
        assert_eq!(estimator.finish(b, at(5000), None), None);
        assert_eq!(estimator.finish(a, at(4900), None), None);
        let releases = &estimator.releases.answer;
        assert_eq!(releases.gone(&c.left(0.0), SlotSpan::Response, 4.95), Some(1));
        assert_eq!(releases.gone(&c.left(0.0), SlotSpan::Response, 5.0), Some(2));
        let back =
            |until, reach| releases.back_from(until, &c.left(0.0), reach).collect::<Vec<_>>();
        assert_eq!(
            (back(4.95, 9), back(5.0, 9), back(5.0, 1)),
            (vec![4.9], vec![5.0, 4.9], vec![5.0])
        );
        let late = estimator.arrive(at(6000), 1);
        assert_eq!(estimator.finish(c, at(4950), None), None);
        let releases = &estimator.releases.answer;
        assert_eq!(
            releases.gone(&late.left(0.0), SlotSpan::Response, 7.0),
            Some(1),
            "c, which it found open"
        );
        assert_eq!(
            releases.back_from(7.0, &late.left(0.0), 9).next(),
            Some(6.0),
            "not before it came"
        );
    }

    #[test]
    fn what_is_forgotten_is_not_counted() {
        let mut estimator = QueueEstimator::default();
        let early = estimator.arrive(Duration::ZERO, 1);
        for i in 0..=REMEMBERED {
            let one = estimator.arrive(Duration::ZERO, 1);
            estimator.finish(one, Duration::from_secs(i as u64), None);
        }
        assert_eq!(estimator.releases.answer.newest.len(), REMEMBERED);
        assert_eq!(estimator.releases.answer.gone(&early.left(0.0), SlotSpan::Response, 1e9), None);
    }
}
