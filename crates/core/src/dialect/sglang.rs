//! SGLang's own API.
//!
//! `meta_info` has exact running token counts in every event. Depending on the server's options, text and token ids are
//! cumulative (each event repeats all of it) or deltas. No field shows which, so the dialect detects it:
//!
//! - With token ids: as many ids as tokens so far means cumulative, as many as new tokens means deltas.
//! - Without ids: text is taken as cumulative until an event has at most half as much text as the longest so far. Then
//!   all were deltas, and the text that was not counted until then is added. A short stream of deltas that only grow is
//!   taken as cumulative.
//!
//! A server without a tokenizer (`skip_tokenizer_init`) sends no text; the ids are the output. `reasoning_tokens` are
//! not read, because the text of the reasoning is not separate here. Several prompts, or samples of one prompt, have an
//! `index`. Their counts are added up, those of the prompt once per sample.

use super::choice_counts::{self, key};
use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration};
use super::{Dialect, StreamEnd};
use crate::wire::json::StringMode;

/// `/encode`. The route `/generate` is shared: see `generate.rs`.
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
    ..JsonShape::path(with_error_fields![
        ("text", &JsonShape::scalar(Tag::EventText)),
        ("output_ids", &OUTPUT_IDS),
        ("meta_info", &META_INFO),
        ("index", &JsonShape::scalar(Tag::Index)),
    ])
};

// Counters for each prompt: length of its text so far, sum of the text of all its events, number of tokens.
const TEXT: u64 = 16;
const TEXTS: u64 = 17;
const TOKENS: u64 = 18;
/// Counter for the stream: whether events are cumulative or deltas.
const EVENT_MODE: u64 = 0;
const UNDECIDED: u64 = 0;
const CUMULATIVE: u64 = 1;
const DELTAS: u64 = 2;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    event.number_choices();
    // A document with several prompts has its choices already.
    if event.api_format == Some(ApiFormat::Sglang) && event.facts.choices.is_empty() {
        record_output(event, stream);
        choice_counts::sum_event_counts(event, stream);
    }
    event.finish();
}

/// Records the output of an event that is new.
fn record_output(event: &mut EventBuilder, stream: &mut StreamState) {
    let index = event.choice.index.unwrap_or(0);
    let ids = std::mem::take(&mut event.choice.token_ids);
    let tokens = event.facts.engine_counts.as_mut().and_then(|counts| {
        // 0 means that nothing was counted yet.
        counts.output = counts.output.filter(|count| *count > 0);
        counts.output
    });
    let mut new = ids;
    let mut mode = UNDECIDED;
    if let (Some(tokens), Some(before)) = (tokens, stream.counter(key(TOKENS, index))) {
        new = tokens.saturating_sub(*before);
        mode = match (*before, ids) {
            (0, _) | (_, 0) => UNDECIDED,
            (_, ids) if ids == tokens => CUMULATIVE,
            (_, ids) if ids == new => DELTAS,
            _ => UNDECIDED,
        };
        *before = tokens;
    }
    let text = new_text(stream, index, event.text, mode).unwrap_or(0);
    let output = event.choice.output();
    output.answer += text;
    output.has_nontext |= event.text_count == 0 && new > 0;
}

/// Returns how much of an event's text is new; `None` if there are too many prompts. `mode` is what the token ids
/// show.
fn new_text(stream: &mut StreamState, index: u64, event_text: u64, mode: u64) -> Option<u64> {
    let texts = stream.counter(key(TEXTS, index))?;
    *texts += event_text;
    let texts = *texts;
    let text = *stream.counter(key(TEXT, index))?;
    let decided = stream.counter(EVENT_MODE)?;
    if *decided == UNDECIDED {
        let shrinks = event_text > 0 && event_text * 2 <= text;
        *decided = if mode == UNDECIDED && shrinks { DELTAS } else { mode };
    }
    let now = if *decided == DELTAS { texts } else { text.max(event_text) };
    *stream.counter(key(TEXT, index))? = now;
    Some(now - text)
}

#[cfg(test)]
#[path = "sglang_tests.rs"]
mod tests;
