//! Figures that no change of the estimator may make worse.
//!
//! `bounds.txt` beside the scenarios has the figures as they were recorded. A change of the estimator that is neither
//! better nor worse moves all figures a little. So a figure may exceed its record by a fifth of it, plus a part that
//! depends on the figure:
//!
//! | figure | margin | reason |
//! |---|---|---|
//! | share of requests | 1 point | two standard errors of a share of 5 % among the 2,000 requests of a scenario |
//! | error of a mean or percentile | 1 % | two standard errors where a few long waits make most of the sum |
//! | width of the intervals | 0.02 s | the steps and jitter of the servers are that large |
//! | ratio of the signal to the truth | 0.2 | it is the largest of some 2,000 ratios |
//! | time until a saturation is visible | 0.2 | a few requests, at some hundredths of a response each |
//!
//! An idle server has no wait: that figure has no margin. All figures are better if they are smaller.

use super::scenario::figures::ScenarioFigures;
use super::scenario::{Scenario, ScenarioClass};

/// Relative part of the margin.
pub const MARGIN: f64 = 0.2;

/// One bounded figure.
pub struct BoundedFigure {
    /// Head of its column in the file.
    pub name: &'static str,
    /// `None` if the scenario does not have the figure.
    pub of: fn(&Scenario, &ScenarioFigures) -> Option<f64>,
    /// Absolute part of the margin. `None`: the figure has no margin.
    pub margin: Option<f64>,
}

/// Relative error of an estimate. Waits below 0.1 s count as 0.1 s.
fn error(both: Option<(f64, f64)>) -> Option<f64> {
    both.map(|(truth, estimate)| (estimate - truth).abs() / truth.max(0.1))
}

/// All bounded figures.
pub const FIGURES: &[BoundedFigure] = &[
    BoundedFigure { name: "mean error", of: |_, figures| error(figures.mean), margin: Some(0.01) },
    BoundedFigure { name: "p95 error", of: |_, figures| error(figures.p95), margin: Some(0.01) },
    BoundedFigure {
        name: "false waits",
        of: |_, figures| Some(figures.false_waits),
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "outside interval",
        of: |_, figures| figures.coverage.map(|coverage| 1.0 - coverage),
        margin: Some(0.01),
    },
    BoundedFigure { name: "width", of: |_, figures| figures.width, margin: Some(0.02) },
    BoundedFigure {
        name: "no estimate",
        of: |scenario, figures| {
            // An estimate that is withdrawn is right where no model fits.
            let is_known = scenario.class != ScenarioClass::DoesNotFit;
            is_known.then_some(figures.missing + figures.withdrawn)
        },
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "wrong model",
        of: |scenario, figures| {
            let is_judged = scenario.class != ScenarioClass::Signal;
            is_judged.then_some(1.0 - figures.right_model)
        },
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "signal too high",
        of: |_, figures| Some(figures.signal.ratio.1),
        margin: Some(0.2),
    },
    BoundedFigure {
        name: "signal too low",
        of: |_, figures| Some(1.0 / figures.signal.ratio.0),
        margin: Some(0.2),
    },
    BoundedFigure {
        name: "signal far",
        of: |_, figures| Some(figures.signal.far),
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "no signal",
        of: |_, figures| Some(figures.signal.missing),
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "false signals",
        of: |_, figures| Some(figures.signal.false_signals),
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "signal outside interval",
        of: |_, figures| figures.signal.coverage.map(|coverage| 1.0 - coverage),
        margin: Some(0.01),
    },
    BoundedFigure {
        name: "seen after",
        of: |scenario, figures| {
            figures.signal.seen_after.filter(|_| scenario.class == ScenarioClass::Signal)
        },
        margin: Some(0.2),
    },
    BoundedFigure {
        name: "hang not seen",
        of: |_, figures| figures.signal.hang.map(|part| (1.0 - part).max(0.0)),
        margin: Some(0.01),
    },
    BoundedFigure { name: "idle signal", of: |_, figures| Some(figures.signal.idle), margin: None },
];

/// Head of the file.
pub fn head() -> String {
    let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
    format!("scenario | {}\n", names.join(" | "))
}

/// Line of a scenario in the file.
pub fn line(scenario: &Scenario, figures: &ScenarioFigures) -> String {
    let figure = |figure: &BoundedFigure| {
        (figure.of)(scenario, figures).map_or_else(|| "-".into(), |value| format!("{value:.3}"))
    };
    let values: Vec<String> = FIGURES.iter().map(figure).collect();
    format!("{} | {}\n", scenario.name, values.join(" | "))
}

/// Figures of a scenario that are worse than this line of the file.
pub fn exceeded(scenario: &Scenario, figures: &ScenarioFigures, recorded: &str) -> Vec<String> {
    let mut columns = recorded.split(" | ");
    if columns.next() != Some(&scenario.name) {
        return vec![format!("{}: not recorded", scenario.name)];
    }
    let worse = FIGURES.iter().filter_map(|figure| {
        let recorded = columns.next();
        let value = (figure.of)(scenario, figures)?;
        let Some(recorded) = recorded.and_then(|text| text.trim().parse::<f64>().ok()) else {
            return Some(format!("{}: {} is not recorded", scenario.name, figure.name));
        };
        let most = figure.margin.map_or(recorded, |part| recorded * (1.0 + MARGIN) + part);
        let is_worse = value > most;
        is_worse
            .then(|| format!("{}: {} is {value:.3}, bound {most:.3}", scenario.name, figure.name))
    });
    worse.collect()
}
