//! Properties of every streamed example: what a cut, an error, an unknown event and a repeat do to its outcome and
//! counts.

use super::example::{ExampleFraming, FormatExample};
use super::{Duration, EXAMPLES};
use crate::dialect::route::Route;
use crate::meter::{Arrival, EndCause, EndedRequest, Outcome, RequestRecord, ResponseMeter};

/// Examples whose events are text in frames that a test can write.
fn streams() -> impl Iterator<Item = &'static FormatExample> {
    let is_text = |framing| {
        matches!(framing, ExampleFraming::Sse | ExampleFraming::Lines | ExampleFraming::Nul)
    };
    EXAMPLES.into_iter().flatten().filter(move |example| is_text(example.framing))
}

/// Counts of a response.
#[derive(Debug, Clone, PartialEq)]
struct StreamCounts {
    events: u64,
    output_events: u64,
    chars: [u64; 3],
    output_tokens: Option<u64>,
    finish_reasons: Vec<String>,
}

/// Measures a body that ends in this way. Each event arrives in a separate read.
fn measure(
    example: &FormatExample,
    parts: &[Vec<u8>],
    cause: EndCause,
) -> (Outcome, StreamCounts, ResponseMeter) {
    let dialect = Route::find(example.method, example.path).dialect().unwrap();
    let content_type = example.framing.content_type().as_bytes();
    let mut meter = ResponseMeter::new(dialect, content_type, b"").unwrap();
    for (read, part) in (0..).zip(parts) {
        meter.push(Arrival::on_time(Duration::from_millis(read), read), part, &mut |_| {});
    }
    meter.finish(cause == EndCause::Complete, &mut |_| {});
    let tally = meter.tally();
    let ended = EndedRequest {
        cause,
        status: Some(200),
        has_output: tally.first_output.is_some(),
        has_error: meter.error_kind(cause).is_some(),
        is_complete: meter.is_stream() && tally.is_complete(),
        needs_terminator: meter.needs_terminator(),
        grpc_status: None,
    };
    let mut record = RequestRecord::default();
    record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
    let counts = StreamCounts {
        events: tally.events,
        output_events: tally.output_events,
        chars: [tally.answer_chars, tally.reasoning_chars, tally.tool_chars],
        output_tokens: record.output_tokens,
        finish_reasons: tally.finish_reasons().iter().map(ToString::to_string).collect(),
    };
    (ended.outcome(), counts, meter)
}

fn parts(example: &FormatExample) -> Vec<Vec<u8>> {
    example.events.iter().map(|event| example.framing.wrap(event)).collect()
}

#[test]
fn a_cut_stream_is_truncated_or_complete_and_has_no_more_than_the_whole() {
    for example in streams() {
        let name = format!("{} {}", example.section, example.path);
        let parts = parts(example);
        let body = parts.concat();
        let (_, whole, _) = measure(example, &parts, EndCause::Complete);
        for cut in 0..body.len() {
            let (outcome, counts, meter) =
                measure(example, &[body[..cut].to_vec()], EndCause::UpstreamFailed);
            let is_complete = meter.is_stream() && meter.tally().is_complete();
            let expected = if is_complete { Outcome::Ok } else { Outcome::Truncated };
            assert_eq!(outcome, expected, "{name} cut at {cut}");
            assert!(counts.events <= whole.events, "{name} cut at {cut}");
            assert!(counts.output_events <= whole.output_events, "{name} cut at {cut}");
            for (cut_chars, chars) in counts.chars.iter().zip(whole.chars) {
                assert!(*cut_chars <= chars, "{name} cut at {cut}: {counts:?}, whole {whole:?}");
            }
        }
    }
}

