//! Responses whose first bytes, first events or finish reasons need a second look.

use super::*;
use crate::dialect::route::Route;

/// Reads a body in these parts, as the response to a POST on this path.
fn read(
    path: &str,
    content_type: &str,
    coding: &str,
    parts: &[&[u8]],
) -> (ResponseMeter, Vec<String>) {
    let route = Route::find("POST", path);
    let dialect = route.dialect().unwrap_or(&UNKNOWN);
    let mut meter =
        ResponseMeter::new(dialect, content_type.as_bytes(), coding.as_bytes()).unwrap();
    if route.may_be_media() {
        meter.allow_media();
    }
    let mut samples = Vec::new();
    let mut sink = |sample: LiveSample<'_>| samples.push(format!("{sample:?}"));
    for (at, part) in (1..).zip(parts) {
        meter.push(Arrival::on_time(Duration::from_millis(at), at), part, &mut sink);
    }
    meter.finish(true, &mut sink);
    (meter, samples)
}

fn error_kind(path: &str, content_type: &str, body: &str) -> Option<ErrorKind> {
    read(path, content_type, "", &[body.as_bytes()]).0.error_kind(EndCause::Complete)
}

#[test]
fn sound_and_text_that_begin_like_a_field_of_an_event_are_no_stream() {
    for (path, content_type, body) in [
        ("/v1/audio/speech", "audio/pcm", &b":\0\x12\xFF\n\0\x07"[..]),
        ("/v1/audio/transcriptions", "text/plain", b"id: 7 please\n"),
    ] {
        let (meter, samples) = read(path, content_type, "", &[body]);
        assert!(!meter.is_stream() && !meter.needs_terminator(), "{path}");
        assert_eq!(samples, [""; 0], "{path}");
    }
}

#[test]
fn an_array_on_an_unknown_path_is_a_document_unless_its_first_element_is_recognised() {
    let (meter, samples) =
        read("/api/search", "application/json", "", &[br#"[{"id":1},{"id":2},"#, br#"{"id":3}]"#]);
    assert!(!meter.is_stream());
    assert_eq!(samples, [""; 0]);
    let parts = br#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"usageMetadata":{"candidatesTokenCount":1}}]"#;
    let parts: Vec<&[u8]> = parts.chunks(9).collect();
    let (meter, _) = read("/gateway", "application/json", "", &parts);
    assert!(meter.is_stream());
    assert_eq!((meter.dialect(), meter.tally().chars()), (Some("gemini"), 1));
}

#[test]
fn an_empty_part_does_not_hide_that_a_body_is_not_encoded() {
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let (meter, _) = read("/v1/chat/completions", "text/event-stream", "gzip", &[b"", event]);
    assert_eq!((meter.tally().chars(), meter.tally().unparsed), (2, 0));
}

#[test]
fn the_first_bytes_of_a_grpc_message_are_no_byte_order_mark() {
    let body = b"\xEF\xBB\xBF\0\0\0\0\0";
    let read = |parts: &[&[u8]]| read("/v1/embeddings", "application/grpc", "", parts).1;
    let parts: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(read(&[body]), read(&parts));
}

#[test]
fn events_after_many_unknown_ones_still_confirm_the_dialect_of_the_path() {
    let unknown = b"data: {\"status\":\"queued\"}\n\n".repeat(40);
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let (meter, _) = read("/v1/chat/completions", "text/event-stream", "", &[&unknown, event]);
    assert_eq!((meter.dialect(), meter.tally().chars()), (Some("openai-chat"), 2));
    assert!(meter.needs_terminator());
}

#[test]
fn events_that_are_kept_back_are_limited() {
    let (meter, samples) =
        read("/events", "text/event-stream", "", &[&b"data: [DONE]\n\n".repeat(100)]);
    assert!(meter.unrecognised.is_some_and(|events| events.pending.capacity() <= 32));
    let events = samples.iter().filter(|sample| sample.starts_with("UnrecognisedEvent"));
    assert_eq!(events.count(), 100);
}

#[test]
fn a_document_with_nothing_of_its_api_is_trusted_where_its_path_has_several_kinds() {
    for (path, body) in [
        ("/v1/audio/transcriptions", r#"{"text":""}"#),
        ("/ai/run/@cf/baai/bge", r#"{"result":{"shape":[1,2],"data":[[0.1]]},"success":true}"#),
        ("/v1/threads/t/runs", r#"{"object":"thread.run","status":"queued"}"#),
    ] {
        let (meter, samples) = read(path, "application/json", "", &[body.as_bytes()]);
        assert!(!meter.is_unrecognised() && samples.is_empty(), "{path}");
    }
    let (meter, _) = read("/v1/chat/completions", "application/json", "", &[br#"{"word":"a"}"#]);
    assert!(meter.is_unrecognised());
}

#[test]
fn a_document_that_is_too_long_to_be_kept_is_not_recognised_on_an_unknown_path() {
    let text = "x".repeat(70_000);
    let body = format!(
        r#"{{"object":"chat.completion","choices":[{{"message":{{"content":"{text}"}}}}]}}"#
    );
    let (meter, samples) = read("/gateway", "application/json", "", &[body.as_bytes()]);
    assert!(meter.is_unrecognised() && samples.is_empty());
}

#[test]
fn generations_need_content_and_other_responses_do_not() {
    const SSE: &str = "text/event-stream";
    let done = "data: [DONE]\n\n";
    assert_eq!(error_kind("/v1/completions", SSE, done), Some(ErrorKind::NoOutput));
    let tensor = "data: {\"model_name\":\"m\",\"model_version\":\"1\",\"OUTPUT0\":\"Hello\"}\n\n";
    assert_eq!(error_kind("/v2/models/m/generate_stream", SSE, tensor), None);
}
