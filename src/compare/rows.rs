//! Computes the lines of a comparison.

use super::log::{LogContent, LoggedRequest, OperationMode, RequestEnding};
use super::quantity::{
    CHARACTERS_PER_TOKEN, FIRST_ANSWER, Preference, QUANTITIES, Quantity, QuantityUnit,
};
use super::report::{
    Comparison, ComparisonRow, Conclusion, RelativeChange, RowStatistic, TokenComparability,
};
use super::statistics::{self, MIN_PER_SIDE, SizedValue, WeightedSide, weight_equally};
use super::table::{percent, value_text};
use std::collections::BTreeSet;

/// Difference in characters per token from which tokens are not comparable.
const DIFFERENT_TOKENS: f64 = 0.02;
/// TokenComparability of different models are comparable if the interval of that difference stays within this bound.
const EQUAL_TOKENS: f64 = 0.05;

/// One comparison per kind of request that both logs have.
pub(super) fn comparisons(a: &LogContent, b: &LogContent) -> Vec<Comparison> {
    let kinds =
        |log: &LogContent| log.requests.iter().map(|request| request.kind).collect::<BTreeSet<_>>();
    let same_models = a.names.models == b.names.models && a.names.models.len() == 1;
    let both = kinds(a).into_iter().filter(|kind| kinds(b).contains(kind));
    both.map(|kind| comparison(kind, &of_kind(a, kind), &of_kind(b, kind), same_models)).collect()
}

fn of_kind(log: &LogContent, kind: OperationMode) -> Vec<&LoggedRequest> {
    log.requests.iter().filter(|request| request.kind == kind).collect()
}

/// The complete requests that waited for a cold start, or the others (including those without a value for `cold`).
fn complete<'a>(all: &[&'a LoggedRequest], is_cold: bool) -> Vec<&'a LoggedRequest> {
    let is = |request: &&&LoggedRequest| {
        request.ending == RequestEnding::Ok && (request.cold == Some(true)) == is_cold
    };
    all.iter().filter(is).copied().collect()
}

fn comparison(
    kind: OperationMode,
    a: &[&LoggedRequest],
    b: &[&LoggedRequest],
    same_models: bool,
) -> Comparison {
    let cold = [complete(a, true).len(), complete(b, true).len()];
    let failures = failure_shares(a, b);
    let (a, b) = (complete(a, false), complete(b, false));
    let sizes =
        |request: &&LoggedRequest| SizedValue { size_class: request.size_class, value: 0.0 };
    let sizes = |all: &[&LoggedRequest]| -> Vec<SizedValue> { all.iter().map(sizes).collect() };
    let (matched_a, matched_b) = weight_equally(&sizes(&a), &sizes(&b));
    let compared = [matched_a.len(), matched_b.len()];
    let mut rows: Vec<ComparisonRow> = QUANTITIES
        .iter()
        .enumerate()
        .filter(|(at, quantity)| quantity.name != FIRST_ANSWER || has_reasoning(*at, &a, &b))
        .flat_map(|(at, quantity)| quantity_lines(at, quantity, &a, &b))
        .collect();
    let tokens = tokens(&rows, same_models);
    let why = match tokens {
        TokenComparability::Alike => None,
        TokenComparability::Differ => Some("not comparable: the tokenizers differ"),
        TokenComparability::Unknown => Some("not comparable: not enough data about the tokenizers"),
    };
    if let Some(why) = why {
        for row in rows
            .iter_mut()
            .filter(|row| quantity_of(row).is_some_and(|known| known.depends_on_tokenizer))
        {
            row.finding = Conclusion::NotComparable;
            row.words = why.into();
        }
    }
    let is_headline = |row: &&mut ComparisonRow| {
        row.finding != Conclusion::TooFew
            && quantity_of(row).is_some_and(|known| {
                !known.depends_on_tokenizer && known.better != Preference::Context
            })
    };
    if let Some(row) = rows.iter_mut().find(is_headline) {
        row.headline = true;
    }
    rows.extend(failures);
    Comparison {
        operation: kind.0,
        stream: kind.1,
        compared,
        unmatched: [a.len() - compared[0], b.len() - compared[1]],
        cold,
        size_classes: matched_a.size_classes(),
        tokens,
        rows,
    }
}

/// Whether any request has its first answer after its first token. The time to first token is the preceding quantity.
fn has_reasoning(answer: usize, a: &[&LoggedRequest], b: &[&LoggedRequest]) -> bool {
    a.iter().chain(b).any(|request| {
        let first = answer.checked_sub(1).and_then(|first| request.value(first));
        request.value(answer).is_some_and(|value| Some(value) != first)
    })
}

/// Whether the tokens of both sides have about the same number of characters. For the same model it is enough that
/// no difference is shown; for different models, equality must be shown.
fn tokens(rows: &[ComparisonRow], same_models: bool) -> TokenComparability {
    let row = rows.iter().find(|row| row.quantity == CHARACTERS_PER_TOKEN);
    match row.and_then(|row| row.change) {
        Some(change @ RelativeChange::Ratio(ratio))
            if change.is_shown() && (ratio.value - 1.0).abs() >= DIFFERENT_TOKENS =>
        {
            TokenComparability::Differ
        }
        _ if same_models => TokenComparability::Alike,
        Some(RelativeChange::Ratio(ratio))
            if ratio.low >= 1.0 - EQUAL_TOKENS && ratio.high <= 1.0 + EQUAL_TOKENS =>
        {
            TokenComparability::Alike
        }
        _ => TokenComparability::Unknown,
    }
}

