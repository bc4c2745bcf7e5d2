//! Chooses which of the requests that ended in the last second the live history reads in full.
//!
//! | requests | read |
//! |---|---|
//! | failed, cold, or measured in part | all |
//! | the longest, and the newest | all, for the lists of slow and new requests |
//! | others | at most [`MAX_COUNTED`], evenly taken. Each counts for several |

use super::slow::MAX_EXPLAINED;
use super::snapshot::MAX_NEWEST;
use std::sync::Arc;
use streamgauge_core::meter::{Outcome, RequestRecord};

/// Most successful warm requests of a second whose latencies are added to the history.
const MAX_COUNTED: usize = 100;

/// A request to read in full.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampledRecord<'a> {
    pub record: &'a Arc<RequestRecord>,
    /// Number of requests that it represents in counts. 0: others represent it.
    pub weight: f64,
}

/// Chooses among the records of a second, in the order of their ends. Each represents `weight` requests.
pub(super) fn sample<'a>(
    records: &[&'a Arc<RequestRecord>],
    weight: f64,
) -> Vec<SampledRecord<'a>> {
    let every = records.len().div_ceil(MAX_COUNTED).max(1);
    let (long, first_new) = (longest(records), records.len().saturating_sub(MAX_NEWEST));
    let mut usual = 0;
    let choose = |(at, record): (usize, &&'a Arc<RequestRecord>)| {
        let is_unusual = record.cold == Some(true)
            || record.degraded
            || Outcome::is_failure_label(record.outcome);
        let represents = if is_unusual {
            Representation::Itself
        } else {
            usual += 1;
            if usual % every == 1 % every { Representation::Usual } else { Representation::None }
        };
        let is_chosen =
            represents != Representation::None || at >= first_new || record.duration_s >= long;
        is_chosen.then_some((*record, represents))
    };
    let chosen: Vec<_> = records.iter().enumerate().filter_map(choose).collect();
    let usual_weight = weight * usual as f64 / usual.div_ceil(every).max(1) as f64;
    let weigh = |(record, represents)| {
        let weight = match represents {
            Representation::Itself => weight,
            Representation::Usual => usual_weight,
            Representation::None => 0.0,
        };
        SampledRecord { record, weight }
    };
    chosen.into_iter().map(weigh).collect()
}

/// The requests that a chosen one represents in counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Representation {
    Itself,
    /// Successful warm ones.
    Usual,
    /// It is only listed.
    None,
}

/// Least duration of the longest requests, in seconds.
fn longest(records: &[&Arc<RequestRecord>]) -> f64 {
    if records.len() <= MAX_EXPLAINED {
        return 0.0;
    }
    let mut durations: Vec<f64> = records.iter().map(|record| record.duration_s).collect();
    let shorter = durations.len() - MAX_EXPLAINED;
    *durations.select_nth_unstable_by(shorter, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(duration_s: f64, outcome: &'static str, cold: bool) -> Arc<RequestRecord> {
        Arc::new(RequestRecord {
            duration_s,
            outcome,
            cold: Some(cold),
            ..RequestRecord::default()
        })
    }

    fn chosen(records: &[Arc<RequestRecord>], weight: f64) -> Vec<SampledRecord<'_>> {
        sample(&records.iter().collect::<Vec<_>>(), weight)
    }

    #[test]
    fn few_requests_are_all_read() {
        let records: Vec<_> = (0..MAX_COUNTED).map(|_| record(1.0, "ok", false)).collect();
        let sampled = chosen(&records, 1.0);
        assert_eq!(sampled.len(), MAX_COUNTED);
        assert!(sampled.iter().all(|one| one.weight == 1.0));
        assert!(chosen(&[], 1.0).is_empty());
    }

    #[test]
    fn of_many_requests_all_failures_cold_and_long_ones_are_read() {
        let kind = |at: usize| match at {
            100..110 => record(1.0, "truncated", false),
            300..305 => record(1.0, "ok", true),
            500 => record(60.0, "ok", false),
            _ => record(1.0 + at as f64 / 1e6, "ok", false),
        };
        let records: Vec<_> = (0..900).map(kind).collect();
        let sampled = chosen(&records, 2.0);
        let weight = |is_in: fn(&RequestRecord) -> bool| -> f64 {
            sampled.iter().filter(|one| is_in(one.record)).map(|one| one.weight).sum()
        };
        assert_eq!(weight(|record| record.outcome == "truncated"), 20.0);
        assert_eq!(weight(|record| record.cold == Some(true)), 10.0);
        let all = weight(|_| true);
        assert!((all - 1800.0).abs() < 1e-6, "{all}");
        assert!(sampled.iter().any(|one| one.record.duration_s == 60.0));
        let newest = sampled.iter().rev().take(MAX_NEWEST).map(|one| Arc::as_ptr(one.record));
        assert!(newest.eq(records.iter().rev().take(MAX_NEWEST).map(Arc::as_ptr)), "without gaps");
        assert!(sampled.len() < MAX_COUNTED + 15 + MAX_EXPLAINED + MAX_NEWEST);
    }
}
