//! Gemini's generated content, streamed and whole, as Google AI and Vertex AI send it.
//!
//! A stream is one of server-sent events where it is asked for (`alt=sse`), else one JSON array that
//! comes element by element. Either ends with its body. Output is the text of parts, the calls of
//! functions, code to be executed, and media; a part whose `thought` is true is reasoning. Counts are
//! of all so far, and what was thought is counted apart from what was answered.

use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::ERROR;
use super::reading::Memory;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending};
use crate::wire::framing::Framing;

const GEMINI: Dialect = Dialect::streamed_as_sse("gemini", &ROOT, conclude, Ending::Body);
/// A response that is asked for as a stream.
pub static STREAM: Dialect = GEMINI.with_json(Framing::JsonArray);
/// One that is not, and embeddings.
pub static WHOLE: Dialect = GEMINI;

static ARGUMENTS: Shape = Shape::raw(Tag::ToolArguments);
static FUNCTION_CALL: Shape = Shape::path(&[
    ("name", &Shape::scalar(Tag::ToolName)),
    ("args", &ARGUMENTS),
    // Vertex AI, where arguments are asked for as a stream.
    ("partialArgs", &Shape::list(&Shape::path(&[("stringValue", &ARGUMENTS)]))),
]);
static PART: Shape = Shape::object(
    Tag::Part,
    &[
        ("text", &Shape::scalar(Tag::PartText)),
        ("thought", &Shape::scalar(Tag::Thought)),
        ("functionCall", &FUNCTION_CALL),
        ("executableCode", &Shape::path(&[("code", &ARGUMENTS)])),
        ("inlineData", &Shape::path(&[("data", &Shape::scalar(Tag::Media))])),
    ],
);
static CANDIDATE: Shape = Shape::object(
    Tag::Choice,
    &[
        ("index", &Shape::scalar(Tag::Index)),
        ("content", &Shape::path(&[("parts", &Shape::list(&PART))])),
        ("finishReason", &Shape::text(Tag::Finish)),
    ],
);
/// What Google's own tools added to the prompt is not counted in it.
static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("promptTokenCount", &counted(Count::Input)),
        ("cachedContentTokenCount", &counted(Count::Cached)),
        ("candidatesTokenCount", &counted(Count::VisibleOutput)),
        ("thoughtsTokenCount", &counted(Count::Reasoning)),
    ],
);
static ROOT: Shape = Shape::path(&[
    ("candidates", &Shape::array(Tag::Sign(Engine::Gemini), &CANDIDATE)),
    ("usageMetadata", &USAGE),
    ("modelVersion", &Shape::text(Tag::Model)),
    ("error", &ERROR),
]);

fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    if let Some(usage) = &mut draft.facts.usage {
        // While it thinks, there is no count of what it answered.
        usage.reasoning_apart = true;
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "gemini_tests.rs"]
mod tests;
