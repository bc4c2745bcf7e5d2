//! Triton's generate extension (`docs/protocol/extension_generate.md`).
//!
//! The model defines the outputs. `text_output` is that of the backends for language models (vLLM, TensorRT-LLM). It may
//! include the prompt or, with `accumulate_tokens`, all text so far. The response does not show this, so the text of each
//! event is taken as new. There are no token counts, a stream ends with its body, and a status of 200 may carry an error.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd};

/// `generate` and `generate_stream`.
pub static TRITON: Dialect = Dialect::sse("triton", &ROOT, finish_event, StreamEnd::Body);

static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("text_output", &JsonShape::array(Tag::Answer, &JsonShape::scalar(Tag::Answer))),
    ("model_name", &JsonShape::text(Tag::Model)),
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
