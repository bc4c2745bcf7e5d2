//! Anthropic's messages and text completions, streamed and whole, as Anthropic, its resellers and the
//! servers that speak its API (vLLM, SGLang, llama.cpp, Ollama) send them.
//!
//! Output is text, thinking, and what tools are called with, those that the server itself runs
//! included. Signatures, redacted thinking, citations and the results of tools are none.
//! A block says what it begins with in its `content_block_start`; that is mostly nothing, or a tool's
//! name. A whole message is a list of such blocks.

use super::draft::Draft;
use super::openai_chat::ERROR;
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};

/// Messages.
pub static MESSAGES: Dialect =
    Dialect::streamed_as_sse("anthropic-messages", &MESSAGES_ROOT, conclude, Ending::Told);
/// Text completions, which have no usage.
pub static COMPLETE: Dialect =
    Dialect::streamed_as_sse("anthropic-complete", &COMPLETE_ROOT, conclude, Ending::Told);

static KIND: Shape = Shape::text(Tag::Kind);
static MODEL: Shape = Shape::text(Tag::Model);
static STOP_REASON: Shape = Shape::text(Tag::Finish);
static ANSWER: Shape = Shape::scalar(Tag::Answer);
static THINKING: Shape = Shape::scalar(Tag::Reasoning(0));
static BLOCK: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("thinking", &THINKING),
    ("name", &Shape::scalar(Tag::ToolName)),
    ("input", &Shape::raw(Tag::ToolArguments)),
]);
static BLOCKS: Shape = Shape::list(&BLOCK);
static DELTA: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("thinking", &THINKING),
    ("partial_json", &Shape::scalar(Tag::ToolArguments)),
    // The summary that takes the place of a long conversation.
    ("content", &ANSWER),
    ("stop_reason", &STOP_REASON),
]);
/// The input is what neither came from the cache nor went to it.
static INPUT: Shape = counted(Count::FreshInput);
static CACHED: Shape = counted(Count::Cached);
static WRITTEN: Shape = counted(Count::Written);
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
        ("output_tokens", &counted(Count::Output)),
        ("output_tokens_details", &Shape::path(&[("thinking_tokens", &counted(Count::Reasoning))])),
    ],
);
/// At the start, the output is some small number that counts nothing: of a stream that breaks off, it
/// would be the last word.
static USAGE_AT_START: Shape = Shape::object(
    Tag::Usage,
    &[
        ("input_tokens", &INPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
    ],
);
static MESSAGE: Shape = Shape::path(&[
    ("model", &MODEL),
    ("content", &BLOCKS),
    ("stop_reason", &STOP_REASON),
    ("usage", &USAGE_AT_START),
]);
static MESSAGES_ROOT: Shape = Shape::path(&[
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
static COMPLETE_ROOT: Shape = Shape::path(&[
    ("type", &KIND),
    ("completion", &ANSWER),
    ("stop_reason", &STOP_REASON),
    ("model", &MODEL),
    ("error", &ERROR),
]);

fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    draft.facts.done |= draft.kind() == b"message_stop";
    draft.facts.error |= draft.kind() == b"error";
    draft.conclude();
}

#[cfg(test)]
#[path = "anthropic_tests.rs"]
mod tests;
