//! The table of all scenarios.

use super::figures::ScenarioFigures;
use super::{Scenario, ScenarioClass, goals};
use strum::VariantArray;

/// A column: its head, and its text for a scenario.
struct ScenarioColumn {
    name: &'static str,
    text: fn(&Scenario, &ScenarioFigures) -> String,
    /// Whether the shorter table of the documentation has it.
    is_in_docs: bool,
}

const fn shown(
    name: &'static str,
    text: fn(&Scenario, &ScenarioFigures) -> String,
) -> ScenarioColumn {
    ScenarioColumn { name, text, is_in_docs: true }
}

const fn only_printed(
    name: &'static str,
    text: fn(&Scenario, &ScenarioFigures) -> String,
) -> ScenarioColumn {
    ScenarioColumn { name, text, is_in_docs: false }
}

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

const COLUMNS: &[ScenarioColumn] = &[
    shown("scenario", |scenario, _| scenario.name.clone()),
    only_printed("class", |scenario, _| scenario.class.label().into()),
    shown("mean: true, s", |_, figures| seconds(figures.mean.map(|(truth, _)| truth))),
    shown("estimated", |_, figures| seconds(figures.mean.map(|(_, estimate)| estimate))),
    shown("p95: true, s", |_, figures| seconds(figures.p95.map(|(truth, _)| truth))),
    shown("estimated", |_, figures| seconds(figures.p95.map(|(_, estimate)| estimate))),
    shown("false waits", |_, figures| percent(figures.false_waits)),
    shown("in interval", |_, figures| optional(figures.coverage.map(percent))),
    only_printed("width, s", |_, figures| seconds(figures.width)),
    only_printed("withdrawn", |_, figures| percent(figures.withdrawn)),
    only_printed("none", |_, figures| percent(figures.missing)),
    shown("without estimate", |_, figures| percent(figures.withdrawn + figures.missing)),
    shown("right model", |scenario, figures| {
        let is_judged = scenario.class != ScenarioClass::Signal;
        optional(is_judged.then(|| percent(figures.right_model)))
    }),
    only_printed("model", |_, figures| server_models(figures)),
    shown("signal / truth", |_, figures| {
        format!("{:.2} to {:.2}", figures.signal.ratio.0, figures.signal.ratio.1)
    }),
    shown("far", |_, figures| percent(figures.signal.far)),
    shown("reference far", |scenario, figures| {
        // The reference takes requests first come, first served.
        let is_known = scenario.class != ScenarioClass::DoesNotFit;
        optional(is_known.then(|| percent(figures.signal.reference_far)))
    }),
    only_printed("no signal", |_, figures| percent(figures.signal.missing)),
    only_printed("false signals", |_, figures| percent(figures.signal.false_signals)),
    only_printed("signal in interval", |_, figures| optional(figures.signal.coverage.map(percent))),
    only_printed("seen after", |scenario, figures| {
        let is_changing = scenario.class == ScenarioClass::Signal;
        let after = figures.signal.seen_after.filter(|_| is_changing);
        optional(after.map(|after| format!("{after:.1}")))
    }),
    only_printed("hang", |_, figures| {
        optional(figures.signal.hang.map(|part| format!("{part:.2}")))
    }),
    only_printed("idle, s", |_, figures| format!("{:.3}", figures.signal.idle)),
    shown("goals not met", |scenario, figures| goals::unmet(scenario, figures).join(", ")),
];

/// The figures of the runs of each scenario.
pub type JudgedScenarios = [(Scenario, ScenarioFigures)];

/// A table with a row for each of these scenarios.
fn table<'a>(
    judged: impl Iterator<Item = &'a (Scenario, ScenarioFigures)>,
    columns: &[&ScenarioColumn],
) -> String {
    let line = |texts: Vec<String>| format!("| {} |\n", texts.join(" | "));
    let head = line(columns.iter().map(|column| column.name.into()).collect());
    let rows = judged.map(|(scenario, figures)| {
        line(columns.iter().map(|column| (column.text)(scenario, figures)).collect())
    });
    format!("{head}|{}\n{}", "---|".repeat(columns.len()), rows.collect::<String>())
}

/// The table of all scenarios, with all columns.
pub fn all_columns(judged: &JudgedScenarios) -> String {
    table(judged.iter(), &COLUMNS.iter().collect::<Vec<_>>())
}

/// The tables of the documentation: one for each class, with the most important columns.
pub fn by_class(judged: &JudgedScenarios) -> String {
    let columns: Vec<_> = COLUMNS.iter().filter(|column| column.is_in_docs).collect();
    let of_class = |class: &ScenarioClass| {
        let of_class = || judged.iter().filter(|(scenario, _)| scenario.class == *class);
        let meets_goals = |(scenario, figures): &&(Scenario, ScenarioFigures)| {
            goals::unmet(scenario, figures).is_empty()
        };
        format!(
            "**{}:** {} of {} scenarios meet all goals.\n\n{}",
            class.title(),
            of_class().filter(meets_goals).count(),
            of_class().count(),
            table(of_class(), &columns)
        )
    };
    ScenarioClass::VARIANTS.iter().map(of_class).collect::<Vec<_>>().join("\n")
}
