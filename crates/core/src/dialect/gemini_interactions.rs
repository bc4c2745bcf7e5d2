//! Gemini's interactions, with `steps` or, in the first version of the API, `outputs`.
//!
//! An interaction is a list of steps. A step of the model is a list of contents. In a stream, a step starts with its
//! known fields, and deltas add text, a summary of the reasoning, tool arguments and media. Results of tools that Google
//! runs, and steps of the user, are not output. Reasoning is counted separately from the output. The final event may
//! repeat all steps.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};

/// Interactions.
pub static INTERACTIONS: Dialect =
    Dialect::sse("gemini-interactions", &ROOT, finish_event, StreamEnd::Event);

static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static THOUGHT: JsonShape =
    JsonShape::path(&[("text", &JsonShape::scalar(Tag::ReasoningSummary(0)))]);
static TOOL_NAME: JsonShape = JsonShape::scalar(Tag::ToolName);
static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static OBJECT: JsonShape = JsonShape::scalar(Tag::WrittenBy(Engine::Gemini));
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static STATUS: JsonShape = JsonShape::text(Tag::FinishReason);
static CONTENT: JsonShape = JsonShape::path(&[("text", &ANSWER), ("data", &MEDIA)]);
/// `content` of a delta is a part of a summary.
static DELTA: JsonShape = JsonShape::path(&[
    ("text", &ANSWER),
    ("content", &THOUGHT),
    ("name", &TOOL_NAME),
    ("arguments", &ARGUMENTS),
    ("data", &MEDIA),
]);
/// Step or output, or the start of either.
static STEP: JsonShape = JsonShape::object(
    Tag::Item,
    &[
        ("type", &JsonShape::text(Tag::PartType)),
        ("text", &ANSWER),
        ("content", &JsonShape::list(&CONTENT)),
        ("summary", &JsonShape::list(&THOUGHT)),
        ("name", &TOOL_NAME),
        ("arguments", &ARGUMENTS),
        ("data", &MEDIA),
    ],
);
static STEPS: JsonShape = JsonShape::list(&STEP);
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("total_input_tokens", &token_count(TokenKind::Input)),
        ("total_cached_tokens", &token_count(TokenKind::CacheRead)),
        ("total_output_tokens", &token_count(TokenKind::VisibleOutput)),
        ("total_thought_tokens", &token_count(TokenKind::Reasoning)),
        // Name in the first version of the API.
        ("total_reasoning_tokens", &token_count(TokenKind::Reasoning)),
    ],
);
/// The interaction in an event.
static INTERACTION: JsonShape = JsonShape::path(&[
    ("steps", &STEPS),
    ("outputs", &STEPS),
    ("object", &OBJECT),
    ("model", &MODEL),
    ("status", &STATUS),
    ("usage", &USAGE),
]);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("event_type", &JsonShape::text(Tag::EventType)),
    ("delta", &DELTA),
    ("step", &STEP),
    ("interaction", &INTERACTION),
    ("metadata", &JsonShape::path(&[("total_usage", &USAGE)])),
    // Start of an output.
    ("content", &STEP),
    // Interaction that is not streamed.
    ("object", &OBJECT),
    ("model", &MODEL),
    ("status", &STATUS),
    ("steps", &STEPS),
    ("outputs", &STEPS),
    ("usage", &USAGE),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if event.event_type().starts_with(b"interaction.") || event.event_type().ends_with(b".stop") {
        event.choice.set_whole();
    }
    let status = event.choice.finish.as_deref();
    event.facts.error |= status == Some("failed");
    match event.event_type() {
        b"interaction.completed" | b"interaction.complete" => event.facts.done = true,
        b"" if status != Some("in_progress") => {}
        // An intermediate status is not a finish reason.
        _ => event.choice.finish = None,
    }
    event.finish();
}

#[cfg(test)]
#[path = "gemini_interactions_tests.rs"]
mod tests;
