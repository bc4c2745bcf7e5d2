//! What a table cannot say: what is not comparable, what was left out, what to bear in mind.

use super::log::{Kind, Log, Names};
use super::quantity::{CHARACTERS, CHARACTERS_PER_TOKEN, TABLE};
use super::report::{Change, Comparison, Finding, Row, Tokens};
use super::table::{count, digits, percent};
use std::collections::{BTreeMap, BTreeSet};

/// Beyond it the load of the two is another.
const OTHER_LOAD: f64 = 1.2;
/// A share of requests that is worth a word.
const NOTABLE: f64 = 0.05;
/// Beyond it prompts were cached otherwise.
const OTHER_CACHING: f64 = 0.1;

const NOT_LOGGED: &str = "What no request log says, and may make the difference: the hardware and how many of it, \
    the model's precision, the kind of prompts, the language of the answers, who else used the server.";

/// All of them.
pub(super) fn notes(a: &Log, b: &Log, comparisons: &[Comparison]) -> Vec<String> {
    let mut notes = Vec::new();
    for comparison in comparisons {
        let kind = kind_text((comparison.operation, comparison.stream));
        notes.extend(of_comparison(comparison).into_iter().map(|note| format!("{kind}: {note}")));
    }
    notes.extend(only_one_has(a, b));
    let (of_a, of_b) = (of_log(a), of_log(b));
    for note in &of_a {
        let who = if of_b.contains(note) { "A and B" } else { "A" };
        notes.push(format!("{who}: {note}"));
    }
    let only_b = of_b.iter().filter(|note| !of_a.contains(note));
    notes.extend(only_b.map(|note| format!("B: {note}")));
    notes.extend(of_both(a, b));
    notes.push(NOT_LOGGED.into());
    notes
}

fn of_comparison(comparison: &Comparison) -> Vec<String> {
    let mut notes = Vec::new();
    let find = |name: &str| comparison.rows.iter().find(|row| row.quantity == name);
    if comparison.strata == 0 {
        notes.push(
            "no class of request size has five requests on both sides, so nothing is compared: \
             send both the same prompts"
                .into(),
        );
    }
    let [a, b] = comparison.compared;
    for (name, matched, unmatched) in
        [("A", a, comparison.unmatched[0]), ("B", b, comparison.unmatched[1])]
    {
        if unmatched > 0 && comparison.strata > 0 {
            let share = percent(unmatched as f64 / (matched + unmatched) as f64);
            notes.push(format!(
                "{unmatched} of {name}'s complete requests ({share} %) are of a size that one side has fewer than \
                 five of: left out"
            ));
        }
    }
    for (name, cold) in [("A", comparison.cold[0]), ("B", comparison.cold[1])] {
        if cold > 0 {
            notes.push(format!("{cold} of {name}'s requests waited for a cold start: left out"));
        }
    }
    let change = find(CHARACTERS_PER_TOKEN).and_then(|row| row.change);
    notes.extend(tokenizers(comparison, change));
    if let Some(Row { finding: Finding::Different, change: Some(change), .. }) = find(CHARACTERS) {
        let longer = if change.is_more() { "longer" } else { "shorter" };
        notes.push(format!(
            "B's answers are {longer}, so request duration says how long an answer takes and not how fast the \
             server is; characters per second and duration per character do"
        ));
    }
    if let (Some(a), Some(b)) = (sources(comparison, 0), sources(comparison, 1))
        && a != b
    {
        notes.push(format!(
            "A's queue wait is {a}, B's {b}: waits of different sources are not compared"
        ));
    }
    for row in &comparison.rows {
        let is_other = matches!(row.finding, Finding::Better | Finding::Worse);
        if is_other && row.quantity.starts_with("queue wait") && row.statistic.label() == "median" {
            notes.push(
                "the queues differ: that much of the difference in time to first token is load, not speed".into(),
            );
        }
        if is_other && matches!(row.quantity, "failed" | "left by the client") {
            notes.push(format!(
                "the shares of requests {} differ: the other lines are of those that were answered in full, \
                 which on one side are more of the lucky ones",
                if row.quantity == "failed" { "that failed" } else { "that their clients left" }
            ));
        }
    }
    notes
}

/// Whether tokens are compared, if there are lines on them. `change` is that of characters per token.
fn tokenizers(comparison: &Comparison, change: Option<Change>) -> Option<String> {
    let is_by_tokens =
        |row: &Row| TABLE.iter().any(|known| known.by_tokens && known.name == row.quantity);
    if !comparison.rows.iter().any(is_by_tokens) {
        return None;
    }
    match (comparison.tokens, change) {
        (Tokens::Differ, Some(Change::Ratio(ratio))) => Some(format!(
            "the tokenizers differ: a token of B's is {} % {} characters than one of A's, so tokens, tokens per \
             second and time per token are not comparable; characters per second are",
            percent((ratio.value - 1.0).abs()),
            if ratio.value > 1.0 { "more" } else { "fewer" },
        )),
        (Tokens::Alike, Some(_)) => Some(
            "the tokens of both stand for about as many characters, so tokens are compared".into(),
        ),
        (Tokens::Unknown, _) => Some(
            "too little is known of the characters per token to take the tokens of two models for alike, so lines \
             on tokens are not comparable"
                .into(),
        ),
        _ => None,
    }
}

