//! SGLang's own API.
//!
//! `meta_info` tells exact running counts with every event; text and token ids come cumulative, each
//! event repeating all that came before, or as deltas, as the server was started. No field says which,
//! so it is decided by what is seen: ids as many as all tokens so far are cumulative, as many as the
//! new tokens are deltas. Where no ids are told, text is taken for cumulative until one comes that is
//! at most half as long as the longest so far: then all were deltas, and what was not told of them is
//! told now. A delta stream of a few tokens that only grow is taken for a cumulative one.
//!
//! Without a tokenizer in the server (`skip_tokenizer_init`), events have no text, and the ids are the
//! output. `reasoning_tokens` are left out: their text is not set apart here. Several prompts, or
//! samples of one, have an `index`; their counts are added up, the prompt's once per sample.

use super::batch::{self, key};
use super::draft::Draft;
use super::engine::Engine;
use super::reading::Memory;
use super::tag::{Count, Form, Shape, Stage, Tag, Unit, time};
use super::{Dialect, Ending};
use crate::wire::json::Strings;

/// `/encode`; `/generate` is shared with others.
pub static SGLANG: Dialect = Dialect::streamed_as_sse("sglang", &ROOT, conclude, Ending::Told);

static FINISH_REASON: Shape = Shape {
    strings: Strings::Kept,
    ..Shape::object(Tag::Finish, &[("type", &Shape::text(Tag::Finish))])
};
static QUEUE: Shape = time(Stage::Queue, Unit::Seconds);
static TOTAL: Shape = time(Stage::Total, Unit::Seconds);
pub(super) static META_INFO: Shape = Shape::object(
    Tag::Form(Form::Sglang),
    &[
        ("finish_reason", &FINISH_REASON),
        ("prompt_tokens", &Shape::scalar(Tag::EngineCount(Count::Input))),
        ("completion_tokens", &Shape::scalar(Tag::EngineCount(Count::Output))),
        ("cached_tokens", &Shape::scalar(Tag::EngineCount(Count::Cached))),
        ("queue_time", &QUEUE),
        ("e2e_latency", &TOTAL),
        ("weight_version", &Shape::scalar(Tag::Sign(Engine::Sglang))),
        ("completion_tokens_wo_jump_forward", &Shape::scalar(Tag::Sign(Engine::Sglang))),
    ],
);
pub(super) static OUTPUT_IDS: Shape = Shape::list(&Shape::scalar(Tag::TokenId));
pub(super) static ITEM_META_INFO: Shape = Shape::object(
    Tag::Form(Form::Sglang),
    &[
        ("finish_reason", &FINISH_REASON),
        ("prompt_tokens", &Shape::scalar(Tag::ElementCount(Count::Input))),
        ("completion_tokens", &Shape::scalar(Tag::ElementCount(Count::Output))),
        ("cached_tokens", &Shape::scalar(Tag::ElementCount(Count::Cached))),
        ("queue_time", &QUEUE),
        ("e2e_latency", &TOTAL),
        ("weight_version", &Shape::scalar(Tag::Sign(Engine::Sglang))),
    ],
);
static ITEM: Shape = Shape::object(
    Tag::Choice,
    &[("text", &Shape::scalar(Tag::Answer)), ("meta_info", &ITEM_META_INFO)],
);
static ROOT: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("text", &Shape::scalar(Tag::Piece)),
        ("output_ids", &OUTPUT_IDS),
        ("meta_info", &META_INFO),
        ("index", &Shape::scalar(Tag::Index)),
        ("error", &Shape::scalar(Tag::Error)),
    ])
};

// What is remembered of each prompt: how long its text is so far, and all events' texts together, and
// how many tokens it has.
const TEXT: u64 = 16;
const TEXTS: u64 = 17;
const TOKENS: u64 = 18;
/// What is remembered of the stream: how an event is to the one before.
const REPEATS: u64 = 0;
const UNDECIDED: u64 = 0;
const CUMULATIVE: u64 = 1;
const DELTAS: u64 = 2;

fn conclude(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    draft.number_choices();
    // A document with several prompts has a choice of each by now.
    if draft.form == Some(Form::Sglang) && draft.facts.choices.is_empty() {
        generated(draft, memory);
        batch::add_up(draft, memory);
    }
    draft.conclude();
}

/// What an event generated.
fn generated(draft: &mut Draft, memory: &mut Memory) {
    let index = draft.choice.index.unwrap_or(0);
    let ids = std::mem::take(&mut draft.choice.token_ids);
    let tokens = draft.facts.engine.as_mut().and_then(|counts| {
        // What is 0 so far is not counted yet.
        counts.output = counts.output.filter(|count| *count > 0);
        counts.output
    });
    let mut new = ids;
    let mut repeats = UNDECIDED;
    if let (Some(tokens), Some(before)) = (tokens, memory.part(key(TOKENS, index))) {
        new = tokens.saturating_sub(*before);
        repeats = match (*before, ids) {
            (0, _) | (_, 0) => UNDECIDED,
            (_, ids) if ids == tokens => CUMULATIVE,
            (_, ids) if ids == new => DELTAS,
            _ => UNDECIDED,
        };
        *before = tokens;
    }
    let text = new_text(memory, index, draft.piece, repeats).unwrap_or(0);
    let body = draft.choice.body();
    body.answer += text;
    body.wordless |= draft.pieces == 0 && new > 0;
}

/// How much of an event's text is new; `None` if there are too many prompts. `repeats` is what its
/// token ids say.
fn new_text(memory: &mut Memory, index: u64, piece: u64, repeats: u64) -> Option<u64> {
    let texts = memory.part(key(TEXTS, index))?;
    *texts += piece;
    let texts = *texts;
    let text = *memory.part(key(TEXT, index))?;
    let decided = memory.part(REPEATS)?;
    if *decided == UNDECIDED {
        let shrinks = piece > 0 && piece * 2 <= text;
        *decided = if repeats == UNDECIDED && shrinks { DELTAS } else { repeats };
    }
    let now = if *decided == DELTAS { texts } else { text.max(piece) };
    *memory.part(key(TEXT, index))? = now;
    Some(now - text)
}

#[cfg(test)]
#[path = "sglang_tests.rs"]
mod tests;
