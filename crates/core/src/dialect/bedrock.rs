//! Amazon Bedrock: Converse, InvokeModel and InvokeAgent.
//!
//! Streams use Amazon's event stream framing.
//!
//! - Converse has one format for every model. The type of an event (`contentBlockDelta`) is in a header of its message.
//!   Gateways that send JSON lines put it around the event instead.
//! - InvokeModel wraps each event of the model's own format in a `chunk` message, so its tree has the fields of all
//!   models. The last event also has `amazon-bedrock-invocationMetrics`.
//! - InvokeAgent sends the answer as plain text in `chunk` messages. Its `trace` messages are not output.
//!
//! Converse's `inputTokens` does not include tokens that were read from the cache or written to it (AWS user guide,
//! "Prompt caching for faster model inference"). An exception is an event whose type is in the header.

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::openai_chat::{BODY, ERROR};
use super::response_reader::StreamState;
use super::tag::{JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration, token_count};
use super::{Dialect, StreamEnd, finish_plain};

/// Converse and ConverseStream.
pub static CONVERSE: Dialect =
    Dialect::sse("bedrock-converse", &CONVERSE_ROOT, finish_plain, StreamEnd::Event);
/// InvokeModel and InvokeModelWithResponseStream: the events of each vendor's models, with Amazon's counts. The end of the
/// body completes a stream: a response that a guardrail blocks has no finish reason.
pub static INVOKE: Dialect =
    Dialect::sse("bedrock-invoke", &INVOKE_ROOT, finish_invoked, StreamEnd::Body)
        .with_base64_chunks()
        .with_certain_path();
/// InvokeAgent.
pub static AGENT: Dialect =
    Dialect::text("bedrock-agent", &NO_SHAPE, finish_text, StreamEnd::Body).with_base64_chunks();

static NO_SHAPE: JsonShape = JsonShape::path(&[]);

static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static TOOL_NAME: JsonShape = JsonShape::scalar(Tag::ToolName);
static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static OUTPUT: JsonShape = token_count(TokenKind::Output);
static CACHED: JsonShape = token_count(TokenKind::CacheRead);
static WRITTEN: JsonShape = token_count(TokenKind::CacheWritten);

static TOOL_USE: JsonShape = JsonShape::path(&[("name", &TOOL_NAME), ("input", &ARGUMENTS)]);
static THOUGHT: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
/// The text is in `text` of a stream, else in `reasoningText`.
static REASONING: JsonShape = JsonShape::path(&[
    ("text", &THOUGHT),
    ("reasoningText", &JsonShape::path(&[("text", &THOUGHT)])),
]);
static IMAGE: JsonShape =
    JsonShape::path(&[("source", &JsonShape::path(&[("bytes", &JsonShape::scalar(Tag::Media))]))]);
/// Content block, its start, or a delta of it.
static BLOCK: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("toolUse", &TOOL_USE),
    ("reasoningContent", &REASONING),
    ("image", &IMAGE),
]);
static MESSAGE: JsonShape =
    JsonShape::path(&[("message", &JsonShape::path(&[("content", &JsonShape::list(&BLOCK))]))]);
static BLOCK_START: JsonShape = JsonShape::path(&[("start", &BLOCK)]);
static BLOCK_DELTA: JsonShape = JsonShape::path(&[("delta", &BLOCK)]);
static MESSAGE_STOP: JsonShape = JsonShape::path(&[("stopReason", &FINISH)]);
static CONVERSE_USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("inputTokens", &token_count(TokenKind::UncachedInput)),
        ("outputTokens", &OUTPUT),
        ("cacheReadInputTokens", &CACHED),
        ("cacheWriteInputTokens", &WRITTEN),
    ],
);
static METRICS: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::Bedrock),
    &[("latencyMs", &duration(ServerStage::Total, TimeUnit::Millis))],
);

static CONVERSE_ROOT: JsonShape = JsonShape::path(&[
    ("start", &BLOCK),
    ("delta", &BLOCK),
    ("stopReason", &FINISH),
    ("usage", &CONVERSE_USAGE),
    ("metrics", &METRICS),
    // Not streamed.
    ("output", &MESSAGE),
    // Gateways with the type around the event.
    ("contentBlockStart", &BLOCK_START),
    ("contentBlockDelta", &BLOCK_DELTA),
    ("messageStop", &MESSAGE_STOP),
    ("metadata", &JsonShape::path(&[("usage", &CONVERSE_USAGE), ("metrics", &METRICS)])),
    ("internalServerException", &ERROR),
    ("modelStreamErrorException", &ERROR),
    ("serviceUnavailableException", &ERROR),
    ("throttlingException", &ERROR),
    ("validationException", &ERROR),
]);

/// Slots for Nova's cache counts.
const CACHE_READ: usize = 0;
const CACHE_WRITE: usize = 1;

