//! Gemini's `generateContent`, on Google AI and Vertex AI.
//!
//! A stream is server-sent events with `alt=sse`, else one JSON array that arrives element by element. Both end with
//! the body. Output is the text of parts, function calls, calls of tools that Google runs, code to execute, and media. The
//! results of tools and code are not. A part with `thought: true` is reasoning: the text is a summary, an image a draft.
//! Counts are running totals, and reasoning is counted separately from the answer.
//!
//! Gemini Code Assist wraps each response in `{"response": ...}`.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, FinishReason, StreamEnd};
use crate::wire::framing::Framing;

const GEMINI: Dialect = Dialect::sse("gemini", &ROOT, finish_event, StreamEnd::Body);
/// Streamed responses.
pub static STREAM: Dialect = GEMINI.with_json_framing(Framing::JsonArray);
/// Responses that are not streamed, and embeddings.
pub static WHOLE: Dialect = GEMINI;

static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static ARGUMENT: JsonShape = JsonShape::scalar(Tag::ArgumentValue);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
/// Part of the arguments: the value at one JSON path.
static PARTIAL_ARGUMENT: JsonShape = JsonShape::path(&[
    ("stringValue", &ARGUMENTS),
    ("numberValue", &ARGUMENT),
    ("boolValue", &ARGUMENT),
    ("nullValue", &ARGUMENT),
    ("structValue", &ARGUMENTS),
    ("listValue", &ARGUMENTS),
]);
static FUNCTION_CALL: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("args", &ARGUMENTS),
    // Vertex AI with streamed arguments.
    ("partialArgs", &JsonShape::list(&PARTIAL_ARGUMENT)),
]);
static PART: JsonShape = JsonShape::object(
    Tag::Part,
    &[
        ("text", &JsonShape::scalar(Tag::PartText)),
        ("thought", &JsonShape::scalar(Tag::Thought)),
        ("functionCall", &FUNCTION_CALL),
        // Google runs the tool.
        ("toolCall", &JsonShape::path(&[("args", &ARGUMENTS)])),
        ("executableCode", &JsonShape::path(&[("code", &ARGUMENTS)])),
        ("inlineData", &JsonShape::path(&[("data", &MEDIA)])),
        ("fileData", &JsonShape::path(&[("fileUri", &MEDIA)])),
        // Words of generated sound.
        ("audioTranscription", &JsonShape::path(&[("text", &MEDIA)])),
    ],
);
static CANDIDATE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        ("content", &JsonShape::path(&[("parts", &JsonShape::list(&PART))])),
        ("finishReason", &JsonShape::text(Tag::FinishReason)),
    ],
);
/// `promptTokenCount` does not include what Google's own tools added to the prompt.
static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("promptTokenCount", &token_count(TokenKind::Input)),
        ("cachedContentTokenCount", &token_count(TokenKind::CacheRead)),
        ("candidatesTokenCount", &token_count(TokenKind::VisibleOutput)),
        ("thoughtsTokenCount", &token_count(TokenKind::Reasoning)),
    ],
);
const RESPONSE: &[(&str, &JsonShape)] = with_error_fields![
    ("candidates", &JsonShape::array(Tag::WrittenBy(Engine::Gemini), &CANDIDATE)),
    ("promptFeedback", &JsonShape::path(&[("blockReason", &JsonShape::text(Tag::FinishReason))])),
    ("usageMetadata", &USAGE),
    ("modelVersion", &JsonShape::text(Tag::Model)),
    ("response", &JsonShape::path(WRAPPED)),
];
const WRAPPED: &[(&str, &JsonShape)] = with_error_fields![
    ("candidates", &JsonShape::array(Tag::WrittenBy(Engine::Gemini), &CANDIDATE)),
    ("promptFeedback", &JsonShape::path(&[("blockReason", &JsonShape::text(Tag::FinishReason))])),
    ("usageMetadata", &USAGE),
    ("modelVersion", &JsonShape::text(Tag::Model)),
];
static ROOT: JsonShape =
    JsonShape { items: Some(&JsonShape::path(RESPONSE)), ..JsonShape::path(RESPONSE) };

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    for choice in &mut event.facts.choices {
        event.facts.has_reasoning_summary |= choice.reasoning_chars > 0;
        if let Some(reason) = choice.finish.take() {
            choice.finish = named(reason, &FINISH_REASONS);
        }
    }
    if let Some(reason) = event.choice.finish.take() {
        // A prompt that is blocked has no candidates.
        let is_blocked = event.facts.choices.is_empty();
        event.choice.finish = if is_blocked { named(reason, &BLOCK_REASONS) } else { None };
    }
    if let Some(usage) = &mut event.facts.usage {
        // While the model is reasoning, there is no `candidatesTokenCount`.
        usage.output_excludes_reasoning = true;
    }
    event.finish();
}

/// Names of the finish reasons that the protobuf enums of both Google AI and Vertex AI give these numbers. Other numbers
/// differ between the two APIs, and stay numbers.
const FINISH_REASONS: [(&str, &str); 6] = [
    ("1", "STOP"),
    ("2", "MAX_TOKENS"),
    ("3", "SAFETY"),
    ("4", "RECITATION"),
    ("5", "OTHER"),
    ("11", "IMAGE_SAFETY"),
];
/// The same for the reasons to block a prompt.
const BLOCK_REASONS: [(&str, &str); 4] =
    [("1", "SAFETY"), ("2", "OTHER"), ("3", "BLOCKLIST"), ("4", "PROHIBITED_CONTENT")];

/// Name of a reason; `None` if it is the enum's value for "none".
#[inline(never)]
fn named(reason: FinishReason, names: &[(&str, &'static str)]) -> Option<FinishReason> {
    if reason == "0" || reason.ends_with("_UNSPECIFIED") {
        return None;
    }
    let name = names.iter().find(|(number, _)| *number == reason);
    Some(name.map_or(reason, |(_, name)| FinishReason::Borrowed(name)))
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
