//! Notes below the table: data that is excluded or not comparable, and other cautions.

use super::log::{LogContent, LogNames, OperationMode};
use super::quantity::{CHARACTERS, CHARACTERS_PER_TOKEN, QUANTITIES};
use super::report::{Comparison, ComparisonRow, Conclusion, RelativeChange, TokenComparability};
use super::table::{count, digits, percent};
use std::collections::{BTreeMap, BTreeSet};

/// Ratio of requests in flight from which the loads are reported as different.
const LOAD_RATIO: f64 = 1.2;
/// Share of degraded requests from which they are reported.
const DEGRADED_SHARE: f64 = 0.05;
/// Difference in the cached share of input tokens from which it is reported.
const CACHING_DIFFERENCE: f64 = 0.1;

const NOT_LOGGED: &str = "A request log does not contain the hardware, the number of GPUs, the model's precision, \
    the kind of prompts, the language of the answers, or other users of the server. Each can cause a difference.";

/// All notes on a comparison.
pub(super) fn notes(a: &LogContent, b: &LogContent, comparisons: &[Comparison]) -> Vec<String> {
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
    if comparison.size_classes == 0 {
        notes.push(
            "no size class has five requests on both sides, so nothing is compared: \
             send both servers the same prompts"
                .into(),
        );
    }
    let [a, b] = comparison.compared;
    for (name, matched, unmatched) in
        [("A", a, comparison.unmatched[0]), ("B", b, comparison.unmatched[1])]
    {
        if unmatched > 0 && comparison.size_classes > 0 {
            let share = percent(unmatched as f64 / (matched + unmatched) as f64);
            notes.push(format!(
                "{unmatched} complete requests of {name} ({share} %) are excluded: their size class has fewer than \
                 five requests on one side"
            ));
        }
    }
    for (name, cold) in [("A", comparison.cold[0]), ("B", comparison.cold[1])] {
        if cold > 0 {
            notes.push(format!(
                "{cold} requests of {name} are excluded: they waited for a cold start"
            ));
        }
    }
    let change = find(CHARACTERS_PER_TOKEN).and_then(|row| row.change);
    notes.extend(tokenizers(comparison, change));
    if let Some(ComparisonRow { finding: Conclusion::Different, change: Some(change), .. }) =
        find(CHARACTERS)
    {
        let longer = if change.is_more() { "longer" } else { "shorter" };
        notes.push(format!(
            "B's answers are {longer}, so compare the speed by characters per second and duration per \
             character, not by request duration"
        ));
    }
    if let (Some(a), Some(b)) = (sources(comparison, 0), sources(comparison, 1))
        && a != b
    {
        notes.push(format!(
            "the queue wait of A is {a}, that of B is {b}: different sources are not compared"
        ));
    }
    for row in &comparison.rows {
        let is_other = matches!(row.finding, Conclusion::Better | Conclusion::Worse);
        if is_other && row.quantity.starts_with("queue wait") && row.statistic.label() == "median" {
            notes.push(
                "the queue waits differ: that part of the difference in time to first token is load, not speed".into(),
            );
        }
        if is_other && matches!(row.quantity, "failed" | "left by the client") {
            notes.push(format!(
                "the shares of requests {} differ: the other lines cover complete requests only, which biases \
                 the comparison",
                if row.quantity == "failed" { "that failed" } else { "whose client disconnected" }
            ));
        }
    }
    notes
}

/// Whether tokens are comparable; `None` without lines on tokens. `change` is that of characters per token.
fn tokenizers(comparison: &Comparison, change: Option<RelativeChange>) -> Option<String> {
    let is_by_tokens = |row: &ComparisonRow| {
        QUANTITIES.iter().any(|known| known.depends_on_tokenizer && known.name == row.quantity)
    };
    if !comparison.rows.iter().any(is_by_tokens) {
        return None;
    }
    match (comparison.tokens, change) {
        (TokenComparability::Differ, Some(RelativeChange::Ratio(ratio))) => Some(format!(
            "the tokenizers differ: a token of B has {} % {} characters than one of A. Tokens, tokens per \
             second and time per token are not comparable; characters per second are",
            percent((ratio.value - 1.0).abs()),
            if ratio.value > 1.0 { "more" } else { "fewer" },
        )),
        (TokenComparability::Alike, Some(_)) => Some(
            "tokens have about the same number of characters on both sides, so they are compared".into(),
        ),
        (TokenComparability::Unknown, _) => Some(
            "there is not enough data on characters per token to treat the tokens of two models as equal, so \
             lines on tokens are not comparable"
                .into(),
        ),
        _ => None,
    }
}

