//! llama.cpp's own API: `/completion`, `/completions` and `/infill`.
//!
//! An event has the new text (`content`) and exact running token counts. The last one (`"stop": true`) has no text, but
//! the timings; requests can ask for timings in each event. `tokens_evaluated` is the whole prompt, so only the cached
//! tokens are taken from `timings`. A `prompt_progress` event has no text. Several prompts have an `index` each; a
//! response that is not streamed has them in an array. Builds before 2025 send no `stop_type`.

use super::choice_counts;
use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::openai_chat::{CHOICE, ERROR, GROQ, METRICS, TIME_INFO, USAGE};
use super::response_reader::StreamState;
use super::tag::{ApiFormat, JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration};
use super::writer::WRITER;
use super::{Dialect, StreamEnd};

/// `/completion` and `/infill`.
pub static LLAMACPP: Dialect = Dialect::sse("llamacpp", &ROOT, finish_event, StreamEnd::Event);
/// `/v1/completions` of OpenAI, with `/completions` of llama.cpp, which matches the same route, and that of Writer.
pub static OPENAI_OR_LLAMACPP: Dialect =
    Dialect::sse("openai-completions", &EITHER, finish_either, StreamEnd::Event);

static CONTENT: JsonShape = JsonShape::scalar(Tag::EventText);
static INDEX: JsonShape = JsonShape::scalar(Tag::Index);
static MODEL: JsonShape = JsonShape::text(Tag::Model);
static DONE: JsonShape = JsonShape::scalar(Tag::Done);
static STOP_TYPE: JsonShape = JsonShape::text(Tag::FinishReason);
static TOKENS: JsonShape = JsonShape::list(&JsonShape::scalar(Tag::TokenId));
static INPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Input));
static OUTPUT: JsonShape = JsonShape::scalar(Tag::EngineCount(TokenKind::Output));
static PREFILL: JsonShape = duration(ServerStage::Prefill, TimeUnit::Millis);
static DECODE: JsonShape = duration(ServerStage::Decode, TimeUnit::Millis);
static TIMINGS: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::LlamaCpp),
    &[
        ("cache_n", &JsonShape::scalar(Tag::EngineCount(TokenKind::CacheRead))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
/// `prompt_n` and `predicted_n` count only in OpenAI's format, which is known at the end of the event. In llama.cpp's
/// own format, the counts next to `timings` apply.
static EITHER_TIMINGS: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::LlamaCpp),
    &[
        ("prompt_n", &JsonShape::scalar(Tag::Number(PROMPT))),
        ("predicted_n", &JsonShape::scalar(Tag::Number(PREDICTED))),
        ("cache_n", &JsonShape::scalar(Tag::EngineCount(TokenKind::CacheRead))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
const PROMPT: usize = 0;
const PREDICTED: usize = 1;
static ITEM_TIMINGS: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::LlamaCpp),
    &[
        ("cache_n", &JsonShape::scalar(Tag::ElementCount(TokenKind::CacheRead))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
static ITEM: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("content", &JsonShape::scalar(Tag::Answer)),
        ("index", &INDEX),
        ("model", &MODEL),
        ("stop_type", &STOP_TYPE),
        ("tokens_predicted", &JsonShape::scalar(Tag::ElementCount(TokenKind::Output))),
        ("tokens_evaluated", &JsonShape::scalar(Tag::ElementCount(TokenKind::Input))),
        ("timings", &ITEM_TIMINGS),
    ],
);
static ROOT: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(&[
        ("content", &CONTENT),
        ("index", &INDEX),
        ("tokens", &TOKENS),
        ("stop", &DONE),
        ("stop_type", &STOP_TYPE),
        ("model", &MODEL),
        ("tokens_predicted", &OUTPUT),
        ("tokens_evaluated", &INPUT),
        ("timings", &TIMINGS),
        ("error", &ERROR),
    ])
};
static EITHER: JsonShape = JsonShape {
    items: Some(&ITEM),
    ..JsonShape::path(with_error_fields![
        ("choices", &JsonShape::array(Tag::Api(ApiFormat::OpenAi), &CHOICE)),
        ("usage", &USAGE),
        ("system_fingerprint", &JsonShape::text(Tag::Fingerprint)),
        ("metrics", &METRICS),
        ("x_groq", &GROQ),
        ("time_info", &TIME_INFO),
        ("content", &CONTENT),
        ("index", &INDEX),
        ("tokens", &TOKENS),
        ("stop", &DONE),
        ("stop_type", &STOP_TYPE),
        ("model", &MODEL),
        ("tokens_predicted", &OUTPUT),
        ("tokens_evaluated", &INPUT),
        ("timings", &EITHER_TIMINGS),
        // Writer.
        ("value", &JsonShape::scalar(Tag::Answer)),
    ])
};

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    event.choice.output().answer += event.text;
    if let Some(counts) = &mut event.facts.engine_counts {
        // 0 means that nothing was counted yet.
        counts.output = counts.output.filter(|count| *count > 0);
    }
    // The end of one prompt is not the end of the stream.
    event.facts.done &= event.choice.finish.is_none();
    choice_counts::sum_event_counts(event, stream);
    event.number_choices();
    event.finish();
}

fn finish_either(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    if event.api_format == Some(ApiFormat::OpenAi) {
        if let [Some(prompt), Some(predicted), _] = event.numbers {
            let counts = event.facts.engine_counts.get_or_insert_default();
            (counts.input, counts.output) = (Some(prompt), Some(predicted));
            counts.input_excludes_cache = true;
        }
        return event.finish();
    }
    if event.choice.output().answer > 0 {
        stream.detected_dialect = Some(WRITER.name);
        // Writer's documentation names no end of a stream, so each event can be the last.
        event.facts.done = true;
    }
    if event.text_count > 0 || !event.facts.choices.is_empty() {
        stream.detected_dialect = Some(LLAMACPP.name);
    }
    finish_event(event, stream, name);
}

#[cfg(test)]
#[path = "llamacpp_tests.rs"]
mod tests;
