//! Gemini's generated content, streamed and whole, as Google AI and Vertex AI send it.
//!
//! A stream is one of server-sent events where it is asked for (`alt=sse`), else one JSON array that
//! comes element by element. Either ends with its body. Output is the text of parts, the calls of
//! functions, code to be executed, and media; a part whose `thought` is true is reasoning. Counts are
//! of all so far, and what was thought is counted apart from what was answered.

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::openai_chat::ERROR;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd};
use crate::wire::framing::Framing;

const GEMINI: Dialect = Dialect::sse("gemini", &ROOT, finish_event, StreamEnd::Body);
/// A response that is asked for as a stream.
pub static STREAM: Dialect = GEMINI.with_json_framing(Framing::JsonArray);
/// One that is not, and embeddings.
pub static WHOLE: Dialect = GEMINI;

static ARGUMENTS: JsonShape = JsonShape::raw(Tag::ToolArguments);
static FUNCTION_CALL: JsonShape = JsonShape::path(&[
    ("name", &JsonShape::scalar(Tag::ToolName)),
    ("args", &ARGUMENTS),
    // Vertex AI, where arguments are asked for as a stream.
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
/// What Google's own tools added to the prompt is not counted in it.
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
        // While it thinks, there is no count of what it answered.
        usage.output_excludes_reasoning = true;
    }
    event.finish();
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
