//! Text Generation Inference's own API, with the variants of LoRAX, LightLLM and SageMaker's LMI.
//!
//! An event is one token. Its text is output unless the token is `special`: an end-of-sequence token has text too. The
//! last event repeats all text as `generated_text`, which counts only if no token was streamed. A stream ends with its
//! body.

use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, Tag, TokenKind};
use super::{Dialect, StreamEnd};

/// `/generate_stream`, and `/`, which streams if the request has `stream`, and returns an array otherwise.
pub static TGI: Dialect = Dialect::json_lines("tgi", &ROOT, finish_event, StreamEnd::Body);

pub(super) static INPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Input));
pub(super) static OUTPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Output));
pub(super) static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
/// LightLLM has its token counts here.
pub(super) static TOKEN: JsonShape = JsonShape::object(
    Tag::Api(ApiFormat::Tgi),
    &[
        ("id", &JsonShape::scalar(Tag::TokenId)),
        ("text", &JsonShape::scalar(Tag::EventText)),
        ("special", &JsonShape::scalar(Tag::SpecialToken)),
        ("count_output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
    ],
);
/// LightLLM sends an array.
pub(super) static GENERATED: JsonShape =
    JsonShape::array(Tag::RepeatedText, &JsonShape::scalar(Tag::RepeatedText));
/// `input_length` is TGI's, `prompt_tokens` LoRAX's.
pub(super) static DETAILS: JsonShape = JsonShape::path(&[
    ("finish_reason", &FINISH),
    ("generated_tokens", &OUTPUT),
    ("input_length", &INPUT),
    ("prompt_tokens", &INPUT),
]);
pub(super) static ITEM_DETAILS: JsonShape = JsonShape::path(&[
    ("finish_reason", &FINISH),
    ("generated_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Output))),
]);
static ITEM: JsonShape = JsonShape::object(
    Tag::Choice,
    &[("generated_text", &JsonShape::scalar(Tag::Answer)), ("details", &ITEM_DETAILS)],
);
static ROOT: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(with_error_fields![
        ("token", &TOKEN),
        ("generated_text", &GENERATED),
        ("details", &DETAILS),
        ("finished", &JsonShape::scalar(Tag::Done)),
        ("finish_reason", &FINISH),
        ("count_output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
    ])
};

/// Counter of the streamed characters.
const STREAMED: u64 = 0;

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    event.number_choices();
    // `index` numbers the tokens, not the choices.
    event.choice.index = None;
    let text = if event.is_special_token { 0 } else { event.text };
    let full_text = event.repeated_text;
    if let Some(streamed) = stream.counter(STREAMED) {
        *streamed += text;
        event.choice.output().answer += if *streamed == 0 { full_text } else { text };
    }
    event.facts.done |= full_text > 0;
    event.finish();
}

#[cfg(test)]
#[path = "tgi_tests.rs"]
mod tests;
