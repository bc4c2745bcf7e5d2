//! Alibaba Cloud's own API, DashScope (help.aliyun.com/zh/model-studio, "Qwen API reference" and "Streaming").
//!
//! An event has its text in `output.choices`, or in `output.text`. Without `incremental_output` in the request, each event
//! has all text so far; with it, only what is new. No field of an event shows which, so the dialect detects it, for each
//! choice and for the answer, the reasoning and the arguments of tool calls:
//!
//! - Text that is shorter than before, or begins with other bytes, was new. Then all events have new text only. What was
//!   not counted until then is added.
//! - Otherwise an event counts with what it has more than the longest one before. After two long texts that grew and began
//!   the same, this is certain.
//!
//! `usage` has running counts. An event that repeats its text, but counts more tokens, has output too.
//!
//! `finish_reason` is the text `null` until the end. An error is an event of the type `error`.
//!
//! Distinctive keys: `output` as an object with `choices` or `text`, beside `usage` and `request_id`.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::facts::{ChoiceFacts, EventFacts};
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TextField, TokenKind, token_count};
use super::text_start::TextStart;
use super::{Dialect, StreamEnd};

/// Text and multimodal generation, and applications.
pub static DASHSCOPE: Dialect = Dialect::sse("dashscope", &ROOT, finish_event, StreamEnd::Event);
/// Embeddings and ranks.
pub static POOLING: Dialect =
    Dialect::sse("dashscope-pooling", &POOLED, finish_pooled, StreamEnd::Body);

static ANSWER: JsonShape = JsonShape::text(Tag::SoFar(TextField::Answer));
static REASONING: JsonShape = JsonShape::text(Tag::SoFar(TextField::Reasoning));
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static FINISH: JsonShape = JsonShape::text(Tag::FinishReason);
static TOOL_CALL: JsonShape = JsonShape::path(&[(
    "function",
    &JsonShape::path(&[
        ("name", &JsonShape::scalar(Tag::ToolName)),
        ("arguments", &JsonShape::text(Tag::SoFar(TextField::ToolArguments))),
    ]),
)]);
/// Text, or a list of parts.
static CONTENT: JsonShape = JsonShape {
    items: Some(&JsonShape::path(&[("text", &ANSWER), ("image", &MEDIA), ("audio", &MEDIA)])),
    ..JsonShape::text(Tag::SoFar(TextField::Answer))
};
static CHOICE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        (
            "message",
            &JsonShape::path(&[
                ("content", &CONTENT),
                ("reasoning_content", &REASONING),
                ("tool_calls", &JsonShape::list(&TOOL_CALL)),
            ]),
        ),
        ("finish_reason", &FINISH),
    ],
);
static OUTPUT: JsonShape = JsonShape::path(&[
    ("choices", &JsonShape::list(&CHOICE)),
    ("text", &ANSWER),
    ("finish_reason", &FINISH),
    // Speech.
    ("audio", &JsonShape::path(&[("data", &MEDIA)])),
    // An application: its thoughts.
    ("thoughts", &JsonShape::list(&JsonShape::path(&[("thought", &REASONING)]))),
]);
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("input_tokens", &token_count(TokenKind::Input)),
        ("output_tokens", &token_count(TokenKind::Output)),
        (
            "prompt_tokens_details",
            &JsonShape::path(&[("cached_tokens", &token_count(TokenKind::CacheRead))]),
        ),
        (
            "output_tokens_details",
            &JsonShape::path(&[("reasoning_tokens", &token_count(TokenKind::Reasoning))]),
        ),
        // An application, which can use several models.
        (
            "models",
            &JsonShape::list(&JsonShape::path(&[
                ("model_id", &JsonShape::text(Tag::Model)),
                ("input_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Input))),
                ("output_tokens", &JsonShape::scalar(Tag::ElementCount(TokenKind::Output))),
            ])),
        ),
    ],
);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("output", &OUTPUT),
    ("usage", &USAGE),
    // The code of an error; empty for a success.
    ("code", &ERROR),
]);
static POOLED: JsonShape = JsonShape::path(with_error_fields![
    (
        "usage",
        &JsonShape::object(
            Tag::Usage,
            &[
                ("total_tokens", &token_count(TokenKind::Input)),
                ("input_tokens", &token_count(TokenKind::Input)),
            ],
        ),
    ),
    ("code", &ERROR),
]);

/// Counter for the stream: whether events have all text so far.
const MODE: u64 = 0;
const UNDECIDED: u64 = 0;
const CUMULATIVE: u64 = 1;
const DELTAS: u64 = 2;
/// Counter for the stream: number of texts that grew and began as the ones before.
const GROWN: u64 = 1;
/// Counter for the stream: output tokens so far.
const TOKENS: u64 = 2;
/// Number of grown texts after which events certainly have all text so far.
const CERTAIN: u64 = 2;

