//! Responses on unknown paths, of no known API, and of raw audio: what is measured and what is not.

use crate::support::connection::chunk;
use crate::support::{MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

const SSE: &str = "text/event-stream";

/// Requests this path with POST. The upstream responds with this body, one chunk for each part. Returns the metrics and
/// the log line.
fn measured(path: &str, content_type: &str, parts: &[&[u8]]) -> (MetricsScrape, Value) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunks: Vec<u8> = parts.iter().flat_map(chunk).collect();
    let answer = [head.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat();
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, "", br#"{"model":"m","stream":true}"#));
    assert_eq!(client.read_message().data(), parts.concat(), "the body was changed");
    let record = gauge.requests_when(1).remove(0);
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    (scrape, record)
}

#[test]
fn a_recognised_stream_has_the_operation_of_its_api() {
    let events = [chat::content_event("Hi"), chat::DONE.into()];
    let parts: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
    let (scrape, record) = measured("/my/gateway", SSE, &parts);
    let labels = ["gen_ai_operation_name=\"chat\"", "gen_ai_request_model=\"m\""];
    for family in [
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_request_duration_seconds_count",
        "streamgauge_requests_total",
    ] {
        assert_eq!(scrape.sum(family, &labels), 1.0, "{family}");
    }
    // They are counted before the response arrives.
    let other = ["gen_ai_operation_name=\"other\""];
    assert_eq!(scrape.sum("streamgauge_arrivals_total", &other), 1.0);
    let found = [&record["operation"], &record["dialect"], &record["path"], &record["model"]];
    assert_eq!(found, [&json!("chat"), &json!("openai-chat"), &json!("other"), &json!("m")]);
}

#[test]
fn a_recognised_document_has_the_operation_of_its_api() {
    let document =
        br#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"Hi"},
        "finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let (scrape, record) = measured("/my/gateway", "application/json", &[document]);
    let labels = ["gen_ai_operation_name=\"chat\""];
    assert_eq!(scrape.sum("gen_ai_server_request_duration_seconds_count", &labels), 1.0);
    assert_eq!(scrape.sum("streamgauge_tokens_total", &["type=\"input\""]), 3.0);
    assert_eq!((&record["operation"], &record["stream"]), (&json!("chat"), &json!(false)));
}

#[test]
fn other_documents_on_unknown_paths_are_no_inference() {
    let (scrape, record) = measured("/my/files", "application/json", &[br#"{"id":"file-1"}"#]);
    assert_eq!((&record["operation"], &record["unparsed"]), (&json!("other"), &json!(0)));
    assert!(!scrape.has("gen_ai_server_request_duration_seconds_count"));
}

#[test]
fn a_stream_in_no_known_format_is_described_but_has_no_tokens() {
    let events: [&[u8]; 3] = [
        b"data: {\"word\":\"a\"}\n\n",
        b"data: {\"word\":\"b\"}\n\n",
        b"data: {\"word\":\"c\"}\n\n",
    ];
    for (path, operation) in [("/my/words", "other"), ("/v1/chat/completions", "chat")] {
        let (scrape, record) = measured(path, SSE, &events);
        assert_eq!((&record["outcome"], &record["operation"]), (&json!("ok"), &json!(operation)));
        assert_eq!((&record["dialect"], &record["unparsed"]), (&Value::Null, &json!(1)), "{path}");
        assert!(record["first_event_s"].is_number(), "{path}");
        for (family, expected) in [
            ("streamgauge_unrecognised_time_to_first_event_seconds_count", 1.0),
            ("streamgauge_unrecognised_event_gap_seconds_count", 2.0),
            ("streamgauge_unrecognised_stream_duration_seconds_count", 1.0),
            ("streamgauge_unrecognised_bytes_total", events.concat().len() as f64),
        ] {
            let label = format!("gen_ai_operation_name=\"{operation}\"");
            assert_eq!(scrape.sum(family, &[&label]), expected, "{path} {family}");
        }
        let reason = ["reason=\"unrecognised\""];
        assert_eq!(scrape.sum("streamgauge_unparsed_total", &reason), 1.0, "{path}");
        assert!(!scrape.has("gen_ai_server_time_to_first_token_seconds_count"), "{path}");
        assert_eq!(scrape.sum("streamgauge_slo_requests_total", &["met=\"true\""]), 0.0, "{path}");
        assert_eq!(scrape.sum("streamgauge_slo_requests_total", &["met=\"false\""]), 0.0, "{path}");
    }
}

#[test]
fn raw_audio_has_a_time_to_its_first_sound() {
    let pcm: [&[u8]; 2] = [&[0, 1, 2, 3], &[4, 5]];
    let header = [b"RIFF".as_slice(), &[0; 40]].concat();
    let wav: [&[u8]; 2] = [&header, &[7, 8]];
    for (content_type, parts) in [("audio/pcm", pcm), ("audio/wav", wav)] {
        let (scrape, record) = measured("/v1/audio/speech", content_type, &parts);
        let first = record["first_audio_s"].as_f64().unwrap();
        assert!(first >= record["first_byte_s"].as_f64().unwrap(), "{content_type}: {record}");
        let labels = ["gen_ai_operation_name=\"speech\""];
        let family = "streamgauge_time_to_first_audio_seconds_count";
        assert_eq!(scrape.sum(family, &labels), 1.0, "{content_type}");
        assert_eq!(record["unparsed"], 0, "{content_type}");
    }
    // A header without sound.
    let (scrape, record) = measured("/v1/audio/speech", "audio/wav", &[&header]);
    assert_eq!(record["first_audio_s"], Value::Null);
    assert!(!scrape.has("streamgauge_time_to_first_audio_seconds_count"));
}
