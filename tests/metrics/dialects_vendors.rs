//! The APIs of Anthropic, Cohere and Google, with bodies split at odd places.

use crate::support::connection::chunk;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

/// The log line of a POST to `path` with this response body.
fn measured(path: &str, content_type: &str, body: &str, outcome: &str) -> Value {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunks: Vec<u8> = body.as_bytes().chunks(37).flat_map(chunk).collect();
    let answer = [head.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat();
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, "", br#"{"messages":[]}"#));
    assert_eq!(client.read_message().data(), body.as_bytes());
    gauge.assert_single_request(outcome)
}

fn assert_measured(path: &str, content_type: &str, body: &str, outcome: &str, expected: Value) {
    let record = measured(path, content_type, body, outcome);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(record[key], *value, "{key} of {record}");
    }
}

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json; charset=UTF-8";

fn sse(events: &[(&str, Value)], end: &str) -> String {
    let event = |(name, data): &(&str, Value)| format!("event: {name}{end}data: {data}{end}{end}");
    events.iter().map(event).collect()
}

/// Anthropic, "Streaming messages".
#[test]
fn anthropic_is_measured() {
    let usage = json!({"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1});
    let mut events = vec![
        (
            "message_start",
            json!({"type": "message_start", "message": {"model": "c", "content": [], "usage": usage}}),
        ),
        ("ping", json!({"type": "ping"})),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hmm"}}),
        ),
        (
            "content_block_delta",
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hé!"}}),
        ),
    ];
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error"}});
    let failed = sse(&[&events[..], &[("error", overloaded)]].concat(), "\n");
    let expected = json!({
        "dialect": "anthropic-messages", "input_tokens": 12, "output_events": 2,
        "output_tokens": 2, "output_tokens_source": "events",
    });
    assert_measured("/v1/messages", SSE, &failed, "stream_error", expected);
    let cut = sse(&events, "\n");
    assert_measured("/v1/messages", SSE, &cut, "truncated", json!({"output_events": 2}));

    events.push(("message_delta", json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})));
    events.push(("message_stop", json!({"type": "message_stop"})));
    let expected = json!({
        "path": "/v1/messages", "operation": "chat", "dialect": "anthropic-messages", "stream": true,
        "response_model": "c", "input_tokens": 12, "cached_tokens": 7, "output_tokens": 9,
        "output_tokens_source": "usage", "events": 6, "output_events": 2, "first_output_event": 2,
        "last_output_event": 3, "reasoning_chars": 3, "answer_chars": 3,
        "finish_reasons": ["end_turn"], "unparsed": 0,
    });
    assert_measured("/v1/messages", SSE, &sse(&events, "\n"), "ok", expected);

    let message = json!({"type": "message", "model": "c", "content": [{"type": "text", "text": "Hé!"}], "stop_reason": "end_turn", "usage": {"input_tokens": 5, "output_tokens": 9}});
    let expected = json!({
        "stream": false, "model": "claude@1", "answer_chars": 3, "output_tokens": 9,
        "finish_reasons": ["end_turn"],
    });
    let path = "/v1/projects/p/locations/l/publishers/anthropic/models/claude@1:rawPredict";
    assert_measured(path, JSON, &message.to_string(), "ok", expected);

    let events = [
        ("completion", json!({"type": "completion", "completion": " Light", "stop_reason": null})),
        (
            "completion",
            json!({"type": "completion", "completion": "", "stop_reason": "stop_sequence"}),
        ),
    ];
    let expected = json!({
        "operation": "text_completion", "dialect": "anthropic-complete", "answer_chars": 6,
        "output_tokens": 1, "output_tokens_source": "events", "finish_reasons": ["stop_sequence"],
    });
    assert_measured("/v1/complete", SSE, &sse(&events, "\r\n"), "ok", expected);
}

