//! Tests of every API: the records equal what a client reads, streamed or not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::test_server::*;
use crate::server::*;
use crate::truth::{TruthEnd, TruthRecord};

/// How a stream is split into JSON documents.
#[derive(Clone, Copy, Debug)]
enum StreamCut {
    Events,
    Lines,
    /// One array element per HTTP chunk.
    Elements,
    /// Binary frames with JSON payloads.
    Frames,
    /// Binary frames whose JSON payload contains base64-encoded JSON.
    Wrapped,
}

/// An API, the places of its texts, and the counts that it reports. Streams send every token except those of tools.
struct ApiCase {
    stream: &'static str,
    whole: &'static str,
    cut: StreamCut,
    answer: &'static str,
    reasoning: Option<&'static str>,
    /// Whether it reports input, output, cached and reasoning tokens.
    reports: [bool; 4],
}

const fn row(
    (stream, whole): (&'static str, &'static str),
    cut: StreamCut,
    answer: &'static str,
    reasoning: Option<&'static str>,
    reports: [bool; 4],
) -> ApiCase {
    ApiCase { stream, whole, cut, answer, reasoning, reports }
}

const ALL: [bool; 4] = [true; 4];
const NOTHING: [bool; 4] = [false; 4];
const NO_REASONING: [bool; 4] = [true, true, true, false];
const NO_CACHE: [bool; 4] = [true, true, false, false];

#[rustfmt::skip]
const ROWS: [ApiCase; 15] = [
    row(("/v1/chat/completions", "/v1/chat/completions"), StreamCut::Events,
        "/choices/0/delta/content", Some("/choices/0/delta/reasoning_content"), ALL),
    row(("/v1/messages", "/v1/messages"), StreamCut::Events, "/delta/text", Some("/delta/thinking"), NO_REASONING),
    row(("/v1/complete", "/v1/complete"), StreamCut::Events, "/completion", None, NOTHING),
    row(("/api/chat", "/api/chat"), StreamCut::Lines, "/message/content", Some("/message/thinking"), NO_CACHE),
    row(("/api/generate", "/api/generate"), StreamCut::Lines, "/response", Some("/thinking"), NO_CACHE),
    row(("/generate_stream", "/generate"), StreamCut::Events, "/token/text", None, NO_CACHE),
    row(("/completion", "/completion"), StreamCut::Events, "/content", None, NO_REASONING),
    row(("/infill", "/infill"), StreamCut::Events, "/content", None, NO_REASONING),
    row(("/v2/models/m/generate_stream", "/v2/models/m/generate"), StreamCut::Events, "/text_output", None, NOTHING),
    row(("/v2/chat", "/v2/chat"), StreamCut::Events, "/delta/message/content/text",
        Some("/delta/message/content/thinking"), ALL),
    row(("/v1/chat", "/v1/chat"), StreamCut::Lines, "/text", None, NO_CACHE),
    row(("/v1beta/models/m:streamGenerateContent?alt=sse", "/v1beta/models/m:generateContent"), StreamCut::Events,
        "/candidates/0/content/parts/0/text", None, ALL),
    row(("/v1beta/models/m:streamGenerateContent", "/v1beta/models/m:generateContent"), StreamCut::Elements,
        "/candidates/0/content/parts/0/text", None, ALL),
    row(("/model/m/converse-stream", "/model/m/converse"), StreamCut::Frames,
        "/delta/text", Some("/delta/reasoningContent/text"), NO_REASONING),
    row(("/model/m/invoke-with-response-stream", "/model/m/invoke"), StreamCut::Wrapped,
        "/delta/text", Some("/delta/thinking"), NO_REASONING),
];

