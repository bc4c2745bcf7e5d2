//! Amazon Bedrock: Converse, InvokeModel and InvokeAgent, streamed and whole.
//!
//! Streams are Amazon's event streams. Converse has one vocabulary for every model, and the kind of an
//! event stands in its message's header (`contentBlockDelta`) or, where a gateway writes JSON lines,
//! around the event. InvokeModel wraps the model's own stream, event by event, in `chunk` messages, so
//! its one table holds the vocabularies of all models; the last event has `amazon-bedrock-invocationMetrics`
//! beside the model's own fields. An agent's `chunk` is text, and its `trace` messages say what it did.
//!
//! Converse's `inputTokens` leaves out what came from the cache or went to it (AWS's guide, "Prompt
//! caching for faster model inference"). An exception is an event, with its kind in the header.

use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::{BODY, ERROR};
use super::reading::Memory;
use super::tag::{Count, Shape, Stage, Tag, Unit, counted, time};
use super::{Dialect, Ending, plain};

/// Converse and ConverseStream.
pub static CONVERSE: Dialect =
    Dialect::streamed_as_sse("bedrock-converse", &CONVERSE_ROOT, plain, Ending::Told);
/// InvokeModel and InvokeModelWithResponseStream. What a guardrail blocks has no finish reason, so the
/// body's end is what all models have.
pub static INVOKE: Dialect =
    Dialect::streamed_as_sse("bedrock-invoke", &INVOKE_ROOT, conclude_invoked, Ending::Body)
        .in_chunks();
/// InvokeAgent.
pub static AGENT: Dialect =
    Dialect::text("bedrock-agent", &NO_SHAPE, conclude_text, Ending::Body).in_chunks();

static NO_SHAPE: Shape = Shape::path(&[]);

static ANSWER: Shape = Shape::scalar(Tag::Answer);
static FINISH: Shape = Shape::text(Tag::Finish);
static TOOL_NAME: Shape = Shape::scalar(Tag::ToolName);
static ARGUMENTS: Shape = Shape::raw(Tag::ToolArguments);
static OUTPUT: Shape = counted(Count::Output);
static CACHED: Shape = counted(Count::Cached);
static WRITTEN: Shape = counted(Count::Written);

static TOOL_USE: Shape = Shape::path(&[("name", &TOOL_NAME), ("input", &ARGUMENTS)]);
static THOUGHT: Shape = Shape::scalar(Tag::Reasoning(0));
/// Streamed, the text stands in it; whole, in its `reasoningText`.
static REASONING: Shape =
    Shape::path(&[("text", &THOUGHT), ("reasoningText", &Shape::path(&[("text", &THOUGHT)]))]);
static IMAGE: Shape =
    Shape::path(&[("source", &Shape::path(&[("bytes", &Shape::scalar(Tag::Media))]))]);
/// A content block, its start, or a delta of it.
static BLOCK: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("toolUse", &TOOL_USE),
    ("reasoningContent", &REASONING),
    ("image", &IMAGE),
]);
static MESSAGE: Shape =
    Shape::path(&[("message", &Shape::path(&[("content", &Shape::list(&BLOCK))]))]);
static BLOCK_START: Shape = Shape::path(&[("start", &BLOCK)]);
static BLOCK_DELTA: Shape = Shape::path(&[("delta", &BLOCK)]);
static MESSAGE_STOP: Shape = Shape::path(&[("stopReason", &FINISH)]);
static CONVERSE_USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("inputTokens", &counted(Count::FreshInput)),
        ("outputTokens", &OUTPUT),
        ("cacheReadInputTokens", &CACHED),
        ("cacheWriteInputTokens", &WRITTEN),
    ],
);
static METRICS: Shape =
    Shape::object(Tag::Sign(Engine::Bedrock), &[("latencyMs", &time(Stage::Total, Unit::Millis))]);

static CONVERSE_ROOT: Shape = Shape::path(&[
    ("start", &BLOCK),
    ("delta", &BLOCK),
    ("stopReason", &FINISH),
    ("usage", &CONVERSE_USAGE),
    ("metrics", &METRICS),
    // Whole.
    ("output", &MESSAGE),
    // With the kind around the event.
    ("contentBlockStart", &BLOCK_START),
    ("contentBlockDelta", &BLOCK_DELTA),
    ("messageStop", &MESSAGE_STOP),
    ("metadata", &Shape::path(&[("usage", &CONVERSE_USAGE), ("metrics", &METRICS)])),
    ("internalServerException", &ERROR),
    ("modelStreamErrorException", &ERROR),
    ("serviceUnavailableException", &ERROR),
    ("throttlingException", &ERROR),
    ("validationException", &ERROR),
]);

/// Ranks of the numbers that Nova tells of its cache.
const CACHE_READ: usize = 0;
const CACHE_WRITE: usize = 1;