/// Cohere, "Chat API" and "Embed API" in both versions.
#[test]
fn cohere_is_measured() {
    let usage = json!({"billed_units": {"input_tokens": 1, "output_tokens": 2}, "tokens": {"input_tokens": 5, "output_tokens": 9}});
    let events = [
        (
            "message-start",
            json!({"type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}}),
        ),
        (
            "content-delta",
            json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hé!"}}}}),
        ),
        (
            "message-end",
            json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
        ),
    ];
    let expected = json!({
        "dialect": "cohere-v2", "answer_chars": 3, "input_tokens": 5, "output_tokens": 9,
        "first_output_event": 1, "events": 4, "finish_reasons": ["COMPLETE"],
    });
    let body = sse(&events, "\n") + chat::DONE;
    assert_measured("/cohere/v2/chat", SSE, &body, "ok", expected);

    let lines = [
        json!({"event_type": "stream-start", "generation_id": "g"}),
        json!({"event_type": "text-generation", "text": "Hé!"}),
        json!({"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"text": "Hé!", "meta": usage}}),
    ];
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let expected = json!({
        "dialect": "cohere-v1", "stream": true, "answer_chars": 3, "output_tokens": 9, "events": 3,
    });
    assert_measured("/v1/chat", "application/stream+json", &body, "ok", expected);
    let body = [chat::content_event("Hé!"), chat::finish_event(), chat::DONE.into()].concat();
    let expected = json!({"dialect": "openai-chat", "answer_chars": 3, "output_events": 1});
    assert_measured("/v1/chat", SSE, &body, "ok", expected);

    let body =
        json!({"embeddings": {"float": [[0.1]]}, "meta": {"billed_units": {"input_tokens": 3}}});
    let expected = json!({"operation": "embeddings", "input_tokens": 3, "output_tokens": null});
    assert_measured("/v2/embed", JSON, &body.to_string(), "ok", expected);
}

/// Google, "GenerateContentResponse" and "Interactions API".
#[test]
fn gemini_is_measured() {
    let events = [
        json!({"candidates": [{"content": {"parts": [{"text": "Hmm", "thought": true}]}, "index": 0}], "usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": 4}, "modelVersion": "g"}),
        json!({"candidates": [{"content": {"parts": [{"text": "Hé!"}]}, "finishReason": "STOP", "index": 0}], "usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": 4, "candidatesTokenCount": 3}}),
    ];
    let expected = json!({
        "path": "/models/{model}:streamGenerateContent", "operation": "generate_content",
        "dialect": "gemini", "model": "gem", "response_model": "g", "engine": "gcp.gemini",
        "stream": true, "input_tokens": 5, "output_tokens": 7, "reasoning_tokens": 4, "events": 2,
        "output_events": 2, "answer_chars": 3, "reasoning_chars": 3, "finish_reasons": ["STOP"],
    });
    let path = "/v1beta/models/gem:streamGenerateContent";
    let body: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    assert_measured(path, "text/event-stream", &body, "ok", expected.clone());
    let body = format!("[{:#}\n,\r\n{:#}\n]\n", events[0], events[1]);
    assert_measured(path, JSON, &body, "ok", expected);
    let error = json!([events[0], {"error": {"code": 503, "status": "UNAVAILABLE"}}]).to_string();
    assert_measured(path, JSON, &error, "stream_error", json!({"events": 2, "output_events": 1}));

    let expected = json!({"stream": false, "answer_chars": 3, "output_tokens": 7, "events": null});
    let path = "/v1beta/models/gem:generateContent";
    assert_measured(path, JSON, &events[1].to_string(), "ok", expected);

    let events = [
        (
            "interaction.created",
            json!({"event_type": "interaction.created", "interaction": {"status": "in_progress", "model": "g"}}),
        ),
        (
            "step.delta",
            json!({"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "Hé!"}}),
        ),
        (
            "interaction.completed",
            json!({"event_type": "interaction.completed", "interaction": {"status": "completed", "usage": {"total_input_tokens": 5, "total_output_tokens": 3, "total_thought_tokens": 4}}}),
        ),
    ];
    let body = sse(&events, "\n") + "event: done\ndata: [DONE]\n\n";
    let expected = json!({
        "dialect": "gemini-interactions", "response_model": "g", "output_tokens": 7, "events": 4,
        "output_events": 1, "finish_reasons": ["completed"],
    });
    assert_measured("/v1beta/interactions", SSE, &body, "ok", expected);
}