fn cut(response: &ObservedResponse, cut: StreamCut) -> Vec<Value> {
    let payload = |frame: &Bytes| -> Value {
        let frame = frame.as_ref();
        let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(word(0), frame.len(), "one frame to an HTTP chunk");
        assert_eq!(word(8) as u32, crc32fast::hash(&frame[..8]));
        assert_eq!(word(frame.len() - 4) as u32, crc32fast::hash(&frame[..frame.len() - 4]));
        serde_json::from_slice(&frame[12 + word(4)..frame.len() - 4]).unwrap()
    };
    let element = |frame: &Bytes| -> Value {
        let text = std::str::from_utf8(frame).unwrap();
        let text = text.trim_start_matches(['[', ',', '\r', '\n']).trim_end_matches(']');
        serde_json::from_str(text).unwrap()
    };
    match cut {
        StreamCut::Events => response.data(),
        StreamCut::Lines => response.lines(),
        StreamCut::Elements => {
            let whole: Value = serde_json::from_str(&response.text).unwrap();
            let elements: Vec<Value> = response.frames.iter().map(element).collect();
            assert_eq!(whole, Value::Array(elements.clone()));
            elements
        }
        StreamCut::Frames => response.frames.iter().map(payload).collect(),
        StreamCut::Wrapped => {
            let frames = response.frames.iter().map(payload);
            let inner = frames.map(|frame| STANDARD.decode(frame["bytes"].as_str().unwrap()));
            inner.map(|json| serde_json::from_slice(&json.unwrap()).unwrap()).collect()
        }
    }
}

fn body(stream: bool) -> Value {
    json!({
        "stream": stream, "stream_options": {"include_usage": true}, "parameters": {"details": true},
        "sim": {
            "prompt_tokens": 40, "cached_tokens": 7, "cache_written_tokens": 5, "output_tokens": 12,
            "reasoning_tokens": 6,
        },
    })
}

fn check_reported(record: &TruthRecord, reports: [bool; 4], name: &str) {
    let reported = record.reported;
    let found = [
        reported.input_tokens,
        reported.output_tokens,
        reported.cached_tokens,
        reported.reasoning_tokens,
    ];
    let truth = [40, record.output_tokens, 7, record.reasoning_tokens];
    for ((found, truth), reports) in found.into_iter().zip(truth).zip(reports) {
        assert_eq!(found, reports.then_some(truth), "{name}: {reported:?}");
    }
}

#[tokio::test]
async fn streams_equal_their_records() {
    let server = start(quick()).await;
    for ApiCase { stream, cut: by, answer, reasoning, reports, .. } in ROWS {
        let mut body = body(true);
        if stream == "/generate_stream" {
            body["inputs"] = json!("x");
        }
        let (response, record) = server.post(stream, body).await;
        assert_eq!(
            (response.status, response.complete, record.end),
            (200, true, TruthEnd::Finished),
            "{stream}"
        );
        let events = cut(&response, by);
        let thinks = |event: &&Value| {
            event.pointer("/candidates/0/content/parts/0/thought") == Some(&json!(true))
        };
        let (thoughts, text_of): (Vec<&Value>, Vec<&Value>) = events.iter().partition(thinks);
        let mut reasoned = joined(thoughts, answer);
        reasoned += &reasoning.map(|at| joined(&events, at)).unwrap_or_default();
        assert_eq!(record.answer_chars, chars(&joined(text_of, answer)), "{stream}");
        assert_eq!(record.reasoning_chars, chars(&reasoned), "{stream}");
        let expected = if record.reasoning_chars > 0 { 18 } else { 12 };
        assert_eq!((record.output_tokens, record.output_events), (expected, expected), "{stream}");
        assert_eq!(record.generated_tokens, expected, "{stream}");
        assert!(record.stream && record.ttft_s.unwrap() >= 0.02, "{stream}: {record:?}");
        let tpot = record.tpot_s.unwrap();
        assert!((0.004..0.009).contains(&tpot), "{stream}: 5 ms a token: {tpot}");
        check_reported(&record, reports, stream);
        assert!(record.dialect.is_some(), "{stream}");
    }
}

