//! Cohere's chat and embeddings in both versions of its API, streamed and whole, as Cohere and vLLM
//! send them.
//!
//! The plan that older models make before they call tools is reasoning. Two token counts come
//! together: `tokens` is what the model read and wrote, `billed_units` what is paid for. The first
//! counts; the second stands in where it is alone, as for embeddings.

use super::draft::{Body, Draft};
use super::openai_chat::{self, CHOICE, ERROR, TOOL_CALL};
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};
use crate::wire::framing::Framing;

/// The second version, streamed as server-sent events.
pub static V2: Dialect = Dialect::streamed_as_sse("cohere-v2", &V2_ROOT, conclude_v2, Ending::Told);
/// The first version, streamed in lines of JSON or as server-sent events. Its path is also that of
/// servers that answer like OpenAI's chat (Writer).
pub static V1: Dialect = Dialect::streamed_as_sse("cohere-v1", &V1_ROOT, conclude_v1, Ending::Told)
    .with_json(Framing::Lines);

static KIND: Shape = Shape::text(Tag::Kind);
static FINISH: Shape = Shape::text(Tag::Finish);
static ANSWER: Shape = Shape::scalar(Tag::Answer);
static REASONING: Shape = Shape::scalar(Tag::Reasoning(0));
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        (
            "tokens",
            &Shape::path(&[
                ("input_tokens", &counted(Count::Input)),
                ("output_tokens", &counted(Count::Output)),
                ("reasoning_tokens", &counted(Count::Reasoning)),
            ]),
        ),
        (
            "billed_units",
            &Shape::path(&[
                ("input_tokens", &Shape::scalar(Tag::EngineCount(Count::Input))),
                ("output_tokens", &Shape::scalar(Tag::EngineCount(Count::Output))),
            ]),
        ),
        ("cached_tokens", &counted(Count::Cached)),
    ],
);

const PART: &[(&str, &Shape)] = &[("text", &ANSWER), ("thinking", &REASONING)];
/// Streamed, there is one part or tool call at a time; whole, a list of them.
static PARTS: Shape = Shape { items: Some(&Shape::path(PART)), ..Shape::path(PART) };
static TOOL_CALLS: Shape = Shape { items: Some(&TOOL_CALL), ..Shape::path(TOOL_CALL.keys) };
static MESSAGE: Shape =
    Shape::path(&[("content", &PARTS), ("tool_plan", &REASONING), ("tool_calls", &TOOL_CALLS)]);
static DELTA: Shape = Shape::path(&[
    ("message", &MESSAGE),
    ("finish_reason", &FINISH),
    ("usage", &USAGE),
    ("error", &ERROR),
]);
static V2_ROOT: Shape = Shape::path(&[
    ("type", &KIND),
    ("delta", &DELTA),
    ("error", &ERROR),
    // An answer that is not streamed.
    ("message", &MESSAGE),
    ("finish_reason", &FINISH),
    ("usage", &USAGE),
    // Embeddings.
    ("meta", &USAGE),
]);

/// A tool call of the first version. Streamed, its parameters are text.
static V1_TOOL_CALL: Shape = Shape::path(&[
    ("name", &Shape::scalar(Tag::ToolName)),
    ("parameters", &Shape::raw(Tag::ToolArguments)),
    // The plan.
    ("text", &REASONING),
]);
static RESPONSE: Shape = Shape::path(&[
    ("text", &Shape::scalar(Tag::Echo)),
    ("finish_reason", &FINISH),
    ("meta", &USAGE),
]);
static V1_ROOT: Shape = Shape::path(&[
    ("event_type", &KIND),
    ("text", &ANSWER),
    ("tool_call_delta", &V1_TOOL_CALL),
    ("tool_calls", &Shape::list(&V1_TOOL_CALL)),
    ("finish_reason", &FINISH),
    ("response", &RESPONSE),
    ("meta", &USAGE),
    // OpenAI's.
    ("choices", &Shape::list(&CHOICE)),
    ("model", &Shape::text(Tag::Model)),
    ("usage", &openai_chat::USAGE),
    ("error", &ERROR),
]);

fn conclude_v2(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    draft.facts.error |= failed(draft);
    draft.conclude();
}

fn conclude_v1(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    /// What of the response has been streamed: its text, its tool calls.
    const TEXT: u64 = 0;
    const TOOLS: u64 = 1;
    if !draft.facts.choices.is_empty() {
        memory.spoken = Some(openai_chat::CHAT.name);
    }
    let mut streamed = |what, chars| {
        let so_far = memory.part(what);
        so_far.map_or(0, |so_far| {
            *so_far += chars;
            *so_far
        })
    };
    let body = &draft.choice.delta;
    match draft.kind() {
        b"text-generation" => _ = streamed(TEXT, body.answer),
        b"tool-calls-chunk" => {
            streamed(TOOLS, 1);
            // Text in such an event is the plan.
            let body = &mut draft.choice.delta;
            body.reasoning[0] += std::mem::take(&mut body.answer);
        }
        // Repeats the chunks, where there were any.
        b"tool-calls-generation" if streamed(TOOLS, 0) > 0 => draft.choice.delta = Body::default(),
        b"stream-end" => {
            draft.facts.done = true;
            if streamed(TEXT, 0) == 0 {
                draft.choice.delta.answer += draft.echo;
            }
        }
        _ => {}
    }
    draft.facts.error |= failed(draft);
    draft.conclude();
}

/// Whether the server says that it failed.
fn failed(draft: &Draft) -> bool {
    draft.choice.finish.as_deref() == Some("ERROR")
}

#[cfg(test)]
#[path = "cohere_tests.rs"]
mod tests;
