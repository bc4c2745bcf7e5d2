//! Anthropic's messages and text completions, streamed and whole, as Anthropic, its resellers and the
//! servers that speak its API (vLLM, SGLang, llama.cpp, Ollama) send them.
//!
//! Output is text, thinking, and what tools are called with, those that the server itself runs
//! included. Signatures, redacted thinking, citations and the results of tools are none.
//! A block says what it begins with in its `content_block_start`; that is mostly nothing, or a tool's
//! name. A whole message is a list of such blocks.

use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Messages.
pub static MESSAGES: Dialect =
    Dialect::sse("anthropic-messages", &MESSAGES_ROOT, finish_event, StreamEnd::Event);
/// Text completions, which have no usage.
pub static COMPLETE: Dialect =
    Dialect::sse("anthropic-complete", &COMPLETE_ROOT, finish_event, StreamEnd::Event);

static KIND: JsonShape = JsonShape::text(Tag::EventType);
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static STOP_REASON: JsonShape = JsonShape::text(Tag::FinishReason);
static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static THINKING: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
static BLOCK: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("thinking", &THINKING),
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("input", &JsonShape::raw(Tag::ToolArguments)),
]);
static BLOCKS: JsonShape = JsonShape::list(&BLOCK);
static DELTA: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("thinking", &THINKING),
    ("partial_json", &JsonShape::scalar(Tag::ToolArguments)),
    // The summary that takes the place of a long conversation.
    ("content", &ANSWER),
    ("stop_reason", &STOP_REASON),
]);
/// The input is what neither came from the cache nor went to it.
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
/// At the start, the output is some small number that counts nothing: of a stream that breaks off, it
/// would be the last word.
static USAGE_AT_START: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
    ],
);
static MESSAGE: JsonShape = JsonShape::path(&[
    ("model", &MODEL),
    ("content", &BLOCKS),
    ("stop_reason", &STOP_REASON),
    ("usage", &USAGE_AT_START),
]);
static MESSAGES_ROOT: JsonShape = JsonShape::path(&[
    ("type", &KIND),
    ("delta", &DELTA),
    ("content_block", &BLOCK),
    ("message", &MESSAGE),
    ("usage", &USAGE),
    ("error", &ERROR),
    // A message that is not streamed.
    ("model", &MODEL),
    ("content", &BLOCKS),
    ("stop_reason", &STOP_REASON),
]);
static COMPLETE_ROOT: JsonShape = JsonShape::path(&[
    ("type", &KIND),
    ("completion", &ANSWER),
    ("stop_reason", &STOP_REASON),
    ("model", &MODEL),
    ("error", &ERROR),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.facts.done |= event.event_type() == b"message_stop";
    event.facts.error |= event.event_type() == b"error";
    event.finish();
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
