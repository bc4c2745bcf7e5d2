//! OpenAI's APIs other than chat: fields of the request log.

use crate::support::connection::chunk;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

/// Responds to a request for this path with this body, in chunks of 13 bytes. Returns the log line.
fn recorded(request: &str, content_type: &str, body: &str) -> Value {
    let chunks: Vec<u8> = body.as_bytes().chunks(13).flat_map(chunk).collect();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let answer = [head.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat();
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    match request.split_once(' ') {
        Some(("GET", path)) => client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")),
        _ => client.send(chat::post(request, "", b"{\"model\":\"m\"}")),
    }
    let message = client.read_message();
    assert_eq!(message.data(), body.as_bytes(), "{request}");
    gauge.assert_single_request("ok")
}

/// Events without an `event` field.
fn events(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

fn assert_recorded(request: &str, content_type: &str, body: &str, expected: Value) {
    let record = recorded(request, content_type, body);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&record[key], value, "{key} of {request} {content_type}: {record}");
    }
}

#[test]
fn responses_are_measured() {
    let delta = |kind: &str| json!({"type": kind, "output_index": 0, "delta": "Hé"});
    let usage = json!({"input_tokens": 9, "output_tokens": 7, "total_tokens": 16,
        "output_tokens_details": {"reasoning_tokens": 3}});
    let output = json!([{"type": "message", "content": [{"type": "output_text", "text": "Hé"}]}]);
    let response = json!({"object": "response", "status": "completed", "model": "m-1",
        "output": output, "usage": usage});
    let stream = events(&[
        json!({"type": "response.created", "response": {"status": "in_progress", "output": []}}),
        delta("response.reasoning_summary_text.delta"),
        delta("response.output_text.delta"),
        delta("response.output_text.delta"),
        json!({"type": "response.output_text.done", "output_index": 0, "text": "HéHé"}),
        json!({"type": "response.completed", "response": response}),
    ]);
    let reported = json!({"path": "/v1/responses", "operation": "chat", "dialect": "openai-responses",
        "response_model": "m-1", "input_tokens": 9, "output_tokens": 7, "reasoning_tokens": 3,
        "output_tokens_source": "usage", "finish_reasons": ["completed"], "unparsed": 0});
    let streamed = json!({"stream": true, "events": 6, "output_events": 3, "first_output_event": 1,
        "last_output_event": 3, "answer_chars": 4, "reasoning_chars": 2});
    for expected in [&reported, &streamed] {
        assert_recorded("/openai/v1/responses", SSE, &stream, expected.clone());
    }
    let whole = json!({"stream": false, "answer_chars": 2, "ttft_s": null});
    for expected in [&reported, &whole] {
        assert_recorded("/v1/responses", JSON, &response.to_string(), expected.clone());
    }
}

#[test]
fn assistant_runs_are_measured() {
    let stream = "event: thread.run.created\ndata: {\"status\":\"queued\",\"model\":\"m-1\"}\n\n\
        event: thread.message.delta\n\
        data: {\"delta\":{\"content\":[{\"type\":\"text\",\"text\":{\"value\":\"Hey\"}}]}}\n\n\
        event: thread.run.completed\n\
        data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n\
        event: done\ndata: [DONE]\n\n";
    let expected = json!({"path": "/v1/threads/*/runs", "dialect": "openai-assistants",
        "first_output_event": 1, "answer_chars": 3, "output_tokens": 2,
        "finish_reasons": ["completed"]});
    assert_recorded("/v1/threads/thread_1/runs", SSE, stream, expected);
}

#[test]
fn audio_and_images_are_measured() {
    let transcript = events(&[
        json!({"type": "transcript.text.delta", "delta": "Hey"}),
        json!({"type": "transcript.text.done", "text": "Hey",
            "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 2}}),
    ]);
    let expected = json!({"operation": "transcription", "dialect": "openai-transcription",
        "stream": true, "answer_chars": 3, "input_tokens": 14, "output_tokens": 2});
    assert_recorded("/v1/audio/transcriptions", SSE, &transcript, expected);
    // Plain text can start like an event stream, and audio like anything.
    let unread = json!({"stream": false, "events": null, "unparsed": 0, "ttft_s": null});
    assert_recorded("/v1/audio/transcriptions", "text/plain", "event horizon", unread.clone());
    assert_recorded("/v1/audio/speech", "audio/mpeg", "ID3{", unread.clone());
    assert_recorded("/v1/audio/speech", "application/octet-stream", "{\u{1}", unread);
    let speech = events(&[
        json!({"type": "speech.audio.delta", "audio": "AAAA"}),
        json!({"type": "speech.audio.done", "usage": {"input_tokens": 4, "output_tokens": 9}}),
    ]);
    let expected = json!({"operation": "speech", "first_output_event": 0, "output_events": 1,
        "answer_chars": 0, "output_tokens": 9});
    assert_recorded("/v1/audio/speech", SSE, &speech, expected);
    let images = events(&[
        json!({"type": "image_generation.partial_image", "b64_json": "iVBO"}),
        json!({"type": "image_generation.completed", "b64_json": "iVBP",
            "usage": {"input_tokens": 50, "output_tokens": 60}}),
    ]);
    let expected = json!({"operation": "image", "output_events": 2, "output_tokens": 60});
    assert_recorded("/v1/images/generations", SSE, &images, expected);
}

#[test]
fn embeddings_and_scores_have_no_output_tokens() {
    let body = json!({"model": "e", "data": [{"embedding": [0.5, -1e-3]}],
        "usage": {"prompt_tokens": 8, "total_tokens": 8}});
    let read = |operation: &str, dialect: &str| {
        json!({"operation": operation, "dialect": dialect, "input_tokens": 8,
        "output_tokens": null, "stream": false, "unparsed": 0})
    };
    for (path, expected) in [
        ("/v1/embeddings", read("embeddings", "openai-embeddings")),
        ("/v2/rerank", read("rerank", "pooling")),
        ("/score", read("score", "pooling")),
        ("/v1/moderations", read("moderation", "pooling")),
        ("/tokenize", json!({"operation": "tokenize", "dialect": null, "input_tokens": null})),
    ] {
        assert_recorded(path, JSON, &body.to_string(), expected);
    }
}

#[test]
fn replicate_predictions_are_measured() {
    let stream = ": hi\n\nevent: output\nid: 1:0\ndata: \n\nevent: output\nid: 1:1\ndata: Hé\ndata: {\n\n\
        event: done\nid: 1:2\ndata: {}\n\n";
    let expected = json!({"path": "/v1/streams/*", "dialect": "replicate", "events": 3,
        "output_events": 1, "first_output_event": 1, "answer_chars": 4, "finish_reasons": ["done"],
        "unparsed": 0});
    assert_recorded("GET /v1/streams/abc", SSE, stream, expected);
}
