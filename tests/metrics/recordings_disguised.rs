//! Recorded streams with a wrong content type, on an unknown path, or both: each is read right, or counted as
//! unrecognised. None of its numbers is wrong, none is truncated, and none meets an objective that it should not meet.

use super::recordings::{facts, measure_response};
use crate::support::corpus::{RecordedStream, streams};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use streamgauge_core::dialect::{Dialect, UNKNOWN};
use streamgauge_core::meter::{
    EndCause, EndedRequest, Outcome, RequestRecord, ResponseMeter, SloClass, SloLimits, SloTarget,
    SloVerdict,
};

/// Content types that servers and proxies declare whatever the body is.
const CONTENT_TYPES: [&str; 7] = [
    "text/event-stream",
    "application/json",
    "application/x-ndjson",
    "text/html; charset=utf-8",
    "application/octet-stream",
    "application/vnd.amazon.eventstream",
    "",
];

/// What a stream shows of itself.
#[derive(Debug, PartialEq)]
struct Reading {
    facts: BTreeMap<&'static str, Value>,
    outcome: Outcome,
    verdict: SloVerdict,
}

/// Outcome of a response whose body ended as HTTP requires.
fn outcome(meter: &ResponseMeter) -> Outcome {
    let tally = meter.tally();
    let ended = EndedRequest {
        cause: EndCause::Complete,
        status: Some(200),
        has_output: tally.first_output.is_some(),
        has_error: meter.error_kind(EndCause::Complete).is_some(),
        is_complete: meter.is_stream() && tally.is_complete(),
        needs_terminator: meter.needs_terminator(),
        grpc_status: None,
    };
    ended.outcome()
}

/// Measures the stream, which takes a millisecond a read. `None` if it is counted as unrecognised or unreadable.
fn read(stream: &RecordedStream, dialect: &'static Dialect, content_type: &str) -> Option<Reading> {
    let meter = measure_response(stream, dialect, content_type, &[1400])?;
    let mut record = RequestRecord {
        operation: "chat",
        stream: Some(meter.is_stream()),
        dialect: meter.dialect(),
        duration_s: 9.0,
        ..RequestRecord::default()
    };
    record.fill_from_response(meter.tally(), meter.is_stream(), Duration::ZERO);
    let outcome = outcome(&meter);
    let limit = |target| (target == SloTarget::Ttft).then_some(5.0);
    let class = SloClass {
        name: "class".into(),
        models: Vec::new(),
        operations: Vec::new(),
        upstreams: Vec::new(),
        refusals: Default::default(),
        limits: SloLimits::from_fn(limit),
        sizes: Vec::new(),
    };
    let verdict = class.evaluate(&record, outcome);
    if meter.dialect().is_some() {
        return Some(Reading { facts: facts(record, meter.tally().has_error), outcome, verdict });
    }
    // Nothing may be claimed.
    let id = &stream.id;
    // A document on an unknown path may be anything: it is no inference, as far as known.
    let is_other = *dialect == UNKNOWN && !meter.is_stream();
    assert!(record.unparsed > 0 || is_other, "{id} as {content_type:?} is not counted");
    if is_other {
        return None;
    }
    assert_ne!(outcome, Outcome::Truncated, "{id} as {content_type:?}");
    assert_ne!(verdict, SloVerdict::Met, "{id} as {content_type:?}");
    assert_eq!((record.ttft_s, record.output_tokens), (None, None), "{id} as {content_type:?}");
    None
}

/// What differs from the reading with the right content type and path.
fn differences(found: Option<&Reading>, right: Option<&Reading>) -> String {
    let (Some(found), Some(right)) = (found, right) else {
        return format!("{found:?}, right {right:?}");
    };
    let keys = found.facts.keys().filter(|key| found.facts[*key] != right.facts[*key]);
    let facts = keys.map(|key| format!("{key} {}, right {}; ", found.facts[key], right.facts[key]));
    let (outcome, verdict) = (found.outcome, found.verdict);
    let (facts, right) = (facts.collect::<String>(), (right.outcome, right.verdict));
    format!("{facts}{outcome:?} {verdict:?}, right {right:?}")
}

#[derive(Default)]
struct Row {
    right: usize,
    unrecognised: usize,
    wrong: Vec<String>,
}

#[test]
fn a_disguised_stream_is_read_right_or_unrecognised() {
    let Some(streams) = streams() else { return };
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for stream in &streams {
        let Some(dialect) = stream.route() else { continue };
        let right = read(stream, dialect, &stream.content_type);
        let wrong_types = CONTENT_TYPES
            .iter()
            .filter(|name| !stream.content_type.starts_with(**name) || name.is_empty())
            .map(|name| ("wrong content type", dialect, *name));
        let unknown_path = [("unknown path", &UNKNOWN, &*stream.content_type)];
        let both = CONTENT_TYPES.map(|name| ("both", &UNKNOWN, name));
        for (disguise, dialect, content_type) in wrong_types.chain(unknown_path).chain(both) {
            let row = rows.entry((disguise, &stream.dialect)).or_default();
            match read(stream, dialect, content_type) {
                None => row.unrecognised += 1,
                found if found == right => row.right += 1,
                found => {
                    let id = &stream.id;
                    let differences = differences(found.as_ref(), right.as_ref());
                    row.wrong.push(format!("{id} as {content_type:?}: {differences}"));
                }
            }
        }
    }
    println!("{:20} {:24} {:>6} {:>12} {:>6}", "", "dialect", "right", "unrecognised", "wrong");
    for ((disguise, dialect), Row { right, unrecognised, wrong }) in &rows {
        println!("{disguise:20} {dialect:24} {right:6} {unrecognised:12} {:6}", wrong.len());
    }
    let wrong: Vec<&String> = rows.values().flat_map(|row| &row.wrong).collect();
    let shown: Vec<&&String> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} are read wrong: {shown:#?}", wrong.len());
}
