//! Routes that several servers share, each with its own format: `/generate`, `/v1/generate`, and SageMaker's
//! `/invocations`.
//!
//! The trees have the fields of all formats. The fields of an event decide: `meta_info` is SGLang's, `token` or
//! `generated_text` is TGI's, `choices` is OpenAI's, `is_finished` or `generations` is Cohere's. Text without any of these is from vLLM's first server.

use super::cohere;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::{self, CHOICE, ERROR, METRICS, USAGE};
use super::response_reader::StreamState;
use super::sglang::{self, SGLANG};
use super::tag::{ApiFormat, JsonShape, Tag};
use super::tgi::{self, TGI};
use super::vllm_generate::{self, VLLM_GENERATE};
use super::{Dialect, StreamEnd};

/// `/generate` and `/v1/generate`.
pub static GENERATE: Dialect =
    Dialect::json_lines("generate", &GENERATED, finish_event, StreamEnd::Body);
/// SageMaker's `/invocations`, of a container and of an endpoint. An endpoint sends the bytes of the container's stream in
/// messages of Amazon's event stream.
pub static INVOCATIONS: Dialect =
    Dialect::json_lines("invocations", &INVOKED, finish_event, StreamEnd::Body)
        .with_nested_stream();

static INDEX: JsonShape = JsonShape::scalar(Tag::Index);
static DONE: JsonShape = JsonShape::scalar(Tag::Done);
static ITEM: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("generated_text", &JsonShape::scalar(Tag::Answer)),
        ("details", &tgi::ITEM_DETAILS),
        ("text", &JsonShape::scalar(Tag::Answer)),
        ("meta_info", &sglang::ITEM_META_INFO),
    ],
);
static GENERATED: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(with_error_fields![
        ("token", &tgi::TOKEN),
        ("generated_text", &tgi::GENERATED),
        ("details", &tgi::DETAILS),
        ("finished", &DONE),
        ("finish_reason", &tgi::FINISH),
        ("count_output_tokens", &tgi::OUTPUT),
        ("prompt_tokens", &tgi::INPUT),
        ("text", &vllm_generate::TEXT),
        ("usage", &USAGE),
        ("output_ids", &sglang::OUTPUT_IDS),
        ("meta_info", &sglang::META_INFO),
        ("index", &INDEX),
        ("event_type", &cohere::KIND),
        ("is_finished", &cohere::IS_FINISHED),
        ("response", &cohere::GENERATED),
        ("generations", &cohere::GENERATIONS),
        ("meta", &cohere::USAGE),
        ("err", &ERROR),
    ])
};
static INVOKED: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(with_error_fields![
        ("object", &JsonShape::text(Tag::EventType)),
        ("choices", &JsonShape::array(Tag::Api(ApiFormat::OpenAi), &CHOICE)),
        ("model", &JsonShape::text(Tag::Model)),
        ("usage", &USAGE),
        ("metrics", &METRICS),
        ("system_fingerprint", &JsonShape::text(Tag::Fingerprint)),
        ("token", &tgi::TOKEN),
        ("generated_text", &tgi::GENERATED),
        ("details", &tgi::DETAILS),
        ("finish_reason", &tgi::FINISH),
        ("text", &vllm_generate::TEXT),
        ("output_ids", &sglang::OUTPUT_IDS),
        ("meta_info", &sglang::META_INFO),
        ("index", &INDEX),
    ])
};

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    let detected: &Dialect = match event.api_format {
        Some(ApiFormat::OpenAi) if event.event_type().starts_with(b"chat") => &openai_chat::CHAT,
        Some(ApiFormat::OpenAi) => &openai_chat::COMPLETIONS,
        Some(ApiFormat::Sglang) => &SGLANG,
        Some(ApiFormat::Tgi) => &TGI,
        Some(ApiFormat::Cohere) => &cohere::GENERATE,
        None if event.repeated_text > 0 || !event.facts.choices.is_empty() => &TGI,
        None if event.text_count > 0 => &VLLM_GENERATE,
        None => return event.finish(),
    };
    stream.detected_dialect = Some(detected.name);
    // The others end with their bodies, as the route has it; SGLang's `[DONE]` can be missing.
    stream.detected_end = (*detected == cohere::GENERATE).then_some(StreamEnd::Event);
    (detected.finish_event)(event, stream, name);
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
