//! docs/formats.md: which server's endpoints are measured, and where each number comes from. Each row has a
//! small stream of that server's shape; what the row says is held against what the meter made of it.

mod support;

use std::fmt::Write;
use std::time::Duration;
use streamgauge::dialect::route::{Answer, Route};
use streamgauge::meter::{Arrival, Meter, Record, TokenSource, Tokens};
use support::assert_golden;

#[path = "formats/samples.rs"]
mod samples;
use samples::{SAMPLES, Sample};

/// What the meter makes of a sample's body, read event by event.
fn measure(sample: &Sample) -> (Record, Tokens, &'static Route, bool) {
    let route = Route::of(sample.method, sample.path);
    let Answer::Dialect(dialect) = route.answer else {
        return (Record::default(), Tokens::default(), route, false);
    };
    let mut meter = Meter::new(dialect, sample.content_type.as_bytes(), b"")
        .unwrap_or_else(|_| panic!("{} {}: not read", sample.server, sample.path));
    for (read, piece) in sample.body.iter().enumerate() {
        let arrival = Arrival {
            at: Duration::from_millis(10 * read as u64 + 10),
            read: read as u64,
            after: Duration::ZERO,
            late: Duration::ZERO,
            stamped: true,
        };
        meter.push(arrival, piece, &mut |_| {});
    }
    meter.end(true, &mut |_| {});
    let tally = meter.tally();
    assert!(
        !meter.needs_terminator() || tally.complete(),
        "{} {}: not complete",
        sample.server,
        sample.path
    );
    assert_eq!(tally.unparsed, 0, "{} {}: not read to its end", sample.server, sample.path);
    let mut record = Record::default();
    record.measured(tally, meter.is_stream(), Duration::ZERO);
    record.dialect = Some(meter.dialect());
    let tokens = Tokens::of(tally, meter.is_stream());
    (record, tokens, route, meter.is_stream())
}

/// What a row says of a sample, as far as the meter says so too.
fn row(sample: &Sample) -> String {
    let (record, tokens, route, is_stream) = measure(sample);
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
    let measured = match (is_stream, record.ttft_s.is_some()) {
        (true, true) if record.answer_chars.is_some_and(|chars| chars > 0) => {
            "TTFT, TPOT, ITL, latency, characters"
        }
        (true, true) => "TTFT, TPOT, ITL, latency",
        (true, false) => "duration",
        (false, _) if record.answer_chars.is_some_and(|chars| chars > 0) => "duration, characters",
        (false, _) => "duration",
    };
    let dialect = record.dialect.unwrap_or("-");
    format!(
        "| {} | `{}` | {} | `{dialect}` | {measured} | {tokens_from} | {queue} | {load} | {prefill} |",
        sample.server, route.path, sample.framing
    )
}

const HEAD: &str = "\
# What is measured, server by server

This page is written by `tests/formats.rs`, which runs a small response of each server's shape through the meter
and holds each row against what came of it. Where a server has two shapes, it has two rows.

*Tokens from* names the field, and in brackets the `source` that the metrics and the request log give; without a
count in the response, output events stand in (`events`, an approximation). Queue, load and first token are what
the server itself says; `-` is what it does not say. They become `queue_s`, `engine_load_s` and `engine_ttft_s` in
the request log.

A path is matched by its end, so prefixes (`/openai/v1`, `/api`) do not matter. What is on no row is forwarded
all the same and counted in requests and bytes, as operation `other`.

| server | endpoint | framing | dialect | measured | tokens from | queue from | load from | first token from |
|---|---|---|---|---|---|---|---|---|
";

#[test]
fn each_row_is_what_the_meter_measures() {
    let mut page = HEAD.to_owned();
    for sample in SAMPLES {
        assert_ne!(Route::of(sample.method, sample.path).path, "other", "{}", sample.path);
        writeln!(page, "{}", row(sample)).unwrap();
    }
    page.push_str(
        "\nEndpoints whose answers are not read (their head, first byte, duration and bytes are measured):\n\n",
    );
    for route in streamgauge::dialect::route::ROUTES {
        if route.answer == Answer::Opaque {
            writeln!(page, "- `{} {}` ({})", route.method, route.path, route.operation.label())
                .unwrap();
        }
    }
    assert_golden("docs/formats.md", &page);
}
