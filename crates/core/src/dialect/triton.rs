//! Triton's generate extension (`docs/protocol/extension_generate.md`).
//!
//! The outputs are a model's own; `text_output` is that of the backends for language models (vLLM's,
//! TensorRT-LLM's). Whether it holds the prompt, or with `accumulate_tokens` all text so far, is up to
//! the model and not told: each event's text is taken as new. Nothing is counted, a stream ends with its
//! body, and an error can come under a 200.

use super::draft::Draft;
use super::engine::Engine;
use super::reading::Memory;
use super::tag::{Shape, Tag};
use super::{Dialect, Ending};

pub static TRITON: Dialect = Dialect::streamed_as_sse("triton", &ROOT, conclude, Ending::Body);

static ROOT: Shape = Shape::path(&[
    ("text_output", &Shape::array(Tag::Answer, &Shape::scalar(Tag::Answer))),
    ("model_name", &Shape::text(Tag::Model)),
    ("error", &Shape::scalar(Tag::Error)),
]);

fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    if draft.facts.model.is_some() {
        draft.facts.made_by = Some(Engine::Triton);
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "triton_tests.rs"]
mod tests;
