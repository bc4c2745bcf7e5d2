//! Cohere's chat and embeddings in both versions of its API, also served by vLLM, and its older text generation.
//!
//! The plan that older models write before they call tools counts as reasoning. Responses have two token counts:
//! `tokens` is the tokens of the model, `billed_units` those that are billed. `tokens` takes precedence; embeddings have
//! `billed_units` only.
//!
//! Distinctive keys of text generation: `is_finished` with `text`; `generations` in a document.

use super::error_fields::{ERROR, with_error_fields};
use super::event_builder::{EventBuilder, OutputCounts};
use super::facts::FinishClass;
use super::openai_chat::{self, CHOICE, TOOL_CALL};
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};
use crate::wire::framing::Framing;

/// Version 2, streamed as server-sent events.
pub static V2: Dialect = Dialect::sse("cohere-v2", &V2_ROOT, finish_v2, StreamEnd::Event);
/// Version 1, streamed as lines of JSON or as server-sent events. Writer serves OpenAI's chat format on the same path.
pub static V1: Dialect = Dialect::sse("cohere-v1", &V1_ROOT, finish_v1, StreamEnd::Event)
    .with_json_framing(Framing::Lines);
/// Text generation of version 1. The route `/v1/generate` is shared: see `generate.rs`.
pub(super) static GENERATE: Dialect =
    Dialect::json_lines("cohere-generate", &GENERATE_ROOT, finish_generated, StreamEnd::Event);

pub(super) static KIND: JsonShape = JsonShape::text(Tag::EventType);
static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static REASONING: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
pub(super) static USAGE: JsonShape = JsonShape::object(
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
/// One part or tool call in an event of a stream; a list of them otherwise.
static PARTS: JsonShape =
    JsonShape { items: Some(&JsonShape::path(PART)), ..JsonShape::path(PART) };
static TOOL_CALLS: JsonShape =
    JsonShape { items: Some(&TOOL_CALL), ..JsonShape::object(Tag::ToolCall, TOOL_CALL.keys) };
/// Text instead of an object is that of an error.
static MESSAGE: JsonShape = JsonShape {
    tag: Some(Tag::ErrorDetail),
    ..JsonShape::path(&[
        ("content", &PARTS),
        ("tool_plan", &REASONING),
        ("tool_calls", &TOOL_CALLS),
    ])
};
static DELTA: JsonShape = JsonShape::path(&[
    ("message", &MESSAGE),
    ("finish_reason", &FINISH),
    ("usage", &USAGE),
    ("error", &ERROR),
]);
static V2_ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("type", &KIND),
    ("delta", &DELTA),
    // Response that is not streamed.
    ("message", &MESSAGE),
    ("finish_reason", &FINISH),
    ("usage", &USAGE),
    // Embeddings.
    ("meta", &USAGE),
]);

/// Tool call of version 1. In a stream, its parameters are text.
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
static V1_ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("message", &JsonShape::scalar(Tag::ErrorDetail)),
    ("event_type", &KIND),
    ("text", &ANSWER),
    ("tool_call_delta", &V1_TOOL_CALL),
    ("tool_calls", &JsonShape::list(&V1_TOOL_CALL)),
    ("finish_reason", &FINISH),
    ("response", &RESPONSE),
    ("meta", &USAGE),
    // OpenAI's format.
    ("choices", &JsonShape::list(&CHOICE)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &openai_chat::USAGE),
]);

/// The last event of a stream, which repeats all text.
pub(super) static GENERATED: JsonShape = JsonShape::path(&[
    (
        "generations",
        &JsonShape::list(&JsonShape::path(&[("text", &JsonShape::scalar(Tag::RepeatedText))])),
    ),
    ("meta", &USAGE),
]);
static GENERATION: JsonShape =
    JsonShape::object(Tag::Choice, &[("text", &ANSWER), ("finish_reason", &FINISH)]);
/// Response that is not streamed.
pub(super) static GENERATIONS: JsonShape =
    JsonShape::array(Tag::Api(ApiFormat::Cohere), &GENERATION);
/// Each event of a stream has it, also without `event_type`, in the first version.
pub(super) static IS_FINISHED: JsonShape = JsonShape::scalar(Tag::Api(ApiFormat::Cohere));
static GENERATE_ROOT: JsonShape = JsonShape::path(&[
    ("event_type", &KIND),
    ("is_finished", &IS_FINISHED),
    ("text", &JsonShape::scalar(Tag::EventText)),
    ("index", &JsonShape::scalar(Tag::Index)),
    ("finish_reason", &FINISH),
    ("response", &GENERATED),
    ("generations", &GENERATIONS),
    ("meta", &USAGE),
    ("err", &ERROR),
]);

fn finish_v2(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.facts.error |= failed(event);
    event.finish();
}

fn finish_v1(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    /// Counters of streamed text and of streamed tool calls.
    const TEXT: u64 = 0;
    const TOOLS: u64 = 1;
    if !event.facts.choices.is_empty() {
        stream.detected_dialect = Some(openai_chat::CHAT.name);
    }
    let mut streamed = |counter, chars| {
        let so_far = stream.counter(counter);
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
        // Repeats the chunks, if there were any.
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

fn finish_generated(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let (text, all_text) = (event.text, event.repeated_text);
    if let Some(streamed) = stream.counter(0) {
        *streamed += text;
        event.choice.delta.answer += if *streamed == 0 { all_text } else { text };
    }
    event.facts.done |= event.event_type() == b"stream-end";
    event.facts.error |= failed(event);
    event.number_choices();
    event.finish();
}

/// Whether the finish reason is an error.
fn failed(event: &EventBuilder) -> bool {
    event.choice.finish.as_deref().is_some_and(|reason| {
        reason.starts_with("ERROR") && FinishClass::of(reason) != FinishClass::Refusal
    })
}

#[cfg(test)]
#[path = "cohere_tests.rs"]
mod tests;
