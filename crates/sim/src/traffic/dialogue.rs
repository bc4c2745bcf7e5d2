//! Requests of clients in each API, and the check for complete responses.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{PlannedRequest, TrafficApi};

/// Number of bytes at the end of a stream that show whether it is complete. TGI's last event repeats the text.
pub(super) const LONGEST_END: usize = 32 * 1024;

pub(super) fn path(draft: &PlannedRequest) -> &'static str {
    match draft.api {
        TrafficApi::OpenAi => "/v1/chat/completions",
        TrafficApi::Anthropic => "/v1/messages",
        TrafficApi::Ollama => "/api/chat",
        TrafficApi::Tgi if draft.stream => "/generate_stream",
        TrafficApi::Tgi => "/generate",
    }
}

pub(super) fn body(draft: &PlannedRequest) -> Bytes {
    const FILLER: &str = "Tell me about the queue at the old inference server by the sea. ";
    let characters = draft.prompt_tokens as usize * 4;
    let mut content = FILLER.repeat(characters / FILLER.len() + 1);
    content.truncate(characters);
    let mut body = json!({
        "model": draft.model,
        "stream": draft.stream,
        "sim": {
            "output_tokens": draft.output_tokens,
            "reasoning_tokens": draft.reasoning_tokens,
            "tokens_per_event": draft.tokens_per_event,
        },
    });
    let more = match draft.api {
        TrafficApi::OpenAi => openai(draft, content),
        TrafficApi::Anthropic => {
            json!({"messages": [{"role": "user", "content": content}], "max_tokens": 4096})
        }
        TrafficApi::Ollama => json!({"messages": [{"role": "user", "content": content}]}),
        TrafficApi::Tgi => json!({"inputs": content, "parameters": {"details": true}}),
    };
    if let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) {
        fields.extend(more);
    }
    Bytes::from(body.to_string())
}

fn openai(draft: &PlannedRequest, content: String) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": content}]});
    if let Some(fields) = body.as_object_mut() {
        if draft.choices > 1 {
            fields.insert("n".into(), draft.choices.into());
        }
        if draft.stream && draft.include_usage {
            fields.insert("stream_options".into(), json!({"include_usage": true}));
        }
    }
    body
}

/// Whether a stream that ends with these bytes is complete.
pub(super) fn is_complete(api: TrafficApi, tail: &[u8]) -> bool {
    let tail = String::from_utf8_lossy(tail);
    let last = tail.trim_end().lines().next_back().unwrap_or_default();
    match api {
        TrafficApi::OpenAi => last == "data: [DONE]",
        TrafficApi::Anthropic => last.starts_with("data: {\"type\":\"message_stop\""),
        TrafficApi::Ollama => last.contains("\"done\":true"),
        TrafficApi::Tgi => last.contains("\"generated_text\":\""),
    }
}
