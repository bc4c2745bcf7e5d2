//! Runs of OpenAI's assistants.
//!
//! The type of an event is in its `event` field only. A run streams messages and steps; the steps call tools. Code that
//! a tool runs is output of the model; the output of that code is not.

use super::event_builder::EventBuilder;
use super::openai_chat::{ERROR, USAGE};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd, finish_reason};

/// Runs, and runs in a new thread.
pub static RUNS: Dialect = Dialect::sse("openai-assistants", &ROOT, finish_event, StreamEnd::Event);

static CONTENT: JsonShape = JsonShape::list(&JsonShape::path(&[
    ("text", &JsonShape::path(&[("value", &JsonShape::scalar(Tag::Answer))])),
    ("refusal", &JsonShape::scalar(Tag::Answer)),
]));
static TOOL_CALL: JsonShape = JsonShape::path(&[
    (
        "function",
        &JsonShape::path(&[
            ("name", &JsonShape::scalar(Tag::ToolName)),
            ("arguments", &JsonShape::scalar(Tag::ToolArguments)),
        ]),
    ),
    ("code_interpreter", &JsonShape::path(&[("input", &JsonShape::scalar(Tag::ToolArguments))])),
]);
static STEP: JsonShape = JsonShape::path(&[("tool_calls", &JsonShape::list(&TOOL_CALL))]);
static DELTA: JsonShape = JsonShape::path(&[("content", &CONTENT), ("step_details", &STEP)]);
/// An event, or a run that is not streamed and has no output.
static ROOT: JsonShape = JsonShape::path(&[
    ("delta", &DELTA),
    ("content", &CONTENT),
    ("incomplete_details", &JsonShape::path(&[("reason", &JsonShape::text(Tag::FinishReason))])),
    ("usage", &USAGE),
    ("model", &JsonShape::text(Tag::Model)),
    ("error", &ERROR),
]);

/// Counter of the streamed characters of the current message.
const MESSAGE: u64 = 0;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    let finish = event.choice.finish.take();
    if name.starts_with(b"thread.message.") {
        // A completed message repeats its deltas.
        let is_delta = name.ends_with(b".delta");
        if !is_delta && stream.counter(MESSAGE).is_some_and(|chars| std::mem::take(chars) > 0) {
            event.choice.output().answer = 0;
        }
        if let (true, Some(chars)) = (is_delta, stream.counter(MESSAGE)) {
            *chars += event.choice.output().answer;
        }
    } else if name.starts_with(b"thread.run.step.") {
        // The usage of a step is included in that of the run.
        event.facts.usage = None;
    } else if let Some(state) = name.strip_prefix(b"thread.run.") {
        event.facts.error |= state == b"failed";
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
        event.choice.finish = is_over.then(|| reason.unwrap_or(finish_reason(state)));
    }
    event.finish();
}

#[cfg(test)]
#[path = "openai_assistants_tests.rs"]
mod tests;
