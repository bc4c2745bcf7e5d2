//! Runs of OpenAI's assistants.
//!
//! The `event` field alone tells an event's kind. A run streams the messages that it writes and its
//! steps, which call tools. Code that a tool runs is written by the model; what it prints is not.

use super::draft::Draft;
use super::openai_chat::{ERROR, USAGE};
use super::reading::Memory;
use super::tag::{Shape, Tag};
use super::{Dialect, Ending, finish_reason};

/// Runs, and runs in a new thread.
pub static RUNS: Dialect =
    Dialect::streamed_as_sse("openai-assistants", &ROOT, conclude, Ending::Told);

static CONTENT: Shape = Shape::list(&Shape::path(&[
    ("text", &Shape::path(&[("value", &Shape::scalar(Tag::Answer))])),
    ("refusal", &Shape::scalar(Tag::Answer)),
]));
static TOOL_CALL: Shape = Shape::path(&[
    (
        "function",
        &Shape::path(&[
            ("name", &Shape::scalar(Tag::ToolName)),
            ("arguments", &Shape::scalar(Tag::ToolArguments)),
        ]),
    ),
    ("code_interpreter", &Shape::path(&[("input", &Shape::scalar(Tag::ToolArguments))])),
]);
static STEP: Shape = Shape::path(&[("tool_calls", &Shape::list(&TOOL_CALL))]);
static DELTA: Shape = Shape::path(&[("content", &CONTENT), ("step_details", &STEP)]);
/// An event, or a run that is not streamed, which has no output.
static ROOT: Shape = Shape::path(&[
    ("delta", &DELTA),
    ("content", &CONTENT),
    ("incomplete_details", &Shape::path(&[("reason", &Shape::text(Tag::Finish))])),
    ("usage", &USAGE),
    ("model", &Shape::text(Tag::Model)),
    ("error", &ERROR),
]);

/// Where the memory keeps who told the message at hand.
const MESSAGE: u64 = 0;

fn conclude(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    let finish = draft.choice.finish.take();
    if name.starts_with(b"thread.message.") {
        // A message that is done repeats what was streamed of it.
        let is_delta = name.ends_with(b".delta");
        if !is_delta && memory.part(MESSAGE).is_some_and(|chars| std::mem::take(chars) > 0) {
            draft.choice.body().answer = 0;
        }
        if let (true, Some(chars)) = (is_delta, memory.part(MESSAGE)) {
            *chars += draft.choice.body().answer;
        }
    } else if name.starts_with(b"thread.run.step.") {
        // A step's usage is part of the run's.
        draft.facts.usage = None;
    } else if let Some(state) = name.strip_prefix(b"thread.run.") {
        draft.facts.error |= state == b"failed";
        let is_over = matches!(
            state,
            b"completed"
                | b"incomplete"
                | b"failed"
                | b"cancelled"
                | b"expired"
                | b"requires_action"
        );
        let reason = finish.filter(|_| state == b"incomplete");
        draft.choice.finish = is_over.then(|| reason.unwrap_or(finish_reason(state)));
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "openai_assistants_tests.rs"]
mod tests;