/// `usage` of all models.
static INVOKE_USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        // Claude.
        ("input_tokens", &token_count(TokenKind::UncachedInput)),
        ("output_tokens", &OUTPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
        // Nova.
        ("inputTokens", &token_count(TokenKind::UncachedInput)),
        ("outputTokens", &OUTPUT),
        ("cacheReadInputTokenCount", &JsonShape::scalar(Tag::Number(CACHE_READ))),
        ("cacheWriteInputTokenCount", &JsonShape::scalar(Tag::Number(CACHE_WRITE))),
        // Models with OpenAI's format.
        ("prompt_tokens", &token_count(TokenKind::Input)),
        ("completion_tokens", &OUTPUT),
        ("prompt_tokens_details", &JsonShape::path(&[("cached_tokens", &CACHED)])),
        (
            "completion_tokens_details",
            &JsonShape::path(&[("reasoning_tokens", &token_count(TokenKind::Reasoning))]),
        ),
    ],
);
/// Bedrock's own counts and durations. Its counts may be those that are billed, so the model's own take precedence.
static INVOCATION: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::Bedrock),
    &[
        ("inputTokenCount", &JsonShape::scalar(Tag::EngineCount(TokenKind::Input))),
        ("outputTokenCount", &JsonShape::scalar(Tag::EngineCount(TokenKind::Output))),
        ("firstByteLatency", &duration(ServerStage::FirstToken, TimeUnit::Millis)),
        ("invocationLatency", &duration(ServerStage::Total, TimeUnit::Millis)),
    ],
);
/// Claude: content block, its start, or a delta of the block or of the message.
static CLAUDE: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("thinking", &THOUGHT),
    ("name", &TOOL_NAME),
    ("input", &ARGUMENTS),
    ("partial_json", &ARGUMENTS),
    ("stop_reason", &FINISH),
]);
/// Choice of OpenAI's format, with the variants of Mistral and DeepSeek.
static CHOICE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        ("delta", &JsonShape::object(Tag::Delta, BODY)),
        ("message", &JsonShape::object(Tag::Message, BODY)),
        ("text", &JsonShape::scalar(Tag::CompletionText)),
        ("finish_reason", &FINISH),
        ("stop_reason", &FINISH),
    ],
);
/// Result of Titan, Mistral, Cohere and Jurassic, streamed or not.
static RESULT: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("stop_reason", &FINISH),
    ("finish_reason", &FINISH),
    ("outputText", &ANSWER),
    ("tokenCount", &OUTPUT),
    ("completionReason", &FINISH),
    ("data", &JsonShape::path(&[("text", &ANSWER)])),
    ("finishReason", &JsonShape::path(&[("reason", &FINISH)])),
]);
static RESULTS: JsonShape = JsonShape::list(&RESULT);
static COHERE_CALL: JsonShape =
    JsonShape::path(&[("name", &TOOL_NAME), ("parameters", &ARGUMENTS)]);

/// Titan and Llama have their counts at the top level, so the whole event is tagged as usage.
static INVOKE_ROOT: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("amazon-bedrock-invocationMetrics", &INVOCATION),
        ("usage", &INVOKE_USAGE),
        ("error", &ERROR),
        ("model", &JsonShape::text(Tag::Model)),
        ("type", &JsonShape::text(Tag::EventType)),
        // Claude.
        (
            "message",
            &JsonShape::path(&[("model", &JsonShape::text(Tag::Model)), ("usage", &INVOKE_USAGE)]),
        ),
        ("content_block", &CLAUDE),
        ("delta", &CLAUDE),
        ("content", &JsonShape::list(&CLAUDE)),
        ("stop_reason", &FINISH),
        ("completion", &ANSWER),
        // Nova.
        ("contentBlockStart", &BLOCK_START),
        ("contentBlockDelta", &BLOCK_DELTA),
        ("messageStop", &MESSAGE_STOP),
        ("metadata", &JsonShape::path(&[("usage", &INVOKE_USAGE)])),
        ("output", &MESSAGE),
        ("stopReason", &FINISH),
        // Titan.
        ("outputText", &ANSWER),
        ("completionReason", &FINISH),
        ("inputTextTokenCount", &token_count(TokenKind::Input)),
        ("totalOutputTextTokenCount", &OUTPUT),
        ("results", &RESULTS),
        // Llama.
        ("generation", &ANSWER),
        ("prompt_token_count", &token_count(TokenKind::Input)),
        ("generation_token_count", &OUTPUT),
        // Mistral, DeepSeek, Jamba, gpt-oss, Qwen.
        ("choices", &JsonShape::list(&CHOICE)),
        ("outputs", &RESULTS),
        // Cohere.
        ("event_type", &JsonShape::text(Tag::EventType)),
        ("text", &ANSWER),
        ("finish_reason", &FINISH),
        ("generations", &RESULTS),
        ("tool_calls", &JsonShape::list(&COHERE_CALL)),
        ("tool_call_delta", &COHERE_CALL),
        // Jurassic.
        ("completions", &RESULTS),
    ],
);

fn finish_invoked(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    match event.event_type() {
        b"message_stop" => event.facts.done = true,
        b"tool-calls-chunk" => {
            if let Some(streamed) = stream.counter(0) {
                *streamed += 1;
            }
        }
        // Repeats the calls that were streamed.
        b"tool-calls-generation" if stream.counter(0).is_some_and(|streamed| *streamed > 0) => {
            (event.choice.delta.tool, event.choice.delta.has_nontext) = (0, false);
        }
        _ => {}
    }
    // Nova sends 0 where the request did not use the cache.
    let [read, written, _] = event.numbers.map(|count| count.filter(|count| *count > 0));
    if let Some(usage) = &mut event.facts.usage {
        (usage.cached, usage.cache_written) =
            (usage.cached.or(read), usage.cache_written.or(written));
    }
    event.finish();
}

/// The whole text is the answer.
fn finish_text(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.choice.output().answer = event.text;
    event.finish();
}

#[cfg(test)]
#[path = "bedrock_tests.rs"]
mod tests;