// Counters of one field of one choice: its last length, its longest, the sum of all, its start, whether it had output
// that is not text.
const LAST: u64 = 1;
const COUNTED: u64 = 2;
const SUM: u64 = 3;
const START: u64 = 4;
const NONTEXT: u64 = 5;

/// Key of a counter.
fn key(counter: u64, field: TextField, index: u32) -> u64 {
    counter << 40 | (field as u64) << 36 | u64::from(index)
}

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    event.finish();
    if event.facts.usage.is_some() || event.facts.engine_counts.is_some() {
        event.facts.detected_engine = Some(Engine::DashScope);
    }
    // Without room for a counter, the event stays as it is.
    let _ = subtract_repeated(&mut event.facts, event.text_starts, stream);
}

fn finish_pooled(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    event.finish();
}

/// Subtracts the text that earlier events had. Returns `None` if there are too many choices.
fn subtract_repeated(
    facts: &mut EventFacts,
    starts: [TextStart; TextField::COUNT],
    stream: &mut StreamState,
) -> Option<()> {
    let tokens = facts.usage.and_then(|usage| usage.output).unwrap_or(0);
    let before = std::mem::replace(stream.counter(TOKENS)?, tokens);
    let has_new_tokens = tokens > before;
    // The starts are those of the first text in the event.
    let starts = (facts.choices.len() == 1).then_some(starts);
    for choice in &mut facts.choices {
        let has_text = fields(choice).iter().any(|(_, length)| *length > 0);
        for (field, length) in fields(choice) {
            if length == 0 && has_text {
                // The reasoning ends where the answer begins, whether events have all text so far or not.
                continue;
            }
            let start = starts.and_then(|starts| starts.get(field as usize).copied());
            compare(stream, choice.index, field, length, start)?;
        }
        subtract_from_choice(choice, has_new_tokens, stream)?;
    }
    Some(())
}

/// Lengths of the texts of a choice.
fn fields(choice: &ChoiceFacts) -> [(TextField, u64); TextField::COUNT] {
    [
        (TextField::Answer, choice.answer_chars),
        (TextField::Reasoning, choice.reasoning_chars),
        (TextField::ToolArguments, choice.tool_chars),
    ]
}

/// Compares a text with the one before, and decides how the events of the stream are to be read.
fn compare(
    stream: &mut StreamState,
    index: u32,
    field: TextField,
    length: u64,
    start: Option<TextStart>,
) -> Option<()> {
    *stream.counter(key(SUM, field, index))? += length;
    let last = std::mem::replace(stream.counter(key(LAST, field, index))?, length);
    let mut begins_the_same = true;
    let mut is_long = false;
    if let Some(start) = start {
        let slot = stream.counter(key(START, field, index))?;
        let last_start = TextStart::from_counter(std::mem::replace(slot, start.counter()));
        begins_the_same = last_start.is_start_of(start);
        is_long = last_start.is_full();
    }
    if *stream.counter(MODE)? != UNDECIDED {
        return Some(());
    }
    if length < last || !begins_the_same {
        *stream.counter(MODE)? = DELTAS;
    } else if is_long && length > last {
        let grown = stream.counter(GROWN)?;
        *grown += 1;
        if *grown >= CERTAIN {
            *stream.counter(MODE)? = CUMULATIVE;
        }
    }
    Some(())
}

/// Replaces the lengths of a choice by those of its new text.
fn subtract_from_choice(
    choice: &mut ChoiceFacts,
    has_new_tokens: bool,
    stream: &mut StreamState,
) -> Option<()> {
    let index = choice.index;
    let is_delta = *stream.counter(MODE)? == DELTAS;
    let has_nontext = choice.has_answer && choice.answer_chars == 0 && choice.tool_chars == 0;
    let has_text = choice.answer_chars > 0 || choice.tool_chars > 0;
    let mut new = [0; TextField::COUNT];
    for ((field, length), new) in fields(choice).into_iter().zip(&mut new) {
        let sum = *stream.counter(key(SUM, field, index))?;
        let counted = stream.counter(key(COUNTED, field, index))?;
        // An event without text has no output, also if some of the text before it was not counted.
        if length > 0 {
            let now = if is_delta { sum } else { length.max(*counted) };
            *new = now.saturating_sub(*counted);
            *counted = now;
        }
    }
    [choice.answer_chars, choice.reasoning_chars, choice.tool_chars] = new;
    let nontext = stream.counter(key(NONTEXT, TextField::Answer, index))?;
    let is_first_nontext = has_nontext && std::mem::replace(nontext, 1) == 0;
    choice.has_answer = choice.answer_chars > 0
        || choice.tool_chars > 0
        || is_first_nontext
        || has_nontext && is_delta
        || has_text && has_new_tokens && choice.reasoning_chars == 0;
    Some(())
}

#[cfg(test)]
#[path = "dashscope_tests.rs"]
mod tests;
