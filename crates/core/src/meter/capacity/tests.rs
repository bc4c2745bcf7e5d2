//! The estimates on a simulated server, and special cases of the estimator.

#[path = "../../../benches/capacity/scenario.rs"]
#[allow(dead_code, reason = "the evaluation uses all of it")]
mod scenario;

use super::*;
use scenario::{EvalServer, LoadShape, servers};

/// The server with four slots.
fn four_slots() -> EvalServer {
    servers().swap_remove(1)
}

/// Its sustainable rates, as `cargo bench --bench capacity` finds them with open-loop load.
const TRUTH: [f64; 3] = [2.06, 2.82, 3.66];

fn seconds(at: f64) -> Duration {
    Duration::from_secs_f64(at)
}

fn rates(estimator: &CapacityEstimator) -> Vec<SustainableRate> {
    estimator.rates().iter().map(|(_, rate)| *rate).collect()
}

#[test]
fn a_day_up_to_saturation_shows_the_rates_of_three_classes() {
    let server = four_slots();
    let (estimator, _) = server.observe(LoadShape::DayAtSaturation, 1);
    let found = rates(&estimator);
    assert_eq!(found.len(), 3);
    for (found, truth) in found.into_iter().zip(TRUTH) {
        let SustainableRate { low: Some(low), rate: Some(rate), high: Some(high) } = found else {
            panic!("not known: {found:?}, in truth {truth}");
        };
        assert!((rate / truth - 1.0).abs() <= 0.15, "{rate}, in truth {truth}");
        assert!(low <= truth && truth <= high, "{low} to {high}, in truth {truth}");
    }
}

#[test]
fn traffic_far_below_saturation_shows_a_lower_limit_only() {
    let server = four_slots();
    let (estimator, last) = server.observe(LoadShape::DayFarBelow, 1);
    for (found, truth) in rates(&estimator).into_iter().zip(TRUTH) {
        let low = found.low.expect("the class was met");
        assert!((0.2 * truth..truth).contains(&low), "{low}, in truth {truth}");
        assert_eq!((found.rate, found.high), (None, None));
    }
    assert_eq!(estimator.saturation(last), None);
}

#[test]
fn constant_overload_shows_an_upper_limit_and_saturation() {
    let server = four_slots();
    let (estimator, last) = server.observe(LoadShape::SteadyAbove, 1);
    for (found, truth) in rates(&estimator).into_iter().zip(TRUTH) {
        assert_eq!((found.low, found.rate), (None, None));
        assert!(found.high.expect("the class was missed") >= truth);
    }
    // The last arrival was before the queue had drained.
    let arrival = seconds(8.0 * 3600.0);
    let saturation = estimator.saturation(arrival).expect("known");
    assert!((0.8..1.4).contains(&saturation), "{saturation}");
    let later = estimator.saturation(last + seconds(600.0)).expect("known");
    assert!(later < 0.01, "{later} without arrivals");
}

/// Serves `count` requests one after the other, at an interval of `gap` seconds. They all get this verdict.
fn run_alone(estimator: &mut CapacityEstimator, count: u32, gap: f64, verdict: SloVerdict) {
    let class: Arc<str> = "chat".into();
    for i in 0..count {
        let at = f64::from(i) * gap;
        let entry = estimator.arrive(seconds(at));
        estimator.finish(entry, seconds(at + gap / 2.0), &[(Arc::clone(&class), verdict)]);
    }
    if let Some(evidence) = estimator.evidence_if_due(seconds(f64::from(count) * gap)) {
        estimator.set_rates(evidence.sustainable_rates());
    }
}

#[test]
fn a_server_that_is_never_shared_still_shows_limits() {
    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 2000, 1.0, SloVerdict::Met);
    let [found] = rates(&estimator)[..] else { panic!("one class") };
    assert!((0.8..1.2).contains(&found.low.expect("met")), "{found:?}");
    assert_eq!((found.rate, found.high), (None, None));

    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 2000, 1.0, SloVerdict::Missed);
    let [found] = rates(&estimator)[..] else { panic!("one class") };
    assert!((0.8..1.2).contains(&found.high.expect("missed")), "{found:?}");
    assert_eq!((found.low, found.rate), (None, None));
}

