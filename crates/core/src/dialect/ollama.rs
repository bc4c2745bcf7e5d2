//! Ollama's own API: a JSON document a line, or one document.
//!
//! Streaming is the default. The last line (`"done": true`) counts and times, in nanoseconds. Its
//! `load_duration` holds the wait for the scheduler too, and its counts those tokens that no line
//! showed: with tools, there can be fewer lines than tokens. A field that is 0 is left out.

use super::draft::Draft;
use super::engine::Engine;
use super::reading::Memory;
use super::tag::{Count, Shape, Stage, Tag, Unit, time};
use super::{Dialect, Ending};

/// `/api/chat`.
pub static CHAT: Dialect =
    Dialect::streamed_as_lines("ollama-chat", &CHAT_LINE, conclude, Ending::Told).telling_load();
/// `/api/generate`.
pub static GENERATE: Dialect =
    Dialect::streamed_as_lines("ollama-generate", &GENERATE_LINE, conclude, Ending::Told)
        .telling_load();
/// `/api/embed` and the older `/api/embeddings`.
pub static EMBED: Dialect =
    Dialect::streamed_as_sse("ollama-embed", &EMBEDDED, conclude, Ending::Told).telling_load();

static ANSWER: Shape = Shape::scalar(Tag::Answer);
static THINKING: Shape = Shape::scalar(Tag::Reasoning(0));
static IMAGE: Shape = Shape::array(Tag::Media, &Shape::scalar(Tag::Media));
static FUNCTION: Shape = Shape::path(&[
    ("name", &Shape::scalar(Tag::ToolName)),
    ("arguments", &Shape::raw(Tag::ToolArguments)),
]);
static TOOL_CALLS: Shape = Shape::list(&Shape::path(&[("function", &FUNCTION)]));
static MESSAGE: Shape = Shape::path(&[
    ("content", &ANSWER),
    ("thinking", &THINKING),
    ("tool_calls", &TOOL_CALLS),
    ("images", &IMAGE),
]);

static MODEL: Shape = Shape::text(Tag::Model);
static ERROR: Shape = Shape::scalar(Tag::Error);
static DONE: Shape = Shape::scalar(Tag::Done);
static DONE_REASON: Shape = Shape::text(Tag::Finish);
static INPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Input));
static OUTPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Output));
static TOTAL: Shape = time(Stage::Total, Unit::Nanos);
static LOAD: Shape = time(Stage::Load, Unit::Nanos);
static PREFILL: Shape = time(Stage::Prefill, Unit::Nanos);
static DECODE: Shape = time(Stage::Decode, Unit::Nanos);

static CHAT_LINE: Shape = Shape::path(&[
    ("message", &MESSAGE),
    ("model", &MODEL),
    ("error", &ERROR),
    ("done", &DONE),
    ("done_reason", &DONE_REASON),
    ("prompt_eval_count", &INPUT),
    ("eval_count", &OUTPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
    ("prompt_eval_duration", &PREFILL),
    ("eval_duration", &DECODE),
]);
static GENERATE_LINE: Shape = Shape::path(&[
    ("response", &ANSWER),
    ("thinking", &THINKING),
    ("tool_calls", &TOOL_CALLS),
    ("image", &IMAGE),
    ("model", &MODEL),
    ("error", &ERROR),
    ("done", &DONE),
    ("done_reason", &DONE_REASON),
    ("prompt_eval_count", &INPUT),
    ("eval_count", &OUTPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
    ("prompt_eval_duration", &PREFILL),
    ("eval_duration", &DECODE),
]);
static EMBEDDED: Shape = Shape::path(&[
    ("model", &MODEL),
    ("error", &ERROR),
    ("prompt_eval_count", &INPUT),
    ("total_duration", &TOTAL),
    ("load_duration", &LOAD),
]);

/// Servers that speak Ollama's API without being it tell no durations.
fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    if draft.facts.timings.is_some() {
        draft.facts.made_by = Some(Engine::Ollama);
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "ollama_tests.rs"]
mod tests;
