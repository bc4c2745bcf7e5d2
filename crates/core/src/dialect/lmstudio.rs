//! LM Studio's own chat API (lmstudio.ai, "Streaming events" and "Chat with a model").
//!
//! Each event of a stream has its type in `type`. `chat.end` has the whole response in `result`, which is also the
//! format of a response that is not streamed: `output` repeats the deltas, `stats` has the counts. LM Studio calls tools
//! itself, so one response can have several tool calls. Their results are not output.
//!
//! `model_load.*` events show that the model is loaded for this request. `time_to_first_token_seconds` does not include the
//! load: in the examples of the documentation, the load takes longer. So the value is not read if there was a load.
//!
//! Distinctive keys: `type` with `chat.start` or `chat.end`; `model_instance_id` and `stats` in a document.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::{EventBuilder, OutputCounts};
use super::response_reader::StreamState;
use super::tag::{JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration, token_count};
use super::{Dialect, StreamEnd};

/// Chat.
pub static LMSTUDIO: Dialect =
    Dialect::sse("lmstudio", &ROOT, finish_event, StreamEnd::Event).with_load_time();

static MODEL: JsonShape = JsonShape::text(Tag::Model);
static TOOL: JsonShape = JsonShape::scalar(Tag::ToolName);
static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static LOAD: JsonShape = duration(ServerStage::Load, TimeUnit::Seconds);
static STATS: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &token_count(TokenKind::Input)),
        ("total_output_tokens", &token_count(TokenKind::Output)),
        ("reasoning_output_tokens", &token_count(TokenKind::Reasoning)),
        ("time_to_first_token_seconds", &duration(ServerStage::FirstToken, TimeUnit::Seconds)),
        ("model_load_time_seconds", &LOAD),
    ],
);
/// A message, reasoning, or a tool call with its result.
static ITEM: JsonShape = JsonShape::object(
    Tag::Part,
    &[
        ("type", &JsonShape::text(Tag::Thought)),
        ("content", &JsonShape::scalar(Tag::PartText)),
        ("tool", &TOOL),
        ("arguments", &ARGUMENTS),
    ],
);
static OUTPUT: JsonShape = JsonShape::list(&ITEM);
static RESULT: JsonShape =
    JsonShape::path(&[("model_instance_id", &MODEL), ("output", &OUTPUT), ("stats", &STATS)]);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &JsonShape::text(Tag::EventType)),
    ("content", &JsonShape::scalar(Tag::EventText)),
    ("tool", &TOOL),
    ("arguments", &ARGUMENTS),
    ("load_time_seconds", &LOAD),
    ("result", &RESULT),
    // Not streamed.
    ("model_instance_id", &MODEL),
    ("output", &OUTPUT),
    ("stats", &STATS),
]);

/// Counter: whether the stream had a load.
const LOADED: u64 = 0;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let text = event.text;
    match event.event_type() {
        b"message.delta" => event.choice.delta.answer = text,
        b"reasoning.delta" => event.choice.delta.reasoning = OutputCounts::of_reasoning(text),
        // The name was in `tool_call.start`.
        b"tool_call.arguments" => event.choice.delta.has_nontext = false,
        // The results repeat the call.
        b"tool_call.success" | b"tool_call.failure" => event.choice.delta = OutputCounts::default(),
        b"chat.end" => {
            event.facts.done = true;
            // The result repeats the stream.
            event.choice.set_whole();
        }
        _ => {}
    }
    event.facts.loading |= event.event_type().starts_with(b"model_load.");
    if let (Some(timings), Some(loaded)) = (&mut event.facts.timings, stream.counter(LOADED)) {
        *loaded |= u64::from(timings.load.is_some());
        timings.first_token = timings.first_token.filter(|_| *loaded == 0);
    }
    if event.facts.usage.is_some() {
        event.facts.detected_engine = Some(Engine::LmStudio);
    }
    event.finish();
}

#[cfg(test)]
#[path = "lmstudio_tests.rs"]
mod tests;