#[test]
fn an_error_at_any_event_is_a_stream_error() {
    let error = br#"{"error":{"message":"out of memory","type":"server_error","code":500}}"#;
    for example in streams().filter(|example| reports_errors(example)) {
        let name = format!("{} {}", example.section, example.path);
        let (_, whole, _) = measure(example, &parts(example), EndCause::Complete);
        for at in 0..=example.events.len() {
            let mut parts = parts(example);
            parts.insert(at, example.framing.wrap(error));
            let (outcome, counts, meter) = measure(example, &parts, EndCause::Complete);
            assert_eq!(outcome, Outcome::StreamError, "{name} with an error at {at}");
            assert_eq!(meter.error_kind(EndCause::Complete).unwrap().label(), "reported");
            let expected = StreamCounts { events: whole.events + 1, ..whole.clone() };
            assert_eq!(counts, expected, "{name} with an error at {at}");
        }
    }
}

/// Replicate's events are plain text: an object in one is output.
fn reports_errors(example: &FormatExample) -> bool {
    example.section != "Replicate"
}

#[test]
fn unknown_events_change_nothing_but_their_number() {
    let unknown = br#"{"type":"vendor.progress","step":{"percent":10},"note":"working"}"#;
    for example in streams().filter(|example| reports_errors(example)) {
        let name = format!("{} {}", example.section, example.path);
        let (right, whole, _) = measure(example, &parts(example), EndCause::Complete);
        for at in 0..=example.events.len() {
            let mut parts = parts(example);
            parts.insert(at, example.framing.wrap(unknown));
            let (outcome, counts, meter) = measure(example, &parts, EndCause::Complete);
            assert_eq!(outcome, right, "{name} with an unknown event at {at}");
            let expected = StreamCounts { events: whole.events + 1, ..whole.clone() };
            assert_eq!(counts, expected, "{name} with an unknown event at {at}");
            assert_eq!(meter.tally().unparsed, 0, "{name} with an unknown event at {at}");
        }
    }
}

/// Each API's whole response, which repeats a stream that had the answer "Hello".
#[test]
fn the_whole_response_after_its_deltas_is_no_new_output() {
    let cases: [(&str, &[&str], &str); 6] = [
        (
            "/v1/chat/completions",
            &[
                r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#,
                r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"}}]}"#,
            ],
            r#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}"#,
        ),
        (
            "/v1/responses",
            &[
                r#"{"type":"response.output_text.delta","output_index":0,"delta":"Hel"}"#,
                r#"{"type":"response.output_text.delta","output_index":0,"delta":"lo"}"#,
            ],
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hello"}]}]}}"#,
        ),
        (
            "/v1/messages",
            &[
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}"#,
            ],
            r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn"}"#,
        ),
        (
            "/v1/chat",
            &[
                r#"{"event_type":"text-generation","text":"Hel"}"#,
                r#"{"event_type":"text-generation","text":"lo"}"#,
            ],
            r#"{"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"Hello"}}"#,
        ),
        (
            "/generate_stream",
            &[
                r#"{"token":{"id":1,"text":"Hel","special":false}}"#,
                r#"{"token":{"id":2,"text":"lo","special":false}}"#,
            ],
            r#"{"token":{"id":3,"text":"</s>","special":true},"generated_text":"Hello","details":{"finish_reason":"eos_token","generated_tokens":3}}"#,
        ),
        (
            "/api/v1/chat",
            &[
                r#"{"type":"message.delta","content":"Hel"}"#,
                r#"{"type":"message.delta","content":"lo"}"#,
            ],
            r#"{"type":"chat.end","result":{"output":[{"type":"message","content":"Hello"}],"stats":{"total_output_tokens":2}}}"#,
        ),
    ];
    for (path, deltas, whole) in cases {
        let example = FormatExample { path, ..super::example::DEFAULTS };
        let events: Vec<Vec<u8>> = deltas
            .iter()
            .chain([&whole])
            .map(|event| example.framing.wrap(event.as_bytes()))
            .collect();
        let (_, counts, _) = measure(&example, &events, EndCause::Complete);
        assert_eq!(counts.chars, [5, 0, 0], "{path}");
        assert_eq!(counts.output_events, 2, "{path}");
        // Alone, it is the output.
        let (_, counts, _) = measure(&example, &events[2..], EndCause::Complete);
        assert_eq!(counts.chars, [5, 0, 0], "{path} alone");
    }
}
