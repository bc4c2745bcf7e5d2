//! Triton's generate extension (`docs/protocol/extension_generate.md`).
//!
//! The outputs are a model's own; `text_output` is that of the backends for language models (vLLM's,
//! TensorRT-LLM's). Whether it holds the prompt, or with `accumulate_tokens` all text so far, is up to
//! the model and not told: each event's text is taken as new. Nothing is counted, a stream ends with its
//! body, and an error can come under a 200.

use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

pub static TRITON: Dialect = Dialect::sse("triton", &ROOT, finish_event, StreamEnd::Body);

static ROOT: JsonShape = JsonShape::path(&[
    ("text_output", &JsonShape::array(Tag::Answer, &JsonShape::scalar(Tag::Answer))),
    ("model_name", &JsonShape::text(Tag::Model)),
    ("error", &JsonShape::scalar(Tag::Error)),
]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, _: &[u8]) {
    if event.facts.model.is_some() {
        event.facts.detected_engine = Some(Engine::Triton);
    }
    event.finish();
}

#[cfg(test)]
#[path = "triton_tests.rs"]
mod tests;
