//! vLLM's own API, now and once.
//!
//! `/inference/v1/generate` takes token ids and gives token ids: there they *are* the output, which in
//! other dialects they only count.
//!
//! The first API of all, vLLM's demonstration server at `/generate` (gone since 0.10), repeats the prompt
//! and all text with each event, a JSON document before each NUL or line's end. How long the prompt is
//! does not show, so the text of the first event is not counted; of an answer in one piece, none is.
//! FastChat's worker and other early servers write like it.

use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::{ERROR, USAGE};
use super::reading::Memory;
use super::tag::{Shape, Tag};
use super::{Dialect, Ending};

/// `/inference/v1/generate`; `/generate` is shared with others.
pub static VLLM_GENERATE: Dialect =
    Dialect::streamed_as_lines("vllm-generate", &ROOT, conclude, Ending::Body);

static CHOICE: Shape = Shape::object(
    Tag::Choice,
    &[
        ("index", &Shape::scalar(Tag::Index)),
        ("token_ids", &Shape::array(Tag::Sign(Engine::Vllm), &Shape::scalar(Tag::TokenId))),
        ("finish_reason", &Shape::text(Tag::Finish)),
    ],
);
/// One text, or one for each sample.
pub(super) static TEXT: Shape = Shape::array(Tag::Piece, &Shape::scalar(Tag::Piece));
static ROOT: Shape = Shape::path(&[
    ("choices", &Shape::list(&CHOICE)),
    ("text", &TEXT),
    ("model", &Shape::text(Tag::Model)),
    ("usage", &USAGE),
    ("error", &ERROR),
]);

/// The key of the text that was told so far, with the prompt.
const TEXT_SO_FAR: u64 = 0;

fn conclude(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    for choice in &mut draft.facts.choices {
        choice.answers |= choice.token_ids > 0;
    }
    let piece = draft.piece;
    if piece > 0
        && let Some(before) = memory.part(TEXT_SO_FAR)
    {
        let body = draft.choice.body();
        if *before == 0 {
            body.wordless = true;
        } else {
            body.answer += piece.saturating_sub(*before);
        }
        *before = piece.max(*before);
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "vllm_generate_tests.rs"]
mod tests;
