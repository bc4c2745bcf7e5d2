//! Cohere's chat and embeddings in both versions of its API, streamed and whole, as Cohere and vLLM
//! send them.
//!
//! The plan that older models make before they call tools is reasoning. Two token counts come
//! together: `tokens` is what the model read and wrote, `billed_units` what is paid for. The first
//! counts; the second stands in where it is alone, as for embeddings.

use super::event_builder::{EventBuilder, OutputCounts};
use super::openai_chat::{self, CHOICE, ERROR, TOOL_CALL};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};
use crate::wire::framing::Framing;

/// The second version, streamed as server-sent events.
pub static V2: Dialect = Dialect::sse("cohere-v2", &V2_ROOT, finish_v2, StreamEnd::Event);
/// The first version, streamed in lines of JSON or as server-sent events. Its path is also that of
/// servers that answer like OpenAI's chat (Writer).
pub static V1: Dialect = Dialect::sse("cohere-v1", &V1_ROOT, finish_v1, StreamEnd::Event)
    .with_json_framing(Framing::Lines);

static KIND: JsonShape = JsonShape::text(Tag::EventType);
static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static REASONING: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        (
            "tokens",
            &JsonShape::path(&[
                ("input_tokens", &token_count(TokenKind::Input)),
                ("output_tokens", &token_count(TokenKind::Output)),
                ("reasoning_tokens", &token_count(TokenKind::Reasoning)),
            ]),
        ),
        (
            "billed_units",
            &JsonShape::path(&[
                ("input_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Input))),
                ("output_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Output))),
            ]),
        ),
        ("cached_tokens", &token_count(TokenKind::CacheRead)),
    ],
);

const PART: &[(&str, &JsonShape)] = &[("text", &ANSWER), ("thinking", &REASONING)];
/// Streamed, there is one part or tool call at a time; whole, a list of them.
static PARTS: JsonShape =
    JsonShape { items: Some(&JsonShape::path(PART)), ..JsonShape::path(PART) };
static TOOL_CALLS: JsonShape =
    JsonShape { items: Some(&TOOL_CALL), ..JsonShape::path(TOOL_CALL.keys) };
static MESSAGE: JsonShape =
    JsonShape::path(&[("content", &PARTS), ("tool_plan", &REASONING), ("tool_calls", &TOOL_CALLS)]);
static DELTA: JsonShape = JsonShape::path(&[
    ("message", &MESSAGE),
    ("finish_reason", &FINISH),
    ("usage", &USAGE),
    ("error", &ERROR),
]);
static V2_ROOT: JsonShape = JsonShape::path(&[
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
static V1_TOOL_CALL: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("parameters", &JsonShape::raw(Tag::ToolArguments)),
    // The plan.
    ("text", &REASONING),
]);
static RESPONSE: JsonShape = JsonShape::path(&[
    ("text", &JsonShape::scalar(Tag::RepeatedText)),
    ("finish_reason", &FINISH),
    ("meta", &USAGE),
]);
static V1_ROOT: JsonShape = JsonShape::path(&[
    ("event_type", &KIND),
    ("text", &ANSWER),
    ("tool_call_delta", &V1_TOOL_CALL),
    ("tool_calls", &JsonShape::list(&V1_TOOL_CALL)),
    ("finish_reason", &FINISH),
    ("response", &RESPONSE),
    ("meta", &USAGE),
    // OpenAI's.
    ("choices", &JsonShape::list(&CHOICE)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &openai_chat::USAGE),
    ("error", &ERROR),
]);

fn finish_v2(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.facts.error |= failed(event);
    event.finish();
}

fn finish_v1(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    /// What of the response has been streamed: its text, its tool calls.
    const TEXT: u64 = 0;
    const TOOLS: u64 = 1;
    if !event.facts.choices.is_empty() {
        stream.detected_dialect = Some(openai_chat::CHAT.name);
    }
    let mut streamed = |what, chars| {
        let so_far = stream.counter(what);
        so_far.map_or(0, |so_far| {
            *so_far += chars;
            *so_far
        })
    };
    let output = &event.choice.delta;
    match event.event_type() {
        b"text-generation" => _ = streamed(TEXT, output.answer),
        b"tool-calls-chunk" => {
            streamed(TOOLS, 1);
            // Text in such an event is the plan.
            let output = &mut event.choice.delta;
            output.reasoning[0] += std::mem::take(&mut output.answer);
        }
        // Repeats the chunks, where there were any.
        b"tool-calls-generation" if streamed(TOOLS, 0) > 0 => {
            event.choice.delta = OutputCounts::default()
        }
        b"stream-end" => {
            event.facts.done = true;
            if streamed(TEXT, 0) == 0 {
                event.choice.delta.answer += event.repeated_text;
            }
        }
        _ => {}
    }
    event.facts.error |= failed(event);
    event.finish();
}

/// Whether the server says that it failed.
fn failed(event: &EventBuilder) -> bool {
    event.choice.finish.as_deref() == Some("ERROR")
}

#[cfg(test)]
#[path = "cohere_tests.rs"]
mod tests;
