//! vLLM's own API, now and once.
//!
//! `/inference/v1/generate` takes token ids and gives token ids: there they *are* the output, which in
//! other dialects they only count.
//!
//! The first API of all, vLLM's demonstration server at `/generate` (gone since 0.10), repeats the prompt
//! and all text with each event, a JSON document before each NUL or line's end. How long the prompt is
//! does not show, so the text of the first event is not counted; of an answer in one piece, none is.
//! FastChat's worker and other early servers write like it.

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::openai_chat::{ERROR, USAGE};
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// `/inference/v1/generate`; `/generate` is shared with others.
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
/// One text, or one for each sample.
pub(super) static TEXT: JsonShape =
    JsonShape::array(Tag::EventText, &JsonShape::scalar(Tag::EventText));
static ROOT: JsonShape = JsonShape::path(&[
    ("choices", &JsonShape::list(&CHOICE)),
    ("text", &TEXT),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
    ("error", &ERROR),
]);

/// The key of the text that was told so far, with the prompt.
const TEXT_SO_FAR: u64 = 0;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    for choice in &mut event.facts.choices {
        choice.has_answer |= choice.token_ids > 0;
    }
    let piece = event.text;
    if piece > 0
        && let Some(before) = stream.counter(TEXT_SO_FAR)
    {
        let output = event.choice.output();
        if *before == 0 {
            output.has_nontext = true;
        } else {
            output.answer += piece.saturating_sub(*before);
        }
        *before = piece.max(*before);
    }
    event.finish();
}

#[cfg(test)]
#[path = "vllm_generate_tests.rs"]
mod tests;
