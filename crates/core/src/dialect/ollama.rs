//! Ollama's own API: one JSON document a line, or one document.
//!
//! Streaming is the default. The last line (`"done": true`) has token counts and durations, in nanoseconds.
//! `load_duration` includes the wait for the scheduler. The counts include tokens without a line of their own: with
//! tools, there can be fewer lines than tokens. Fields that are 0 are omitted.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration};
use super::{Dialect, StreamEnd};

/// `/api/chat`.
pub static CHAT: Dialect =
    Dialect::json_lines("ollama-chat", &CHAT_LINE, finish_event, StreamEnd::Event)
        .with_streaming_by_default()
        .with_load_time();
/// `/api/generate`.
pub static GENERATE: Dialect =
    Dialect::json_lines("ollama-generate", &GENERATE_LINE, finish_event, StreamEnd::Event)
        .with_streaming_by_default()
        .with_load_time();
/// `/api/embed` and the older `/api/embeddings`.
pub static EMBED: Dialect =
    Dialect::sse("ollama-embed", &EMBEDDED, finish_event, StreamEnd::Event).with_load_time();

static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static THINKING: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
static IMAGE: JsonShape = JsonShape::array(Tag::Media, &JsonShape::scalar(Tag::Media));
static FUNCTION: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("arguments", &JsonShape::raw(Tag::ToolArguments)),
]);
static TOOL_CALLS: JsonShape = JsonShape::list(&JsonShape::path(&[("function", &FUNCTION)]));
static MESSAGE: JsonShape = JsonShape::path(&[
    ("content", &ANSWER),
    ("thinking", &THINKING),
    ("tool_calls", &TOOL_CALLS),
    ("images", &IMAGE),
]);

static MODEL: JsonShape = JsonShape::text(Tag::Model);
static DONE: JsonShape = JsonShape::scalar(Tag::Done);
static DONE_REASON: JsonShape = JsonShape::text(Tag::FinishReason);
static INPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Input));
/// Since Ollama 0.33.3. `prompt_eval_count` includes these tokens (ollama/ollama#17943).
static CACHED: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::CacheRead));
static OUTPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Output));
static TOTAL: JsonShape = duration(ServerStage::Total, TimeUnit::Nanos);
static LOAD: JsonShape = duration(ServerStage::Load, TimeUnit::Nanos);
static PREFILL: JsonShape = duration(ServerStage::Prefill, TimeUnit::Nanos);
static DECODE: JsonShape = duration(ServerStage::Decode, TimeUnit::Nanos);

static CHAT_LINE: JsonShape = JsonShape::path(with_error_fields![
    ("message", &MESSAGE),
    ("model", &MODEL),
    ("done", &DONE),
    ("done_reason", &DONE_REASON),
    ("prompt_eval_count", &INPUT),
    ("prompt_eval_cached_count", &CACHED),
    ("eval_count", &OUTPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
    ("prompt_eval_duration", &PREFILL),
    ("eval_duration", &DECODE),
]);
static GENERATE_LINE: JsonShape = JsonShape::path(with_error_fields![
    ("response", &ANSWER),
    ("thinking", &THINKING),
    ("tool_calls", &TOOL_CALLS),
    ("image", &IMAGE),
    ("model", &MODEL),
    ("done", &DONE),
    ("done_reason", &DONE_REASON),
    ("prompt_eval_count", &INPUT),
    ("prompt_eval_cached_count", &CACHED),
    ("eval_count", &OUTPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
    ("prompt_eval_duration", &PREFILL),
    ("eval_duration", &DECODE),
]);
static EMBEDDED: JsonShape = JsonShape::path(with_error_fields![
    ("model", &MODEL),
    ("prompt_eval_count", &INPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
]);

/// A total duration in seconds that no request is faster than.
const SHORTEST: f64 = 1e-6;

/// Other servers with Ollama's API send no durations, except KoboldCpp: it sends 1 ns for each of them.
fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if let Some(timings) = event.facts.timings {
        if timings.total.is_some_and(|total| total < SHORTEST) {
            event.facts.timings = None;
            event.facts.detected_engine = Some(Engine::KoboldCpp);
        } else {
            event.facts.detected_engine = Some(Engine::Ollama);
        }
    }
    event.finish();
}

#[cfg(test)]
#[path = "ollama_tests.rs"]
mod tests;
