//! Text Generation Inference's own API, and what LoRAX, LightLLM and SageMaker's LMI made of it.
//!
//! An event is one token: its id counts it, its text is output unless it is `special` (an end of
//! sequence has text and is none). The last event repeats all text as `generated_text`, which counts
//! only where no token was streamed: in a document. A stream ends with its body.

use super::draft::Draft;
use super::reading::Memory;
use super::tag::{Count, Form, Shape, Tag};
use super::{Dialect, Ending};

/// `/generate_stream`, and the route at the root, which streams if asked to and else answers with an
/// array.
pub static TGI: Dialect = Dialect::streamed_as_lines("tgi", &ROOT, conclude, Ending::Body);

pub(super) static INPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Input));
pub(super) static OUTPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Output));
pub(super) static FINISH: Shape = Shape::text(Tag::Finish);
/// LightLLM counts here.
pub(super) static TOKEN: Shape = Shape::object(
    Tag::Form(Form::Tgi),
    &[
        ("id", &Shape::scalar(Tag::TokenId)),
        ("text", &Shape::scalar(Tag::Piece)),
        ("special", &Shape::scalar(Tag::Special)),
        ("count_output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
    ],
);
/// LightLLM's stands in an array.
pub(super) static GENERATED: Shape = Shape::array(Tag::Echo, &Shape::scalar(Tag::Echo));
/// `input_length` is TGI's, `prompt_tokens` LoRAX's.
pub(super) static DETAILS: Shape = Shape::path(&[
    ("finish_reason", &FINISH),
    ("generated_tokens", &OUTPUT),
    ("input_length", &INPUT),
    ("prompt_tokens", &INPUT),
]);
pub(super) static ITEM_DETAILS: Shape = Shape::path(&[
    ("finish_reason", &FINISH),
    ("generated_tokens", &Shape::scalar(Tag::ElementCount(Count::Output))),
]);
static ITEM: Shape = Shape::object(
    Tag::Choice,
    &[("generated_text", &Shape::scalar(Tag::Answer)), ("details", &ITEM_DETAILS)],
);
static ROOT: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("token", &TOKEN),
        ("generated_text", &GENERATED),
        ("details", &DETAILS),
        ("error", &Shape::scalar(Tag::Error)),
        ("finished", &Shape::scalar(Tag::Done)),
        ("finish_reason", &FINISH),
        ("count_output_tokens", &OUTPUT),
        ("prompt_tokens", &INPUT),
    ])
};

/// The key of the text that tokens brought.
const STREAMED: u64 = 0;

fn conclude(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    draft.number_choices();
    // An index says which token it is.
    draft.choice.index = None;
    let text = if draft.is_special { 0 } else { draft.piece };
    let echo = draft.echo;
    if let Some(streamed) = memory.part(STREAMED) {
        *streamed += text;
        draft.choice.body().answer += if *streamed == 0 { echo } else { text };
    }
    draft.facts.done |= echo > 0;
    draft.conclude();
}

#[cfg(test)]
#[path = "tgi_tests.rs"]
mod tests;
