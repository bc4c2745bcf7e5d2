//! Responses without generated text: embeddings, scores, ranks, classes, moderation.
//!
//! Only the token count is read. All tokens are input, so a total alone (Jina, Voyage, vLLM's ranks) is the input count.

use super::error_fields::with_error_fields;
use super::tag::{JsonShape, Tag, TokenKind, token_count};
use super::{Dialect, StreamEnd, finish_plain};

/// Embeddings.
pub static EMBEDDINGS: Dialect =
    Dialect::sse("openai-embeddings", &ROOT, finish_plain, StreamEnd::Body);
/// Scores, ranks, classes and moderation.
pub static POOLING: Dialect = Dialect::sse("pooling", &ROOT, finish_plain, StreamEnd::Body);

static INPUT: JsonShape = token_count(TokenKind::Input);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("model", &JsonShape::text(Tag::Model)),
    (
        "usage",
        &JsonShape::object(
            Tag::Usage,
            &[("prompt_tokens", &INPUT), ("input_tokens", &INPUT), ("total_tokens", &INPUT)],
        ),
    ),
]);

#[cfg(test)]
#[path = "openai_pooling_tests.rs"]
mod tests;
