//! Compares what is alike in two logs.

use super::log::{Ending, Kind, Log, Request};
use super::quantity::{Better, CHARACTERS_PER_TOKEN, FIRST_ANSWER, Quantity, TABLE, Unit};
use super::report::{Change, Comparison, Finding, Row, Statistic, Tokens};
use super::statistics::{self, LEAST, Observation, Side, standardise};
use super::table::{percent, value_text};
use std::collections::BTreeSet;

/// From this difference in characters per token on, tokens are not the same thing.
const OTHER_TOKENS: f64 = 0.02;
/// Of other models, tokens are alike if the interval of that difference stays within it.
const LIKE_TOKENS: f64 = 0.05;

/// A comparison for each kind of request that both logs have.
pub(super) fn comparisons(a: &Log, b: &Log) -> Vec<Comparison> {
    let kinds =
        |log: &Log| log.requests.iter().map(|request| request.kind).collect::<BTreeSet<_>>();
    let same_models = a.names.models == b.names.models && a.names.models.len() == 1;
    let both = kinds(a).into_iter().filter(|kind| kinds(b).contains(kind));
    both.map(|kind| comparison(kind, &of_kind(a, kind), &of_kind(b, kind), same_models)).collect()
}

fn of_kind(log: &Log, kind: Kind) -> Vec<&Request> {
    log.requests.iter().filter(|request| request.kind == kind).collect()
}

/// The complete requests that waited for a cold server, or those that did not as far as is known.
fn complete<'a>(all: &[&'a Request], is_cold: bool) -> Vec<&'a Request> {
    let is = |request: &&&Request| {
        request.ending == Ending::Ok && (request.cold == Some(true)) == is_cold
    };
    all.iter().filter(is).copied().collect()
}

fn comparison(kind: Kind, a: &[&Request], b: &[&Request], same_models: bool) -> Comparison {
    let cold = [complete(a, true).len(), complete(b, true).len()];
    let failures = failures(a, b);
    let (a, b) = (complete(a, false), complete(b, false));
    let bare = |request: &&Request| Observation { stratum: request.stratum, value: 0.0 };
    let bare = |all: &[&Request]| -> Vec<Observation> { all.iter().map(bare).collect() };
    let (matched_a, matched_b) = standardise(&bare(&a), &bare(&b));
    let compared = [matched_a.len(), matched_b.len()];
    let mut rows: Vec<Row> = TABLE
        .iter()
        .enumerate()
        .filter(|(at, quantity)| quantity.name != FIRST_ANSWER || reasons(*at, &a, &b))
        .flat_map(|(at, quantity)| of_quantity(at, quantity, &a, &b))
        .collect();
    let tokens = tokens(&rows, same_models);
    let why = match tokens {
        Tokens::Alike => None,
        Tokens::Differ => Some("not comparable: the tokenizers differ"),
        Tokens::Unknown => Some("not comparable: too little is known of the tokenizers"),
    };
    if let Some(why) = why {
        for row in rows.iter_mut().filter(|row| known(row).is_some_and(|known| known.by_tokens)) {
            row.finding = Finding::NotComparable;
            row.words = why.into();
        }
    }
    let is_headline = |row: &&mut Row| {
        row.finding != Finding::TooFew
            && known(row).is_some_and(|known| !known.by_tokens && known.better != Better::Context)
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
        strata: matched_a.strata(),
        tokens,
        rows,
    }
}

/// Whether any first answer came later than the first token, whose place in the table is the one before.
fn reasons(answer: usize, a: &[&Request], b: &[&Request]) -> bool {
    a.iter().chain(b).any(|request| {
        let first = answer.checked_sub(1).and_then(|first| request.value(first));
        request.value(answer).is_some_and(|value| Some(value) != first)
    })
}

/// Whether a token of one stands for about as many characters as one of the other. That no difference is shown
/// is enough where the model is the same; of other models likeness has to be shown.
fn tokens(rows: &[Row], same_models: bool) -> Tokens {
    let row = rows.iter().find(|row| row.quantity == CHARACTERS_PER_TOKEN);
    match row.and_then(|row| row.change) {
        Some(change @ Change::Ratio(ratio))
            if change.is_shown() && (ratio.value - 1.0).abs() >= OTHER_TOKENS =>
        {
            Tokens::Differ
        }
        _ if same_models => Tokens::Alike,
        Some(Change::Ratio(ratio))
            if ratio.low >= 1.0 - LIKE_TOKENS && ratio.high <= 1.0 + LIKE_TOKENS =>
        {
            Tokens::Alike
        }
        _ => Tokens::Unknown,
    }
}

/// The quantity of a line.
fn known(row: &Row) -> Option<&'static Quantity> {
    TABLE.iter().find(|quantity| quantity.name == row.quantity)
}

