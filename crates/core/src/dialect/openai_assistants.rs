//! Runs of OpenAI's assistants.
//!
//! The type of an event is in its `event` field only. A run streams messages and steps; the steps call tools. Code that
//! a tool runs is output of the model; the output of that code is not.

use super::error_fields::{ERROR, with_error_fields};
use super::event_builder::EventBuilder;
use super::openai_chat::USAGE;
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
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("delta", &DELTA),
    ("content", &CONTENT),
    ("step_details", &STEP),
    ("last_error", &ERROR),
    ("status", &JsonShape::text(Tag::Status)),
    ("incomplete_details", &JsonShape::path(&[("reason", &JsonShape::text(Tag::FinishReason))])),
    ("usage", &USAGE),
    ("model", &JsonShape::text(Tag::Model)),
]);

/// Counter of the streamed characters of the current message.
const MESSAGE: u64 = 0;
/// Counter of the streamed characters and names of the current step.
const CURRENT_STEP: u64 = 1;

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
    } else if let Some(state) = name.strip_prefix(b"thread.run.step.") {
        // The usage of a step is included in that of the run.
        event.facts.usage = None;
        // A failed step need not end the run.
        event.facts.error = false;
        drop_repeated_step(event, stream, state);
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

/// Drops the calls of a step unless they are new. A completed step repeats its deltas, and a step that was created has
/// none yet.
fn drop_repeated_step(event: &mut EventBuilder, stream: &mut StreamState, state: &[u8]) {
    let output = event.choice.output();
    let size = output.tool + u64::from(output.has_nontext);
    let Some(streamed) = stream.counter(CURRENT_STEP) else { return };
    let is_new = match state {
        b"delta" => {
            *streamed += size;
            true
        }
        b"created" | b"in_progress" => false,
        _ => std::mem::take(streamed) == 0,
    };
    if !is_new {
        (output.tool, output.has_nontext) = (0, false);
    }
}

#[cfg(test)]
#[path = "openai_assistants_tests.rs"]
mod tests;
