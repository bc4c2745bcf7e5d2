//! What holds of every API: the truth is what a client can read, streamed or not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::rig::*;
use crate::server::*;
use crate::truth::{TruthEnd, TruthRecord};

/// How a stream is cut into JSON.
#[derive(Clone, Copy, Debug)]
enum StreamCut {
    Events,
    Lines,
    /// One element of an array to an HTTP chunk.
    Elements,
    /// Binary frames, of which the payload is it.
    Frames,
    /// The same, with another JSON in base64 in it.
    Wrapped,
}

/// An API, where the texts are in its events, and what it tells. Its streams send every token but those of a tool.
struct ApiCase {
    stream: &'static str,
    whole: &'static str,
    cut: StreamCut,
    answer: &'static str,
    reasoning: Option<&'static str>,
    /// Input, output, cached, reasoning.
    tells: [bool; 4],
}

const fn row(
    (stream, whole): (&'static str, &'static str),
    cut: StreamCut,
    answer: &'static str,
    reasoning: Option<&'static str>,
    tells: [bool; 4],
) -> ApiCase {
    ApiCase { stream, whole, cut, answer, reasoning, tells }
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

fn cut(seen: &ObservedResponse, cut: StreamCut) -> Vec<Value> {
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
        StreamCut::Events => seen.data(),
        StreamCut::Lines => seen.lines(),
        StreamCut::Elements => {
            let whole: Value = serde_json::from_str(&seen.text).unwrap();
            let elements: Vec<Value> = seen.frames.iter().map(element).collect();
            assert_eq!(whole, Value::Array(elements.clone()));
            elements
        }
        StreamCut::Frames => seen.frames.iter().map(payload).collect(),
        StreamCut::Wrapped => {
            let frames = seen.frames.iter().map(payload);
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

fn check_told(record: &TruthRecord, tells: [bool; 4], name: &str) {
    let told = record.reported;
    let found = [told.input_tokens, told.output_tokens, told.cached_tokens, told.reasoning_tokens];
    let truth = [40, record.output_tokens, 7, record.reasoning_tokens];
    for ((found, truth), tells) in found.into_iter().zip(truth).zip(tells) {
        assert_eq!(found, tells.then_some(truth), "{name}: {told:?}");
    }
}

#[tokio::test]
async fn streams_are_what_the_truth_says() {
    let rig = rig(quick()).await;
    for ApiCase { stream, cut: by, answer, reasoning, tells, .. } in ROWS {
        let mut body = body(true);
        if stream == "/generate_stream" {
            body["inputs"] = json!("x");
        }
        let (seen, record) = rig.post(stream, body).await;
        assert_eq!(
            (seen.status, seen.complete, record.end),
            (200, true, TruthEnd::Finished),
            "{stream}"
        );
        let events = cut(&seen, by);
        let thinks = |event: &&Value| {
            event.pointer("/candidates/0/content/parts/0/thought") == Some(&json!(true))
        };
        let (thoughts, said): (Vec<&Value>, Vec<&Value>) = events.iter().partition(thinks);
        let mut reasoned = joined(thoughts, answer);
        reasoned += &reasoning.map(|at| joined(&events, at)).unwrap_or_default();
        assert_eq!(record.answer_chars, chars(&joined(said, answer)), "{stream}");
        assert_eq!(record.reasoning_chars, chars(&reasoned), "{stream}");
        let expected = if record.reasoning_chars > 0 { 18 } else { 12 };
        assert_eq!((record.output_tokens, record.output_events), (expected, expected), "{stream}");
        assert_eq!(record.generated_tokens, expected, "{stream}");
        assert!(record.stream && record.ttft_s.unwrap() >= 0.02, "{stream}: {record:?}");
        let tpot = record.tpot_s.unwrap();
        assert!((0.004..0.009).contains(&tpot), "{stream}: 5 ms a token: {tpot}");
        check_told(&record, tells, stream);
        assert!(record.dialect.is_some(), "{stream}");
    }
}

#[tokio::test]
async fn whole_answers_are_what_the_truth_says() {
    let rig = rig(quick()).await;
    for ApiCase { whole, tells, .. } in ROWS {
        let mut body = body(false);
        if whole == "/generate" {
            body["inputs"] = json!("x");
        }
        let (seen, record) = rig.post(whole, body).await;
        let (text, answer) = (seen.json().to_string(), record.answer_chars);
        assert_eq!(
            (seen.status, record.end, record.stream),
            (200, TruthEnd::Finished, false),
            "{whole}"
        );
        assert!(answer > 12 && (text.chars().count() as u64) > answer, "{whole}: {text}");
        check_told(&record, if whole == "/generate" { NO_CACHE } else { tells }, whole);
        assert!(record.latency_s.unwrap() >= 0.02 + 11.0 * 0.005, "{whole}");
    }
}

#[tokio::test]
async fn scripts_work_in_every_api() {
    let rig = rig(quick()).await;
    for ApiCase { stream, .. } in ROWS {
        let ask = |sim: Value| json!({"stream": true, "inputs": "x", "sim": sim});
        let (seen, record) =
            rig.post(stream, ask(json!({"output_tokens": 9, "error_after": 3}))).await;
        assert_eq!(
            (seen.status, record.end, record.output_tokens),
            (200, TruthEnd::Errored, 3),
            "{stream}"
        );
        assert!(seen.complete, "{stream}");
        let (seen, record) =
            rig.post(stream, ask(json!({"output_tokens": 9, "break_after": 3}))).await;
        assert_eq!((record.end, record.output_tokens), (TruthEnd::Broken, 3), "{stream}");
        assert!(!seen.complete, "{stream}");
        let (_, record) =
            rig.post(stream, ask(json!({"output_tokens": 9, "tokens_per_event": 4}))).await;
        assert_eq!((record.output_tokens, record.output_events), (9, 3), "{stream}");
    }
}

#[tokio::test]
async fn refusals_are_in_the_words_of_the_api() {
    let rig = rig(EngineSpec { slots: 1, queue_limit: Some(0), ..quick() }).await;
    let long = json!({"stream": true, "prompt": "x", "sim": {"output_tokens": 1000}});
    let held = rig.send("POST", "/v1/completions", &long).await;
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
        let (seen, record) = rig.post(path, json!({"inputs": "x", "stream": false})).await;
        assert_eq!((seen.status, record.status), (status, Some(status)), "{path}");
        assert_eq!(seen.json().pointer(at), Some(&json!(words)), "{path}: {}", seen.text);
        assert_eq!(record.end, TruthEnd::Rejected, "{path}");
    }
    // Those whose head is out before they know.
    for (path, more) in [
        ("/generate_stream", json!({"inputs": "x"})),
        ("/generate", json!({"text": "x"})),
        ("/v1/chat/completions", json!({"sim": {"flavor": "sglang"}})),
    ] {
        let mut body = json!({"stream": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (seen, record) = rig.post(path, body).await;
        assert_eq!((seen.status, record.end), (200, TruthEnd::Errored), "{path}");
        assert!(!seen.data()[0]["error"].is_null(), "{path}: {}", seen.text);
    }
    drop(held);
}