/// Sources of the queue waits of one side.
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

fn only_one_has(a: &LogContent, b: &LogContent) -> Vec<String> {
    let (kinds_a, kinds_b) = (count_kinds(a), count_kinds(b));
    let only = |name: &str,
                of: &BTreeMap<OperationMode, u64>,
                other: &BTreeMap<OperationMode, u64>| {
        let only: Vec<_> = of.iter().filter(|(kind, _)| !other.contains_key(*kind)).collect();
        let all: Vec<String> =
            only.iter().map(|(kind, count)| format!("{} ({count})", kind_text(**kind))).collect();
        (!all.is_empty()).then(|| format!("only {name} has {}; not compared", all.join(", ")))
    };
    [only("A", &kinds_a, &kinds_b), only("B", &kinds_b, &kinds_a)].into_iter().flatten().collect()
}

fn of_log(log: &LogContent) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((number, reason)) = &log.first_bad {
        notes.push(format!(
            "{} of {} lines are not requests and are excluded; the first is line {number}: {reason}",
            log.bad, log.lines
        ));
    }
    if log.unselected > 0 {
        notes.push(format!("{} requests are not selected", count(log.unselected)));
    }
    if log.other > 0 {
        notes.push(format!(
            "{} requests are excluded: they are not inference, are realtime sessions, or failed \
             before it was known whether they request a stream",
            count(log.other)
        ));
    }
    if log.stride > 1 {
        notes.push(format!(
            "the log is long: one request in {} is sampled, over the whole log",
            log.stride
        ));
    }
    if log.without_cold > 0 {
        notes.push(format!(
            "the log has no cold-start data for {} complete requests: they count as warm",
            if log.without_cold == log.answered { "all".into() } else { count(log.without_cold) }
        ));
    }
    if log.uncounted > 0 {
        notes.push(format!(
            "{} requests have a count of events but no token count from the server: they are excluded from the \
             lines on output tokens",
            count(log.uncounted)
        ));
    }
    let degraded = log.degraded as f64 / log.selected as f64;
    if degraded > DEGRADED_SHARE {
        notes.push(format!(
            "{} % of the requests are degraded: the machine of Streamgauge was too busy for exact measurements",
            percent(degraded)
        ));
    }
    if log.names.models.len() > 1 || log.names.upstreams.len() > 1 {
        notes.push(format!(
            "the log has {}; they are combined. Use --model and --upstream to select",
            has(&log.names)
        ));
    }
    notes
}

fn of_both(a: &LogContent, b: &LogContent) -> Vec<String> {
    let mut notes = Vec::new();
    if let (Some(in_a), Some(in_b)) = (a.in_flight(), b.in_flight())
        && in_a.max(in_b) > LOAD_RATIO * in_a.min(in_b)
    {
        notes.push(format!(
            "the load differs: on average {} requests were in flight at A and {} at B, with {} and {} arrivals per second. \
             More requests in flight make a server slower, and a slower server has more requests in flight",
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
            "the logs do not overlap in time: other changes in between can cause differences"
                .into(),
        );
    }
    let cached = |log: &LogContent| log.cached_tokens as f64 / log.input_tokens.max(1) as f64;
    if (cached(a) - cached(b)).abs() > CACHING_DIFFERENCE {
        notes.push(format!(
            "the server reports {} % of A's input tokens as cached, and {} % of B's: the times to first token \
             cover different amounts of work",
            percent(cached(a)),
            percent(cached(b))
        ));
    }
    notes
}

/// Formats an operation and its mode.
fn kind_text((operation, stream): OperationMode) -> String {
    format!("{operation}, {}", if stream { "streamed" } else { "not streamed" })
}

fn count_kinds(log: &LogContent) -> BTreeMap<OperationMode, u64> {
    let mut kinds = BTreeMap::new();
    log.requests.iter().for_each(|request| *kinds.entry(request.kind).or_default() += log.stride);
    kinds
}

/// Lists the kinds of request in a log.
pub(super) fn kinds(log: &LogContent) -> String {
    let kinds: Vec<String> = count_kinds(log)
        .iter()
        .map(|(kind, count)| format!("{} ({count})", kind_text(*kind)))
        .collect();
    kinds.join(", ")
}

/// Lists the names in a log.
pub(super) fn has(names: &LogNames) -> String {
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
