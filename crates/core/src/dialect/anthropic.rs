//! Anthropic's messages and text completions, also served by vLLM, SGLang, llama.cpp and Ollama.
//!
//! Output is text, thinking and the input of tool calls, including tools that the server runs. Signatures, redacted
//! thinking, citations and tool results are not output. Most `content_block_start` events carry no output; those of tool
//! calls carry the tool's name. A response that is not streamed has its content blocks at the top level. Some gateways
//! repeat the whole message after the deltas.
//!
//! The text of thinking is a summary if the server counts thinking tokens: only Anthropic counts them, and it summarizes.

use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Messages.
pub static MESSAGES: Dialect =
    Dialect::sse("anthropic-messages", &EVENT, finish_event, StreamEnd::Event);
/// Text completions. They have no `usage`.
pub static COMPLETE: Dialect =
    Dialect::sse("anthropic-complete", &COMPLETION, finish_event, StreamEnd::Event);

static EVENT_TYPE: JsonShape = JsonShape::text(Tag::EventType);
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static STOP_REASON: JsonShape = JsonShape::text(Tag::FinishReason);
static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static THINKING: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
/// Content block. Results of tools are not output.
static BLOCK: JsonShape = JsonShape::object(
    Tag::Item,
    &[
        ("type", &JsonShape::text(Tag::PartType)),
        ("text", &ANSWER),
        ("thinking", &THINKING),
        ("name", &JsonShape::scalar(Tag::ToolName)),
        ("input", &JsonShape::raw(Tag::ToolArguments)),
        // Compaction: a summary that replaces a long conversation.
        ("content", &ANSWER),
    ],
);
static BLOCKS: JsonShape = JsonShape::list(&BLOCK);
static DELTA: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("thinking", &THINKING),
    ("partial_json", &JsonShape::scalar(Tag::ToolArguments)),
    // `compaction_delta`.
    ("content", &ANSWER),
    ("stop_reason", &STOP_REASON),
]);
/// Does not include tokens that were read from the cache or written to it.
static INPUT: JsonShape = token_count(TokenKind::UncachedInput);

static CACHED: JsonShape = token_count(TokenKind::CacheRead);
static WRITTEN: JsonShape = token_count(TokenKind::CacheWritten);

static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
        ("output_tokens", &token_count(TokenKind::Output)),
        (
            "output_tokens_details",
            &JsonShape::path(&[("thinking_tokens", &token_count(TokenKind::Reasoning))]),
        ),
    ],
);
/// `message_start` has `output_tokens` too, but as a small placeholder. If the stream were cut, the placeholder would be
/// taken for the count.
static USAGE_AT_START: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
    ],
);
/// Text instead of an object is that of an error.
static MESSAGE_START: JsonShape = JsonShape::object(
    Tag::ErrorMessage,
    &[
        ("model", &MODEL),
        ("content", &BLOCKS),
        ("stop_reason", &STOP_REASON),
        ("usage", &USAGE_AT_START),
    ],
);
static EVENT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &EVENT_TYPE),
    ("delta", &DELTA),
    ("content_block", &BLOCK),
    ("message", &MESSAGE_START),
    ("usage", &USAGE),
    // A response that is not streamed.
    ("model", &MODEL),
    ("content", &BLOCKS),
    ("stop_reason", &STOP_REASON),
]);
static COMPLETION: JsonShape = JsonShape::path(with_error_fields![
    ("type", &EVENT_TYPE),
    ("completion", &ANSWER),
    ("stop_reason", &STOP_REASON),
    ("model", &MODEL),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    match event.event_type() {
        // Messages end with this event, text completions with a `stop_reason`.
        b"message_stop" => {
            event.facts.done = true;
            event.choice.set_whole();
        }
        b"message_start" | b"message" | b"content_block_stop" => event.choice.set_whole(),
        b"error" => event.facts.error = true,
        _ => {}
    }
    let thinking_tokens = event.facts.usage.and_then(|usage| usage.reasoning);
    event.facts.has_reasoning_summary = thinking_tokens.is_some_and(|count| count > 0);
    event.finish();
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
