//! The table of all scenarios.

use super::figures::ScenarioFigures;
use super::{Scenario, ScenarioClass, goals};

/// Text of one column for a scenario.
type ColumnText = fn(&Scenario, &ScenarioFigures) -> String;

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn optional(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

fn seconds(value: Option<f64>) -> String {
    optional(value.map(|value| format!("{value:.3}")))
}

fn server_models(figures: &ScenarioFigures) -> String {
    let models = figures.server_models.iter();
    let models: Vec<String> =
        models.map(|(model, share)| format!("{model} {:.0} %", share * 100.0)).collect();
    models.join(", ")
}

/// Head and text of each column.
const COLUMNS: &[(&str, ColumnText)] = &[
    ("scenario", |scenario, _| scenario.name.clone()),
    ("class", |scenario, _| scenario.class.label().into()),
    ("mean: true, s", |_, figures| seconds(figures.mean.map(|(truth, _)| truth))),
    ("estimated", |_, figures| seconds(figures.mean.map(|(_, estimate)| estimate))),
    ("p95: true, s", |_, figures| seconds(figures.p95.map(|(truth, _)| truth))),
    ("estimated", |_, figures| seconds(figures.p95.map(|(_, estimate)| estimate))),
    ("false waits", |_, figures| percent(figures.false_waits)),
    ("in interval", |_, figures| optional(figures.coverage.map(percent))),
    ("width, s", |_, figures| seconds(figures.width)),
    ("withdrawn", |_, figures| percent(figures.withdrawn)),
    ("none", |_, figures| percent(figures.missing)),
    ("recognised", |scenario, figures| {
        let is_unfit = scenario.class == ScenarioClass::DoesNotFit;
        optional(is_unfit.then(|| percent(figures.recognised)))
    }),
    ("model", |_, figures| server_models(figures)),
    ("signal / truth", |_, figures| {
        format!("{:.2} to {:.2}", figures.signal.ratio.0, figures.signal.ratio.1)
    }),
    ("far", |_, figures| percent(figures.signal.far)),
    ("reference far", |_, figures| percent(figures.signal.reference_far)),
    ("no signal", |_, figures| percent(figures.signal.missing)),
    ("false signals", |_, figures| percent(figures.signal.false_signals)),
    ("seen after", |scenario, figures| {
        let is_changing = scenario.class == ScenarioClass::Signal;
        let after = figures.signal.seen_after.filter(|_| is_changing);
        optional(after.map(|after| format!("{after:.1}")))
    }),
    ("hang", |_, figures| optional(figures.signal.hang.map(|part| format!("{part:.2}")))),
    ("idle, s", |_, figures| format!("{:.3}", figures.signal.idle)),
    ("goals not met", |scenario, figures| goals::unmet(scenario, figures).join(", ")),
];

/// Head of the table.
pub fn head() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()))
}

/// Row of a scenario.
pub fn row(scenario: &Scenario, figures: &ScenarioFigures) -> String {
    let texts: Vec<String> = COLUMNS.iter().map(|(_, text)| text(scenario, figures)).collect();
    format!("| {} |\n", texts.join(" | "))
}