/// The quantity of a line; `None` for shares.
fn quantity_of(row: &ComparisonRow) -> Option<&'static Quantity> {
    QUANTITIES.iter().find(|quantity| quantity.name == row.quantity)
}

/// The lines of the quantity at this index of the table; none if neither side has it.
fn quantity_lines(
    at: usize,
    quantity: &Quantity,
    a: &[&LoggedRequest],
    b: &[&LoggedRequest],
) -> Vec<ComparisonRow> {
    let seen = |all: &[&LoggedRequest]| -> Vec<SizedValue> {
        let one = |request: &&LoggedRequest| {
            Some(SizedValue { size_class: request.size_class, value: request.value(at)? })
        };
        all.iter().filter_map(one).collect()
    };
    let (a, b) = (seen(a), seen(b));
    if a.is_empty() && b.is_empty() {
        return Vec::new();
    }
    let seen = [a.len(), b.len()];
    let (a, b) = weight_equally(&a, &b);
    let tail = match quantity.better {
        _ if quantity.depends_on_tokenizer => None,
        Preference::Less => Some(RowStatistic::P90),
        Preference::More => Some(RowStatistic::P10),
        Preference::Context => None,
    };
    [Some(RowStatistic::Median), tail]
        .into_iter()
        .flatten()
        .map(|statistic| ComparisonRow { seen, ..line(quantity, statistic, &a, &b) })
        .collect()
}

fn line(
    quantity: &Quantity,
    statistic: RowStatistic,
    a: &WeightedSide,
    b: &WeightedSide,
) -> ComparisonRow {
    let p = statistic.level();
    let (of_a, of_b) = (a.quantile(p), b.quantile(p));
    let change = of_a.zip(of_b).map(|(a, b)| match statistics::ratio(a, b) {
        Some(ratio) => RelativeChange::Ratio(ratio),
        None => RelativeChange::Difference(statistics::difference(a, b)),
    });
    let mut row = ComparisonRow {
        quantity: quantity.name,
        statistic,
        headline: false,
        requests: [a.len(), b.len()],
        seen: [a.len(), b.len()],
        a: of_a.map(|interval| interval.value),
        b: of_b.map(|interval| interval.value),
        change,
        finding: Conclusion::TooFew,
        words: String::new(),
        unit: quantity.unit,
    };
    set_finding(&mut row, quantity.better, quantity.words);
    row
}

/// The shares of requests that failed and of those whose client disconnected, over requests of all sizes.
fn failure_shares(a: &[&LoggedRequest], b: &[&LoggedRequest]) -> Vec<ComparisonRow> {
    let share = |name, ending| {
        let holds = |all: &[&LoggedRequest]| -> Vec<bool> {
            all.iter().map(|request| request.ending == ending).collect()
        };
        let (a, b) = (holds(a), holds(b));
        let (of_a, of_b) = (statistics::proportion(&a), statistics::proportion(&b));
        let difference = of_a.zip(of_b).map(|(a, b)| statistics::difference(a, b));
        let mut row = ComparisonRow {
            quantity: name,
            statistic: RowStatistic::Share,
            headline: false,
            requests: [a.len(), b.len()],
            seen: [a.len(), b.len()],
            a: of_a.map(|interval| interval.value),
            b: of_b.map(|interval| interval.value),
            change: difference.map(RelativeChange::Difference),
            finding: Conclusion::TooFew,
            words: String::new(),
            unit: QuantityUnit::Share,
        };
        set_finding(&mut row, Preference::Less, ("more", "less"));
        row
    };
    vec![
        share("failed", RequestEnding::Failed),
        share("left by the client", RequestEnding::ClientGone),
    ]
}

/// Sets the finding of a line and its words.
fn set_finding(row: &mut ComparisonRow, better: Preference, (more, less): (&str, &str)) {
    let Some(change) = row.change else {
        let few = row.requests.iter().any(|requests| *requests < MIN_PER_SIDE);
        row.words = if few { "too few" } else { "too few for the tail" }.into();
        return;
    };
    if !change.is_shown() {
        row.finding = Conclusion::NoDifferenceShown;
        row.words = "no difference shown".into();
        return;
    }
    row.finding = match (better, change.is_more()) {
        (Preference::Context, _) => Conclusion::Different,
        (Preference::More, true) | (Preference::Less, false) => Conclusion::Better,
        (Preference::More, false) | (Preference::Less, true) => Conclusion::Worse,
    };
    let word = if change.is_more() { more } else { less };
    let (value, low, high) = match change {
        RelativeChange::Ratio(ratio) => {
            let [value, low, high] = [ratio.value, ratio.low, ratio.high].map(|ratio| ratio - 1.0);
            let (value, low, high) = without_sign(value, low, high);
            (percent(value) + " %", percent(low), percent(high) + " %")
        }
        RelativeChange::Difference(difference) => {
            let (value, low, high) =
                without_sign(difference.value, difference.low, difference.high);
            let text = |value| value_text(value, row.unit);
            (text(value), text(low), text(high))
        }
    };
    row.words = match (row.statistic, row.finding) {
        (RowStatistic::Share, _) => format!("B: {value} of all requests {word} ({low} to {high})"),
        (_, Conclusion::Different) => format!("B: {value} {word} ({low} to {high})"),
        _ => format!("B is {word} by {value} ({low} to {high})"),
    };
}

/// A difference and its limits as positive numbers, the limits in order.
fn without_sign(value: f64, low: f64, high: f64) -> (f64, f64, f64) {
    if value < 0.0 { (-value, -high, -low) } else { (value, low, high) }
}