/// `usage` of all models that have one.
static INVOKE_USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        // Claude.
        ("input_tokens", &counted(Count::FreshInput)),
        ("output_tokens", &OUTPUT),
        ("cache_read_input_tokens", &CACHED),
        ("cache_creation_input_tokens", &WRITTEN),
        // Nova.
        ("inputTokens", &counted(Count::FreshInput)),
        ("outputTokens", &OUTPUT),
        ("cacheReadInputTokenCount", &Shape::scalar(Tag::Place(CACHE_READ))),
        ("cacheWriteInputTokenCount", &Shape::scalar(Tag::Place(CACHE_WRITE))),
        // Those that write as OpenAI does.
        ("prompt_tokens", &counted(Count::Input)),
        ("completion_tokens", &OUTPUT),
        ("prompt_tokens_details", &Shape::path(&[("cached_tokens", &CACHED)])),
        (
            "completion_tokens_details",
            &Shape::path(&[("reasoning_tokens", &counted(Count::Reasoning))]),
        ),
    ],
);
/// Bedrock's own count and times. Its tokens may be those that are billed, so the model's come first.
static INVOCATION: Shape = Shape::object(
    Tag::Sign(Engine::Bedrock),
    &[
        ("inputTokenCount", &Shape::scalar(Tag::EngineCount(Count::Input))),
        ("outputTokenCount", &Shape::scalar(Tag::EngineCount(Count::Output))),
        ("firstByteLatency", &time(Stage::FirstToken, Unit::Millis)),
        ("invocationLatency", &time(Stage::Total, Unit::Millis)),
    ],
);
/// A content block of Claude's, its start, or a delta of it or of the message.
static CLAUDE: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("thinking", &THOUGHT),
    ("name", &TOOL_NAME),
    ("input", &ARGUMENTS),
    ("partial_json", &ARGUMENTS),
    ("stop_reason", &FINISH),
]);
/// OpenAI's, and what Mistral and DeepSeek make of it.
static CHOICE: Shape = Shape::object(
    Tag::Choice,
    &[
        ("index", &Shape::scalar(Tag::Index)),
        ("delta", &Shape::object(Tag::Delta, BODY)),
        ("message", &Shape::object(Tag::Message, BODY)),
        ("text", &Shape::scalar(Tag::Text)),
        ("finish_reason", &FINISH),
        ("stop_reason", &FINISH),
    ],
);
/// Titan's, Mistral's, Cohere's and Jurassic's, whole or in part.
static RESULT: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("stop_reason", &FINISH),
    ("finish_reason", &FINISH),
    ("outputText", &ANSWER),
    ("tokenCount", &OUTPUT),
    ("completionReason", &FINISH),
    ("data", &Shape::path(&[("text", &ANSWER)])),
    ("finishReason", &Shape::path(&[("reason", &FINISH)])),
]);
static RESULTS: Shape = Shape::list(&RESULT);
static COHERE_CALL: Shape = Shape::path(&[("name", &TOOL_NAME), ("parameters", &ARGUMENTS)]);

/// Titan and Llama tell their counts at the top, so all of it is usage.
static INVOKE_ROOT: Shape = Shape::object(
    Tag::Usage,
    &[
        ("amazon-bedrock-invocationMetrics", &INVOCATION),
        ("usage", &INVOKE_USAGE),
        ("error", &ERROR),
        ("model", &Shape::text(Tag::Model)),
        ("type", &Shape::text(Tag::Kind)),
        // Claude.
        ("message", &Shape::path(&[("model", &Shape::text(Tag::Model)), ("usage", &INVOKE_USAGE)])),
        ("content_block", &CLAUDE),
        ("delta", &CLAUDE),
        ("content", &Shape::list(&CLAUDE)),
        ("stop_reason", &FINISH),
        ("completion", &ANSWER),
        // Nova.
        ("contentBlockStart", &BLOCK_START),
        ("contentBlockDelta", &BLOCK_DELTA),
        ("messageStop", &MESSAGE_STOP),
        ("metadata", &Shape::path(&[("usage", &INVOKE_USAGE)])),
        ("output", &MESSAGE),
        ("stopReason", &FINISH),
        // Titan.
        ("outputText", &ANSWER),
        ("completionReason", &FINISH),
        ("inputTextTokenCount", &counted(Count::Input)),
        ("totalOutputTextTokenCount", &OUTPUT),
        ("results", &RESULTS),
        // Llama.
        ("generation", &ANSWER),
        ("prompt_token_count", &counted(Count::Input)),
        ("generation_token_count", &OUTPUT),
        // Mistral, DeepSeek, Jamba, gpt-oss, Qwen.
        ("choices", &Shape::list(&CHOICE)),
        ("outputs", &RESULTS),
        // Cohere.
        ("event_type", &Shape::text(Tag::Kind)),
        ("text", &ANSWER),
        ("finish_reason", &FINISH),
        ("generations", &RESULTS),
        ("tool_calls", &Shape::list(&COHERE_CALL)),
        ("tool_call_delta", &COHERE_CALL),
        // Jurassic.
        ("completions", &RESULTS),
    ],
);

fn conclude_invoked(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    match draft.kind() {
        b"message_stop" => draft.facts.done = true,
        b"tool-calls-chunk" => {
            if let Some(streamed) = memory.part(0) {
                *streamed += 1;
            }
        }
        // It repeats the calls that were streamed.
        b"tool-calls-generation" if memory.part(0).is_some_and(|streamed| *streamed > 0) => {
            (draft.choice.delta.tool, draft.choice.delta.wordless) = (0, false);
        }
        _ => {}
    }
    // Nova writes 0 where nothing was asked of the cache.
    let [read, written, _] = draft.places.map(|count| count.filter(|count| *count > 0));
    if let Some(usage) = &mut draft.facts.usage {
        (usage.cached, usage.written) = (usage.cached.or(read), usage.written.or(written));
    }
    draft.conclude();
}

/// All of it is the answer.
fn conclude_text(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    draft.choice.body().answer = draft.piece;
    draft.conclude();
}

#[cfg(test)]
#[path = "bedrock_tests.rs"]
mod tests;