#[tokio::test]
async fn responses_without_streaming_equal_their_records() {
    let server = start(quick()).await;
    for ApiCase { whole, reports, .. } in ROWS {
        let mut body = body(false);
        if whole == "/generate" {
            body["inputs"] = json!("x");
        }
        let (response, record) = server.post(whole, body).await;
        let (text, answer) = (response.json().to_string(), record.answer_chars);
        assert_eq!(
            (response.status, record.end, record.stream),
            (200, TruthEnd::Finished, false),
            "{whole}"
        );
        assert!(answer > 12 && (text.chars().count() as u64) > answer, "{whole}: {text}");
        check_reported(&record, if whole == "/generate" { NO_CACHE } else { reports }, whole);
        assert!(record.latency_s.unwrap() >= 0.02 + 11.0 * 0.005, "{whole}");
    }
}

#[tokio::test]
async fn scripts_apply_to_every_api() {
    let server = start(quick()).await;
    for ApiCase { stream, .. } in ROWS {
        let request = |sim: Value| json!({"stream": true, "inputs": "x", "sim": sim});
        let (response, record) =
            server.post(stream, request(json!({"output_tokens": 9, "error_after": 3}))).await;
        assert_eq!(
            (response.status, record.end, record.output_tokens),
            (200, TruthEnd::Errored, 3),
            "{stream}"
        );
        assert!(response.complete, "{stream}");
        let (response, record) =
            server.post(stream, request(json!({"output_tokens": 9, "break_after": 3}))).await;
        assert_eq!((record.end, record.output_tokens), (TruthEnd::Broken, 3), "{stream}");
        assert!(!response.complete, "{stream}");
        let (_, record) =
            server.post(stream, request(json!({"output_tokens": 9, "tokens_per_event": 4}))).await;
        assert_eq!((record.output_tokens, record.output_events), (9, 3), "{stream}");
    }
}

#[tokio::test]
async fn rejections_have_the_format_of_the_api() {
    let server = start(EngineSpec { slots: 1, queue_limit: Some(0), ..quick() }).await;
    let long = json!({"stream": true, "prompt": "x", "sim": {"output_tokens": 1000}});
    let held = server.send("POST", "/v1/completions", &long).await;
    let table = [
        ("/v1/chat/completions", 503, "/error/type", "QueueOverflowError"),
        ("/v1/messages", 529, "/error/type", "overloaded_error"),
        (
            "/api/chat",
            503,
            "/error",
            "server busy, please try again.  maximum pending requests exceeded",
        ),
        ("/generate", 429, "/error_type", "overloaded"),
        ("/v2/models/m/generate", 503, "/error", "Exceeds maximum queue size"),
        ("/v2/chat", 429, "/message", "too many requests"),
        ("/v1beta/models/m:generateContent", 503, "/error/status", "UNAVAILABLE"),
        ("/model/m/converse", 429, "/message", "Too many requests, please wait."),
    ];
    for (path, status, at, words) in table {
        let (response, record) = server.post(path, json!({"inputs": "x", "stream": false})).await;
        assert_eq!((response.status, record.status), (status, Some(status)), "{path}");
        assert_eq!(response.json().pointer(at), Some(&json!(words)), "{path}: {}", response.text);
        assert_eq!(record.end, TruthEnd::Rejected, "{path}");
    }
    // APIs that send their headers before validation.
    for (path, more) in [
        ("/generate_stream", json!({"inputs": "x"})),
        ("/generate", json!({"text": "x"})),
        ("/v1/chat/completions", json!({"sim": {"flavor": "sglang"}})),
    ] {
        let mut body = json!({"stream": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (response, record) = server.post(path, body).await;
        assert_eq!((response.status, record.end), (200, TruthEnd::Errored), "{path}");
        assert!(!response.data()[0]["error"].is_null(), "{path}: {}", response.text);
    }
    drop(held);
}
