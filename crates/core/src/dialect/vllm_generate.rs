//! vLLM's own API.
//!
//! `/inference/v1/generate` takes and returns token ids: here they are the output.
//!
//! The first API, vLLM's demonstration server at `/generate` (removed in 0.10), repeats the prompt and all text in each
//! event. Events are JSON documents, each followed by a NUL or a line end. The length of the prompt is not known, so the
//! text of the first event is not counted, and none of a response with one event. FastChat's worker and other early
//! servers use the same format.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::USAGE;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// `/inference/v1/generate`. The route `/generate` is shared: see `generate.rs`.
pub static VLLM_GENERATE: Dialect =
    Dialect::json_lines("vllm-generate", &ROOT, finish_event, StreamEnd::Body);

static CHOICE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        (
            "token_ids",
            &JsonShape::array(Tag::WrittenBy(Engine::Vllm), &JsonShape::scalar(Tag::TokenId)),
        ),
        ("finish_reason", &JsonShape::text(Tag::FinishReason)),
    ],
);
/// One text, or one per sample.
pub(super) static TEXT: JsonShape =
    JsonShape::array(Tag::EventText, &JsonShape::scalar(Tag::EventText));
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("choices", &JsonShape::list(&CHOICE)),
    ("text", &TEXT),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
]);

/// Counter of the characters so far, with the prompt.
const TEXT_SO_FAR: u64 = 0;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    for choice in &mut event.facts.choices {
        choice.has_answer |= choice.token_ids > 0;
    }
    let text = event.text;
    if text > 0
        && let Some(before) = stream.counter(TEXT_SO_FAR)
    {
        let output = event.choice.output();
        if *before == 0 {
            output.has_nontext = true;
        } else {
            output.answer += text.saturating_sub(*before);
        }
        *before = text.max(*before);
    }
    event.finish();
}

#[cfg(test)]
#[path = "vllm_generate_tests.rs"]
mod tests;
