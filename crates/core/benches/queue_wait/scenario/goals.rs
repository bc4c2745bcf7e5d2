//! The accuracy that the scenarios of each class should have.

use super::figures::{INSTANT_ERROR, ScenarioFigures};
use super::traffic::ArrivalProcess;
use super::{Scenario, ScenarioClass};

/// Smallest share of the requests whose interval holds the truth.
pub const COVERAGE: f64 = 0.88;
/// Largest share of the requests without a wait that have one.
pub const FALSE_WAITS: f64 = 0.01;
/// Smallest share of the requests with the right server model.
pub const RIGHT_MODEL: f64 = 0.9;
/// Largest relative error of the mean and of the 95th percentile.
pub const MEAN_ERROR: f64 = 0.02;
pub const P95_ERROR: f64 = 0.05;
/// Largest share of the requests without an estimate that stands, and of the signals that are absent or lower bounds.
pub const ABSENT: f64 = 0.05;
/// Largest share of the signals that are far from the truth: those of the reference signal and a fifth of them, plus this
/// share. The reference knows the mean time of a response. An estimator has some hundred responses, whose mean is off by
/// some percent, which moves ratios over the limit.
pub const FAR: f64 = 0.01;
/// Time until a first saturation is visible, in mean times of a response.
pub const SEEN_AFTER: f64 = 0.5;

/// Smallest part of the age of the oldest request that the signal has during a hang. It is not 1, because an
/// estimator knows the time for the prompt of this request to some percent only.
pub const HANG: f64 = 0.95;

/// Goals that a scenario does not meet.
pub fn unmet(scenario: &Scenario, figures: &ScenarioFigures) -> Vec<&'static str> {
    let is_off = |both: Option<(f64, f64)>, part: f64| {
        both.is_none_or(|(truth, estimate)| {
            (estimate - truth).abs() > (part * truth).max(INSTANT_ERROR)
        })
    };
    let signal = &figures.signal;
    let covers = figures.coverage.is_some_and(|coverage| coverage >= COVERAGE);
    let is_lone =
        matches!(scenario.traffic.arrivals, ArrivalProcess::ClosedLoop { clients: 1, .. });
    // A lone request cannot queue.
    let false_waits = if is_lone { 0.0 } else { FALSE_WAITS };
    let model = ("model", figures.right_model < RIGHT_MODEL);
    let is_far = signal.far > 1.2 * signal.reference_far + FAR;
    let absent = figures.missing + figures.withdrawn;
    let checks: &[(&str, bool)] = match scenario.class {
        ScenarioClass::Fits => &[
            ("mean", is_off(figures.mean, MEAN_ERROR)),
            ("p95", is_off(figures.p95, P95_ERROR)),
            ("interval", !covers),
            model,
            ("absent", absent > ABSENT),
            ("signal", is_far),
            ("no signal", signal.missing > ABSENT),
        ],
        ScenarioClass::DoesNotFit => &[model, ("interval", !covers && absent < 1.0)],
        ScenarioClass::NoQueue => &[
            model,
            ("false waits", figures.false_waits > false_waits),
            ("interval", !covers),
            ("false signals", signal.false_signals > FALSE_WAITS),
        ],
        ScenarioClass::Signal => &[
            ("signal", is_far),
            // No number of slots can be known before a server is full for the first time.
            ("no signal", signal.missing > ABSENT && !scenario.is_first_saturation),
            ("seen late", signal.seen_after.is_some_and(|after| after > SEEN_AFTER)),
            ("hang", signal.hang.is_some_and(|part| part < HANG)),
        ],
    };
    let idle = ("idle", signal.idle > 0.0);
    checks.iter().chain([&idle]).filter(|(_, is_unmet)| *is_unmet).map(|(goal, _)| *goal).collect()
}