/// The sources of one side's queue waits.
fn sources(comparison: &Comparison, side: usize) -> Option<String> {
    let names: Vec<&str> = comparison
        .rows
        .iter()
        .filter(|row| row.statistic.label() == "median")
        .filter_map(|row| {
            let source = row.quantity.strip_prefix("queue wait, ")?;
            row.seen.get(side).is_some_and(|seen| *seen > 0).then_some(source)
        })
        .collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

fn only_one_has(a: &Log, b: &Log) -> Vec<String> {
    let (kinds_a, kinds_b) = (count_kinds(a), count_kinds(b));
    let only = |name: &str, of: &BTreeMap<Kind, u64>, other: &BTreeMap<Kind, u64>| {
        let only: Vec<_> = of.iter().filter(|(kind, _)| !other.contains_key(*kind)).collect();
        let all: Vec<String> =
            only.iter().map(|(kind, count)| format!("{} ({count})", kind_text(**kind))).collect();
        (!all.is_empty()).then(|| format!("only {name} has {}: not compared", all.join(", ")))
    };
    [only("A", &kinds_a, &kinds_b), only("B", &kinds_b, &kinds_a)].into_iter().flatten().collect()
}

fn of_log(log: &Log) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((number, reason)) = &log.first_bad {
        notes.push(format!(
            "{} of {} lines are no request, and left out; the first is line {number}: {reason}",
            log.bad, log.lines
        ));
    }
    if log.unselected > 0 {
        notes.push(format!("{} requests are not selected", count(log.unselected)));
    }
    if log.other > 0 {
        notes.push(format!(
            "{} requests are no inference, or sessions of many responses: left out",
            count(log.other)
        ));
    }
    if log.stride > 1 {
        notes.push(format!(
            "it is long: one request in {} is looked at, from its beginning to its end",
            log.stride
        ));
    }
    if log.untold > 0 {
        notes.push(format!(
            "of {} complete requests the log does not say whether a cold start held them up: they count as warm",
            if log.untold == log.answered { "all".into() } else { count(log.untold) }
        ));
    }
    if log.uncounted > 0 {
        notes.push(format!(
            "{} requests had no count of tokens from the server, only of events: left out of the lines on output \
             tokens",
            count(log.uncounted)
        ));
    }
    let degraded = log.degraded as f64 / log.selected as f64;
    if degraded > NOTABLE {
        notes.push(format!(
            "{} % of the requests are degraded: the machine of Streamgauge itself was too busy to be exact",
            percent(degraded)
        ));
    }
    if log.names.models.len() > 1 || log.names.upstreams.len() > 1 {
        notes.push(format!(
            "it holds {}: they are taken together; --model and --upstream choose",
            has(&log.names)
        ));
    }
    notes
}

fn of_both(a: &Log, b: &Log) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(in_a), Some(in_b)) = (a.in_flight(), b.in_flight())
        && in_a.max(in_b) > OTHER_LOAD * in_a.min(in_b)
    {
        notes.push(format!(
            "the load differs: {} requests were in flight on average at A, {} at B, of {} and {} a second that came. \
             More at a time make a server slower; a slower server has more at a time",
            digits(in_a),
            digits(in_b),
            digits(a.rate().unwrap_or(0.0)),
            digits(b.rate().unwrap_or(0.0)),
        ));
    }
    if let (Some((from_a, to_a)), Some((from_b, to_b))) = (a.period(), b.period())
        && (to_a < from_b || to_b < from_a)
    {
        notes.push(
            "the two were not measured at the same time: whatever else changed in between is in the difference"
                .into(),
        );
    }
    let cached = |log: &Log| log.cached_tokens as f64 / log.input_tokens.max(1) as f64;
    if (cached(a) - cached(b)).abs() > OTHER_CACHING {
        notes.push(format!(
            "the server says that {} % of A's input tokens came from a cache, and {} % of B's: time to first token \
             is not of the same work",
            percent(cached(a)),
            percent(cached(b))
        ));
    }
    notes
}

/// An operation, streamed or not, in words.
fn kind_text((operation, stream): Kind) -> String {
    format!("{operation}, {}", if stream { "streamed" } else { "not streamed" })
}

fn count_kinds(log: &Log) -> BTreeMap<Kind, u64> {
    let mut kinds = BTreeMap::new();
    log.requests.iter().for_each(|request| *kinds.entry(request.kind).or_default() += log.stride);
    kinds
}

/// The kinds of request that a log has.
pub(super) fn kinds(log: &Log) -> String {
    let kinds: Vec<String> = count_kinds(log)
        .iter()
        .map(|(kind, count)| format!("{} ({count})", kind_text(*kind)))
        .collect();
    kinds.join(", ")
}

/// The names that a log has.
pub(super) fn has(names: &Names) -> String {
    let list = |what: &str, names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    [
        list("the models", &names.models),
        list("the upstreams", &names.upstreams),
        list("the operations", &names.operations),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("; ")
}