/// The lines of the quantity at this place of the table; none if no side has it.
fn of_quantity(at: usize, quantity: &Quantity, a: &[&Request], b: &[&Request]) -> Vec<Row> {
    let seen = |all: &[&Request]| -> Vec<Observation> {
        let one = |request: &&Request| {
            Some(Observation { stratum: request.stratum, value: request.value(at)? })
        };
        all.iter().filter_map(one).collect()
    };
    let (a, b) = (seen(a), seen(b));
    if a.is_empty() && b.is_empty() {
        return Vec::new();
    }
    let seen = [a.len(), b.len()];
    let (a, b) = standardise(&a, &b);
    let tail = match quantity.better {
        _ if quantity.by_tokens => None,
        Better::Less => Some(Statistic::P90),
        Better::More => Some(Statistic::P10),
        Better::Context => None,
    };
    [Some(Statistic::Median), tail]
        .into_iter()
        .flatten()
        .map(|statistic| Row { seen, ..line(quantity, statistic, &a, &b) })
        .collect()
}

fn line(quantity: &Quantity, statistic: Statistic, a: &Side, b: &Side) -> Row {
    let p = statistic.level();
    let (of_a, of_b) = (a.quantile(p), b.quantile(p));
    let change = of_a.zip(of_b).map(|(a, b)| match statistics::ratio(a, b) {
        Some(ratio) => Change::Ratio(ratio),
        None => Change::Difference(statistics::difference(a, b)),
    });
    let mut row = Row {
        quantity: quantity.name,
        statistic,
        headline: false,
        requests: [a.len(), b.len()],
        seen: [a.len(), b.len()],
        a: of_a.map(|interval| interval.value),
        b: of_b.map(|interval| interval.value),
        change,
        finding: Finding::TooFew,
        words: String::new(),
        unit: quantity.unit,
    };
    judge(&mut row, quantity.better, quantity.words);
    row
}

/// The shares of requests that failed, and that their clients left: of all, whatever their size.
fn failures(a: &[&Request], b: &[&Request]) -> Vec<Row> {
    let share = |name, ending| {
        let holds = |all: &[&Request]| -> Vec<bool> {
            all.iter().map(|request| request.ending == ending).collect()
        };
        let (a, b) = (holds(a), holds(b));
        let (of_a, of_b) = (statistics::proportion(&a), statistics::proportion(&b));
        let difference = of_a.zip(of_b).map(|(a, b)| statistics::difference(a, b));
        let mut row = Row {
            quantity: name,
            statistic: Statistic::Share,
            headline: false,
            requests: [a.len(), b.len()],
            seen: [a.len(), b.len()],
            a: of_a.map(|interval| interval.value),
            b: of_b.map(|interval| interval.value),
            change: difference.map(Change::Difference),
            finding: Finding::TooFew,
            words: String::new(),
            unit: Unit::Share,
        };
        judge(&mut row, Better::Less, ("more", "less"));
        row
    };
    vec![share("failed", Ending::Failed), share("left by the client", Ending::Left)]
}

/// Sets what a line shows, and says it.
fn judge(row: &mut Row, better: Better, (more, less): (&str, &str)) {
    let Some(change) = row.change else {
        let few = row.requests.iter().any(|requests| *requests < LEAST);
        row.words = if few { "too few" } else { "too few to tell the tail" }.into();
        return;
    };
    if !change.is_shown() {
        row.finding = Finding::NoDifferenceShown;
        row.words = "no difference shown".into();
        return;
    }
    row.finding = match (better, change.is_more()) {
        (Better::Context, _) => Finding::Different,
        (Better::More, true) | (Better::Less, false) => Finding::Better,
        (Better::More, false) | (Better::Less, true) => Finding::Worse,
    };
    let word = if change.is_more() { more } else { less };
    let (value, low, high) = match change {
        Change::Ratio(ratio) => {
            let [value, low, high] = [ratio.value, ratio.low, ratio.high].map(|ratio| ratio - 1.0);
            let (value, low, high) = upwards(value, low, high);
            (percent(value) + " %", percent(low), percent(high) + " %")
        }
        Change::Difference(difference) => {
            let (value, low, high) = upwards(difference.value, difference.low, difference.high);
            let text = |value| value_text(value, row.unit);
            (text(value), text(low), text(high))
        }
    };
    row.words = match (row.statistic, row.finding) {
        (Statistic::Share, _) => format!("B: {value} of all requests {word} ({low} to {high})"),
        (_, Finding::Different) => format!("B: {value} {word} ({low} to {high})"),
        _ => format!("B is {word} by {value} ({low} to {high})"),
    };
}

/// A difference and its limits without their sign, the limits in order.
fn upwards(value: f64, low: f64, high: f64) -> (f64, f64, f64) {
    if value < 0.0 { (-value, -high, -low) } else { (value, low, high) }
}
