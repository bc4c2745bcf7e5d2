//! docs/formats.md: which server's endpoints are measured, and where each number comes from. Each row has a
//! small stream of that server's shape; what the row says is held against what the meter made of it.

use crate::support::assert_golden;
use std::fmt::Write;
use std::time::Duration;
use streamgauge_core::dialect::response_headers::HeaderFacts;
use streamgauge_core::dialect::route::{ROUTES, ResponseParsing, Route};
use streamgauge_core::meter::{
    Arrival, LiveSample, QueueWait, RequestRecord, ResponseMeter, ResponseTokens, TokenSource,
};

mod bedrock;
mod chat;
mod engines;
mod openai;
mod samples;
mod vendors;
use samples::{FormatSample, SampleFraming};

const SAMPLES: [&[FormatSample]; 5] =
    [openai::SAMPLES, chat::SAMPLES, vendors::SAMPLES, bedrock::SAMPLES, engines::SAMPLES];

/// What the meter makes of a sample.
struct MeasuredSample {
    record: RequestRecord,
    tokens: ResponseTokens,
    route: &'static Route,
    is_stream: bool,
    has_first: bool,
}

/// Reads a sample's events, each in a read of its own.
fn measure(sample: &FormatSample) -> MeasuredSample {
    let name = format!("{} {}", sample.server, sample.path);
    let route = Route::find(sample.method, sample.path);
    let dialect = route.dialect().unwrap_or_else(|| panic!("{name}: not read"));
    let content_type = sample.framing.content_type().as_bytes();
    let mut meter = match sample.framing {
        SampleFraming::WebSocket => ResponseMeter::for_websocket(dialect, false),
        _ => ResponseMeter::new(dialect, content_type, b"").unwrap(),
    };
    if sample.framing == SampleFraming::WebSocket {
        meter.push_client(Duration::ZERO, &asking());
    }
    let mut has_first = false;
    let sink = &mut |it: LiveSample<'_>| has_first |= matches!(it, LiveSample::FirstOutput(_));
    for (read, event) in sample.events.iter().enumerate() {
        let arrival = Arrival::on_time(Duration::from_millis(10 * read as u64 + 10), read as u64);
        meter.push(arrival, &sample.framing.wrap(event), sink);
    }
    meter.finish(true, sink);
    let mut head = HeaderFacts::default();
    sample.head.iter().for_each(|(name, value)| head.record_header(name, value.as_bytes()));
    meter.set_header_facts(&head);
    let tally = meter.tally();
    assert!(!meter.needs_terminator() || tally.is_complete(), "{name}: not complete");
    assert_eq!((tally.unparsed, tally.has_error), (0, false), "{name}: not read to its end");
    let mut record = RequestRecord::default();
    record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
    record.set_queue_wait(QueueWait::from_best_source(Some(tally), None, None), None);
    record.dialect = Some(meter.dialect());
    let tokens = ResponseTokens::from_tally(tally, meter.is_stream());
    MeasuredSample { tokens, route, is_stream: meter.is_stream(), has_first, record }
}

/// A message of a session's client that asks for a response, in one frame that a key of zeros masks.
fn asking() -> Vec<u8> {
    let message = br#"{"type":"input_audio_buffer.commit"}"#;
    [&[0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0], &message[..]].concat()
}

/// What a row says of a sample, as far as the meter says so too.
fn row(sample: &FormatSample) -> String {
    let MeasuredSample { record, tokens, route, is_stream, has_first } = measure(sample);
    let name = format!("{} {}", sample.server, sample.path);
    let says = |text: &str, is_told: bool, what: &str| {
        assert_eq!(!text.is_empty(), is_told, "{name}: {what}");
        if text.is_empty() { "-".to_owned() } else { text.to_owned() }
    };
    let source = tokens.output.or(tokens.input).map(|(_, source)| source);
    let counted = matches!(source, Some(TokenSource::Usage | TokenSource::Engine));
    let tokens_from = match (sample.tokens, source) {
        ("", Some(TokenSource::Events)) => "output events, counted".to_owned(),
        ("", None) => "-".to_owned(),
        (text, Some(source)) => {
            assert!(counted, "{name}: {source:?} tokens");
            format!("{text} (`{}`)", source.label())
        }
        (text, None) => panic!("{name}: no tokens, but the row says {text}"),
    };
    let queue = says(sample.queue, record.queue_s.is_some(), "queue time");
    let load = says(sample.load, record.engine_load_s.is_some(), "load time");
    let prefill = says(sample.first, record.engine_ttft_s.is_some(), "the engine's first token");
    let is_session = sample.framing == SampleFraming::WebSocket;
    assert!(is_session || !is_stream || record.ttft_s.is_some() == has_first, "{name}: TTFT");
    let times = match (is_session, is_stream && has_first) {
        (true, true) => "per response: TTFT, ITL",
        (false, true) => "TTFT, TPOT, ITL, latency",
        (_, false) => "duration",
    };
    let has_text = record.answer_chars.is_some_and(|chars| chars > 0);
    let characters = if has_text { ", characters" } else { "" };
    let dialect = record.dialect.unwrap_or("-");
    format!(
        "| {} | `{}` | {} | `{dialect}` | {times}{characters} | {tokens_from} | {queue} | {load} | {prefill} |",
        sample.server,
        route.path,
        sample.framing.words()
    )
}

const HEAD: &str = "\
# What is measured, server by server

This page is written by `tests/formats.rs`, which runs a small response of each server's shape through the meter
and holds each row against what came of it. Where a server has two shapes, it has two rows.

*Tokens from* names the field, and in brackets the `source` that the metrics and the request log give; without a
count in the response, output events stand in (`events`, an approximation). Queue, load and first token are what
the server itself says; `-` is what it does not say (llama.cpp shows its queue by when the head of a stream comes:
[definitions.md](definitions.md#queue-wait)). They become `queue_s`, `engine_load_s` and `engine_ttft_s` in
the request log.

A path is matched by its end, so prefixes (`/openai/v1`, `/api`) do not matter. What is nowhere here is forwarded
all the same and counted in requests and bytes, as operation `other`.

| server | endpoint | framing | dialect | measured | tokens from | queue from | load from | first token from |
|---|---|---|---|---|---|---|---|---|
";

#[test]
fn each_row_is_what_the_meter_measures() {
    let mut page = HEAD.to_owned();
    for sample in SAMPLES.concat() {
        assert_ne!(Route::find(sample.method, sample.path).path, "other", "{}", sample.path);
        writeln!(page, "{}", row(&sample)).unwrap();
    }
    page.push_str("\nEndpoints whose answers are read like those above:\n\n");
    for route in ROUTES {
        let has_row = |sample: &FormatSample| Route::find(sample.method, sample.path) == route;
        if let Some(dialect) = route.dialect()
            && !SAMPLES.iter().copied().flatten().any(has_row)
        {
            writeln!(page, "- `{} {}` as `{}`", route.method, route.path, dialect.name).unwrap();
        }
    }
    page.push_str(
        "\nEndpoints whose answers are not read (their head, first byte, duration and bytes are measured):\n\n",
    );
    for route in ROUTES {
        if route.response == ResponseParsing::Opaque {
            writeln!(page, "- `{} {}` ({})", route.method, route.path, route.operation.label())
                .unwrap();
        }
    }
    assert_golden("docs/formats.md", &page);
}
