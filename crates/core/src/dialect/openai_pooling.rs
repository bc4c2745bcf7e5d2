//! What a model makes of its input without generating: embeddings, scores, ranks, classes, verdicts.
//!
//! Answers are documents, of which only the count of tokens is wanted. All of them are input, so a
//! total that stands alone (Jina, Voyage, vLLM's ranks) is the same count.

use super::openai_chat::ERROR;
use super::tag::{Count, Shape, Tag, counted};
use super::{Dialect, Ending, plain};

/// Embeddings.
pub static EMBEDDINGS: Dialect =
    Dialect::streamed_as_sse("openai-embeddings", &ROOT, plain, Ending::Body);
/// Everything else.
pub static POOLING: Dialect = Dialect::streamed_as_sse("pooling", &ROOT, plain, Ending::Body);

static INPUT: Shape = counted(Count::Input);
static ROOT: Shape = Shape::path(&[
    ("model", &Shape::text(Tag::Model)),
    (
        "usage",
        &Shape::object(
            Tag::Usage,
            &[("prompt_tokens", &INPUT), ("input_tokens", &INPUT), ("total_tokens", &INPUT)],
        ),
    ),
    ("error", &ERROR),
]);

#[cfg(test)]
#[path = "openai_pooling_tests.rs"]
mod tests;
