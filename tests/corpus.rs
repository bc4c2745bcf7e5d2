//! The OpenAI dialects against recordings of real servers and what an independent parser found there.

mod support;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;
use streamgauge::meter::{Arrival, Format, Meter, Record};

/// Streams that may disagree with their label, each with the reason.
const EXCUSED: &[(&str, &str)] = &[];

struct Stream {
    id: String,
    body: Vec<u8>,
    label: Value,
}

fn streams() -> Option<Vec<Stream>> {
    let file = BufReader::new(GzDecoder::new(File::open(support::corpus()?).unwrap()));
    let all = file.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let ours = all.filter(|stream| {
        let is = |key: &str, values: &[&str]| {
            stream[key]
                .as_str()
                .or(stream["label"][key].as_str())
                .is_some_and(|v| values.contains(&v))
        };
        is("dialect", &["openai-chat", "openai-completions"]) && is("tier", &["A", "B"])
    });
    let streams = ours.map(|mut stream| Stream {
        id: stream["id"].as_str().unwrap().into(),
        body: stream["body"].as_str().unwrap().as_bytes().to_vec(),
        label: stream["label"].take(),
    });
    Some(streams.collect())
}

/// What the request log would say of the stream, read in pieces of this size.
fn measure(body: &[u8], size: usize) -> Record {
    let mut meter = Meter::new(Format::Sse);
    for (read, piece) in body.chunks(size).enumerate() {
        let arrival = Arrival {
            at: Duration::from_millis(read as u64),
            read: read as u64,
            after: Duration::ZERO,
            late: Duration::ZERO,
            stamped: true,
        };
        meter.push(arrival, piece, &mut |_| {});
    }
    meter.end(true, &mut |_| {});
    let mut record = Record::default();
    record.measured(meter.tally(), true, Duration::ZERO);
    record.unparsed += u64::from(meter.tally().error) << 32;
    record
}

/// The facts of a record that the labels know, under the labels' names.
fn found(record: &Record) -> BTreeMap<&'static str, Value> {
    let mut reasons = record.finish_reasons.clone();
    reasons.sort();
    BTreeMap::from([
        ("n_events", json!(record.events)),
        ("n_output_events", json!(record.output_events)),
        ("first_output_index", json!(record.first_output_event)),
        ("last_output_index", json!(record.last_output_event)),
        ("answer", json!(record.answer_chars)),
        ("reasoning_chars", json!(record.reasoning_chars)),
        ("tool_args_chars", json!(record.tool_chars)),
        ("input", json!(record.input_tokens)),
        ("output", json!(record.output_tokens)),
        ("cached", json!(record.cached_tokens)),
        ("reasoning", json!(record.reasoning_tokens)),
        ("finish_reasons", json!(reasons)),
        ("has_error", json!(record.unparsed >> 32 == 1)),
    ])
}

fn expected(label: &Value) -> BTreeMap<&'static str, Value> {
    let usage = |key: &str| label["usage"].get(key).cloned().unwrap_or(Value::Null);
    let mut reasons: Vec<String> = label["finish_reasons"]
        .as_object()
        .map(|reasons| reasons.values().filter_map(|r| r.as_str().map(Into::into)).collect())
        .unwrap_or_default();
    reasons.sort();
    // A refusal is the answer; without usage, output events stand in for tokens.
    let answer = label["text_chars"].as_u64().unwrap() + label["refusal_chars"].as_u64().unwrap();
    let events = label["n_output_events"].as_u64().filter(|events| *events > 0);
    let output = Some(usage("output_all")).filter(|count| !count.is_null());
    let mut expected = BTreeMap::from([
        ("answer", json!(answer)),
        ("input", usage("input")),
        ("output", output.unwrap_or_else(|| json!(events))),
        ("cached", usage("cached")),
        ("reasoning", usage("reasoning")),
        ("finish_reasons", json!(reasons)),
    ]);
    for key in [
        "n_events",
        "n_output_events",
        "first_output_index",
        "last_output_index",
        "reasoning_chars",
        "tool_args_chars",
        "has_error",
    ] {
        expected.insert(key, label[key].clone());
    }
    expected
}

#[test]
fn recorded_streams_agree_with_their_labels() {
    let Some(streams) = streams() else { return };
    let mut disagreeing = Vec::new();
    for stream in &streams {
        let (found, expected) = (found(&measure(&stream.body, 1400)), expected(&stream.label));
        let differences: Vec<String> = expected
            .iter()
            .filter(|(key, value)| found[*key] != **value)
            .map(|(key, value)| format!("{key}: label {value}, found {}", found[key]))
            .collect();
        if !differences.is_empty() {
            println!("{}: {}", stream.id, differences.join("; "));
            disagreeing.push(stream.id.as_str());
        }
    }
    println!("{} of {} streams agree", streams.len() - disagreeing.len(), streams.len());
    disagreeing.retain(|id| !EXCUSED.iter().any(|(excused, _)| excused == id));
    assert!(disagreeing.is_empty(), "disagree without a reason: {disagreeing:?}");
    assert!(EXCUSED.len() * 200 <= streams.len(), "more than 0.5 % need an excuse");
}

#[test]
fn any_split_of_a_recorded_stream_gives_the_same_facts() {
    let Some(streams) = streams() else { return };
    for stream in &streams {
        let whole = found(&measure(&stream.body, usize::MAX));
        for size in [1, 7, 100] {
            assert_eq!(
                found(&measure(&stream.body, size)),
                whole,
                "{} in pieces of {size}",
                stream.id
            );
        }
    }
}
