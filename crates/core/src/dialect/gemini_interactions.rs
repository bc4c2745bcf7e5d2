//! Gemini's interactions, streamed and whole, with steps and, as they were at first, with outputs.
//!
//! An interaction is a list of steps, and a step of the model a list of contents. Streamed, a step
//! begins with what is known of it, and deltas bring the rest: text, a summary of thoughts, a tool's
//! arguments, media. The results of tools that Google runs are no output. What is thought is counted
//! apart from what is put out.

use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::ERROR;
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};

/// Interactions.
pub static INTERACTIONS: Dialect =
    Dialect::streamed_as_sse("gemini-interactions", &ROOT, conclude, Ending::Told);

static ANSWER: Shape = Shape::scalar(Tag::Answer);
static THOUGHT: Shape = Shape::path(&[("text", &Shape::scalar(Tag::Reasoning(0)))]);
static TOOL_NAME: Shape = Shape::scalar(Tag::ToolName);
static ARGUMENTS: Shape = Shape::raw(Tag::ToolArguments);
static MEDIA: Shape = Shape::scalar(Tag::Media);
static OBJECT: Shape = Shape::scalar(Tag::Sign(Engine::Gemini));
static MODEL: Shape = Shape::text(Tag::Model);
static STATUS: Shape = Shape::text(Tag::Finish);
static CONTENT: Shape = Shape::path(&[("text", &ANSWER), ("data", &MEDIA)]);
/// A delta's `content` is a part of a summary.
static DELTA: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("content", &THOUGHT),
    ("name", &TOOL_NAME),
    ("arguments", &ARGUMENTS),
    ("data", &MEDIA),
]);
/// A step, or an output, or the start of either.
static STEP: Shape = Shape::path(&[
    ("text", &ANSWER),
    ("content", &Shape::list(&CONTENT)),
    ("summary", &Shape::list(&THOUGHT)),
    ("name", &TOOL_NAME),
    ("arguments", &ARGUMENTS),
    ("data", &MEDIA),
]);
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("total_input_tokens", &counted(Count::Input)),
        ("total_cached_tokens", &counted(Count::Cached)),
        ("total_output_tokens", &counted(Count::VisibleOutput)),
        ("total_thought_tokens", &counted(Count::Reasoning)),
        // Its name at first.
        ("total_reasoning_tokens", &counted(Count::Reasoning)),
    ],
);
/// What an event says of the interaction as a whole. Its steps came before.
static INTERACTION: Shape =
    Shape::path(&[("object", &OBJECT), ("model", &MODEL), ("status", &STATUS), ("usage", &USAGE)]);
static ROOT: Shape = Shape::path(&[
    ("event_type", &Shape::text(Tag::Kind)),
    ("delta", &DELTA),
    ("step", &STEP),
    ("interaction", &INTERACTION),
    ("metadata", &Shape::path(&[("total_usage", &USAGE)])),
    ("error", &ERROR),
    // The start of an output.
    ("content", &STEP),
    // An interaction that is not streamed.
    ("object", &OBJECT),
    ("model", &MODEL),
    ("status", &STATUS),
    ("steps", &Shape::list(&STEP)),
    ("outputs", &Shape::list(&STEP)),
    ("usage", &USAGE),
]);

fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    let status = draft.choice.finish.as_deref();
    draft.facts.error |= status == Some("failed");
    match draft.kind() {
        b"interaction.completed" | b"interaction.complete" => draft.facts.done = true,
        b"" if status != Some("in_progress") => {}
        // A status on the way is not how it ends.
        _ => draft.choice.finish = None,
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "gemini_interactions_tests.rs"]
mod tests;