#[test]
fn few_requests_or_undecided_ones_show_nothing() {
    let mut estimator = CapacityEstimator::default();
    assert!(estimator.evidence_if_due(seconds(100.0)).is_none(), "nothing was observed");
    run_alone(&mut estimator, 500, 1.0, SloVerdict::Met);
    assert!(estimator.rates().is_empty());
    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 5000, 1.0, SloVerdict::Undecided);
    assert!(estimator.rates().is_empty());
}

#[test]
fn an_estimate_is_made_once_a_minute_if_there_are_new_verdicts() {
    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 10, 1.0, SloVerdict::Met);
    assert!(estimator.evidence_if_due(seconds(1000.0)).is_none(), "no new verdict");
    let class: Arc<str> = "chat".into();
    let entry = estimator.arrive(seconds(1001.0));
    estimator.finish(entry, seconds(1002.0), &[(class, SloVerdict::Met)]);
    assert!(estimator.evidence_if_due(seconds(10.0 + REFIT_AFTER - 1.0)).is_none(), "too early");
    assert!(estimator.evidence_if_due(seconds(10.0 + REFIT_AFTER)).is_some());
}

#[test]
fn changed_classes_are_learned_anew() {
    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 2000, 1.0, SloVerdict::Met);
    estimator.forget_verdicts();
    assert_eq!(rates(&estimator), [SustainableRate::UNKNOWN], "its gauges are removed");
    assert!(estimator.evidence.classes().is_empty());
}

/// Sends traffic that fills all cells, with verdicts of this many classes.
fn fill(classes: usize) -> CapacityEstimator {
    let mut estimator = CapacityEstimator::default();
    let verdicts: Vec<(Arc<str>, SloVerdict)> =
        (0..classes).map(|i| (format!("class {i}").into(), SloVerdict::Missed)).collect();
    let mut at = 0.0;
    for round in 0..24 {
        // The rate changes by a factor of a thousand, and up to 5,000 requests are in flight.
        let gap = 10.0_f64.powi(round % 4 - 2);
        let arrive = |_| {
            at += gap;
            estimator.arrive(seconds(at))
        };
        let open: Vec<_> = (0..5000).map(arrive).collect();
        for entry in open {
            // Workers report events a little out of order.
            estimator.finish(entry, seconds(at - 0.001), &verdicts);
        }
    }
    estimator
}

#[test]
fn memory_is_bounded_whatever_the_traffic() {
    for (classes, limit) in [(1, 200 * 1024), (20, 450 * 1024)] {
        let estimator = fill(classes);
        assert_eq!(estimator.evidence.classes().len(), classes.min(8));
        let mut copy = None;
        let counted = allocation_counter::measure(|| copy = Some(estimator.evidence.clone()));
        assert!(counted.bytes_current <= limit, "{} bytes", counted.bytes_current);
        assert!(copy.is_some_and(|copy| copy.sustainable_rates().len() <= 8));
    }
}

#[test]
fn old_observations_give_way_to_new_ones() {
    let mut estimator = CapacityEstimator::default();
    run_alone(&mut estimator, 5000, 1.0, SloVerdict::Missed);
    assert!(rates(&estimator)[0].high.is_some());
    let class: Arc<str> = "chat".into();
    for i in 0..5000 {
        let at = 10.0 * MEMORY + f64::from(i);
        let entry = estimator.arrive(seconds(at));
        estimator.finish(entry, seconds(at + 0.5), &[(Arc::clone(&class), SloVerdict::Met)]);
    }
    let evidence = estimator.evidence_if_due(seconds(11.0 * MEMORY)).expect("due");
    let rate = evidence.sustainable("chat").expect("known");
    assert_eq!((rate.rate, rate.high), (None, None));
    assert!(rate.low.is_some());
}
