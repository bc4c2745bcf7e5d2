//! Order in which responses end that are not streamed.

/// Largest rank that is counted on its own.
const MAX_RANK: usize = 255;
/// Number of ends at which the weight of the older ones is halved.
const HALVED_AT: u32 = 2048;
/// Largest number of slots that ends show. With more, the newest request in service is too seldom the first to end.
const MAX_SLOTS: usize = 10;
/// Smallest number of ends that show something.
const MIN_ENDS: u32 = 4;
/// Ends show a limit if at most this part of those near it is beyond it. Without a limit, and with several queues, it is a
/// third or more in the evaluation.
const MAX_PART_BEYOND: f64 = 0.1;

/// Part of the ends that may contradict the number of slots: requests that the server took in another order.
const MAX_CONTRADICTED_PART: f64 = 0.001;

/// Number of ends, by the number of earlier requests that were still in flight. 1 KiB.
///
/// A server with `c` slots that takes requests in their order never has a response end with `c` or more earlier requests in
/// flight, and often one with a few less.
#[derive(Debug)]
pub(super) struct EndRanks {
    by_rank: Box<[u32; MAX_RANK + 1]>,
    total: u32,
}

impl Default for EndRanks {
    fn default() -> Self {
        Self { by_rank: Box::new([0; MAX_RANK + 1]), total: 0 }
    }
}

impl EndRanks {
    /// Counts the end of a response with this number of earlier requests in flight.
    pub fn push(&mut self, rank: usize) {
        if self.total >= HALVED_AT {
            self.by_rank.iter_mut().for_each(|count| *count /= 2);
            self.total = self.by_rank.iter().sum();
        }
        if let Some(count) = self.by_rank.get_mut(rank.min(MAX_RANK)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// Smallest number of slots that hardly any end contradicts.
    pub fn fewest_slots(&self) -> usize {
        let mut beyond = self.total;
        let contradicts_fewer = |count: &&u32| {
            beyond = beyond.saturating_sub(**count);
            f64::from(beyond) > MAX_CONTRADICTED_PART * f64::from(self.total)
        };
        self.by_rank.iter().take_while(contradicts_fewer).count() + 1
    }

    /// Whether there seem to be this many slots: responses end with one earlier request less in flight, and hardly any with
    /// more.
    pub fn show_limit(&self, slots: usize) -> bool {
        let from = |rank: usize| self.by_rank.iter().skip(rank).sum::<u32>();
        let (most, beyond) = (from(slots.saturating_sub(1)), from(slots));
        slots <= MAX_SLOTS
            && most >= MIN_ENDS
            && f64::from(beyond) <= MAX_PART_BEYOND * f64::from(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends with each of these numbers of earlier requests in flight.
    fn ends(ranks: impl IntoIterator<Item = (usize, usize)>) -> EndRanks {
        let mut ends = EndRanks::default();
        for (rank, count) in ranks {
            (0..count).for_each(|_| ends.push(rank));
        }
        ends
    }

    #[test]
    fn a_limit_is_where_ends_stop() {
        let limited = ends([(0, 40), (5, 20), (6, 12), (7, 8)]);
        assert_eq!(
            [7, 8, 9, 10].map(|slots| limited.show_limit(slots)),
            [false, true, false, false]
        );
        // Each further rank is half as frequent.
        let unlimited = ends((0..10).map(|rank| (rank, 512 >> rank)));
        assert!((1..=7).all(|slots| !unlimited.show_limit(slots)));
        // One of 1,023 ends contradicts nine slots.
        assert_eq!((limited.fewest_slots(), unlimited.fewest_slots()), (8, 9));
        assert!(!ends([(0, 3)]).show_limit(1), "too few");
    }

    #[test]
    fn old_ends_are_forgotten() {
        let mut ends = ends([(7, 100)]);
        (0..20 * HALVED_AT).for_each(|_| ends.push(3));
        assert!(ends.show_limit(4));
        assert!(ends.total <= HALVED_AT);
        ends.push(usize::MAX);
    }
}
