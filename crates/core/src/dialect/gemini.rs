//! Gemini's `generateContent`, on Google AI and Vertex AI.
//!
//! A stream is server-sent events with `alt=sse`, else one JSON array that arrives element by element. Both end with
//! the body. Output is the text of parts, function calls, code to execute, and media. A part with `thought: true` is
//! reasoning. Counts are running totals, and reasoning is counted separately from the answer.

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};
use crate::wire::framing::Framing;

const GEMINI: Dialect = Dialect::sse("gemini", &ROOT, finish_event, StreamEnd::Body);
/// Streamed responses.
pub static STREAM: Dialect = GEMINI.with_json_framing(Framing::JsonArray);
/// Responses that are not streamed, and embeddings.
pub static WHOLE: Dialect = GEMINI;

static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static FUNCTION_CALL: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("args", &ARGUMENTS),
    // Vertex AI with streamed arguments.
    ("partialArgs", &JsonShape::list(&JsonShape::path(&[("stringValue", &ARGUMENTS)]))),
]);
static PART: JsonShape = JsonShape::object(
    Tag::Part,
    &[
        ("text", &JsonShape::scalar(Tag::PartText)),
        ("thought", &JsonShape::scalar(Tag::Thought)),
        ("functionCall", &FUNCTION_CALL),
        ("executableCode", &JsonShape::path(&[("code", &ARGUMENTS)])),
        ("inlineData", &JsonShape::path(&[("data", &JsonShape::scalar(Tag::Media))])),
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
static ROOT: JsonShape = JsonShape::path(&[
    ("candidates", &JsonShape::array(Tag::WrittenBy(Engine::Gemini), &CANDIDATE)),
    ("usageMetadata", &USAGE),
    ("modelVersion", &JsonShape::text(Tag::Model)),
    ("error", &ERROR),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if let Some(usage) = &mut event.facts.usage {
        // While the model is reasoning, there is no `candidatesTokenCount`.
        usage.output_excludes_reasoning = true;
    }
    event.finish();
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
