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

use super::choice_counts::{self, key};
use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration};
use super::{Dialect, StreamEnd};
use crate::wire::json::StringMode;

/// `/encode`; `/generate` is shared with others.
pub static SGLANG: Dialect = Dialect::sse("sglang", &ROOT, finish_event, StreamEnd::Event);

static FINISH_REASON: JsonShape = JsonShape {
    strings: StringMode::Keep,
    ..JsonShape::object(Tag::FinishReason, &[("type", &JsonShape::text(Tag::FinishReason))])
};
static QUEUE: JsonShape = duration(ServerStage::Queue, TimeUnit::Seconds);
static TOTAL: JsonShape = duration(ServerStage::Total, TimeUnit::Seconds);
pub(super) static META_INFO: JsonShape = JsonShape::object(
    Tag::Api(ApiFormat::Sglang),
    &[
        ("finish_reason", &FINISH_REASON),
        ("prompt_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Input))),
        ("completion_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Output))),
        ("cached_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::CacheRead))),
        ("queue_time", &QUEUE),
        ("e2e_latency", &TOTAL),
        ("weight_version", &JsonShape::scalar(Tag::WrittenBy(Engine::Sglang))),
        ("completion_tokens_wo_jump_forward", &JsonShape::scalar(Tag::WrittenBy(Engine::Sglang))),
    ],
);
pub(super) static OUTPUT_IDS: JsonShape = JsonShape::list(&JsonShape::scalar(Tag::TokenId));
pub(super) static ITEM_META_INFO: JsonShape = JsonShape::object(
    Tag::Api(ApiFormat::Sglang),
    &[
        ("finish_reason", &FINISH_REASON),
        ("prompt_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Input))),
        ("completion_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Output))),
        ("cached_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::CacheRead))),
        ("queue_time", &QUEUE),
        ("e2e_latency", &TOTAL),
        ("weight_version", &JsonShape::scalar(Tag::WrittenBy(Engine::Sglang))),
    ],
);
static ITEM: JsonShape = JsonShape::object(
    Tag::Choice,
    &[("text", &JsonShape::scalar(Tag::Answer)), ("meta_info", &ITEM_META_INFO)],
);
static ROOT: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(&[
        ("text", &JsonShape::scalar(Tag::EventText)),
        ("output_ids", &OUTPUT_IDS),
        ("meta_info", &META_INFO),
        ("index", &JsonShape::scalar(Tag::Index)),
        ("error", &JsonShape::scalar(Tag::Error)),
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

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    event.number_choices();
    // A document with several prompts has a choice of each by now.
    if event.api_format == Some(ApiFormat::Sglang) && event.facts.choices.is_empty() {
        generated(event, stream);
        choice_counts::add_up(event, stream);
    }
    event.finish();
}

/// What an event generated.
fn generated(event: &mut EventBuilder, stream: &mut StreamState) {
    let index = event.choice.index.unwrap_or(0);
    let ids = std::mem::take(&mut event.choice.token_ids);
    let tokens = event.facts.engine_counts.as_mut().and_then(|counts| {
        // What is 0 so far is not counted yet.
        counts.output = counts.output.filter(|count| *count > 0);
        counts.output
    });
    let mut new = ids;
    let mut repeats = UNDECIDED;
    if let (Some(tokens), Some(before)) = (tokens, stream.counter(key(TOKENS, index))) {
        new = tokens.saturating_sub(*before);
        repeats = match (*before, ids) {
            (0, _) | (_, 0) => UNDECIDED,
            (_, ids) if ids == tokens => CUMULATIVE,
            (_, ids) if ids == new => DELTAS,
            _ => UNDECIDED,
        };
        *before = tokens;
    }
    let text = new_text(stream, index, event.text, repeats).unwrap_or(0);
    let output = event.choice.output();
    output.answer += text;
    output.has_nontext |= event.text_count == 0 && new > 0;
}

/// How much of an event's text is new; `None` if there are too many prompts. `repeats` is what its
/// token ids say.
fn new_text(stream: &mut StreamState, index: u64, piece: u64, repeats: u64) -> Option<u64> {
    let texts = stream.counter(key(TEXTS, index))?;
    *texts += piece;
    let texts = *texts;
    let text = *stream.counter(key(TEXT, index))?;
    let decided = stream.counter(REPEATS)?;
    if *decided == UNDECIDED {
        let shrinks = piece > 0 && piece * 2 <= text;
        *decided = if repeats == UNDECIDED && shrinks { DELTAS } else { repeats };
    }
    let now = if *decided == DELTAS { texts } else { text.max(piece) };
    *stream.counter(key(TEXT, index))? = now;
    Some(now - text)
}

#[cfg(test)]
#[path = "sglang_tests.rs"]
mod tests;
