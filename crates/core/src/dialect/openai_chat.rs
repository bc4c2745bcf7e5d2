//! OpenAI's chat completions and text completions, with the variants of other servers.
//!
//! An event of a stream is one chunk; a body that is not streamed is one event. Output is in `choices[].delta` (or
//! `message`, or `text`): `content` as text or as a list of typed parts, `refusal`, `audio`, `tool_calls`,
//! `function_call`, and reasoning under any of its names (`reasoning_content`, `reasoning`, `thinking`,
//! `reasoning_details`, parts of type `thinking`). Text that a server sends in two fields counts once.
//!
//! Some servers send more: token ids and `metrics` (vLLM), `timings` (llama.cpp), durations in or next to `usage` (Groq,
//! Cerebras, mistral.rs, MLC, LocalAI).
//!
//! Text of another modality than text is base64 (vLLM-Omni). A whole message after its deltas repeats them, and so does
//! the name of a tool in each chunk of its arguments.
//!
//! llama-swap sends progress messages as reasoning while it loads a model. They are not output. They have no id, object
//! or index, and the first of them begins with a bar (`━━━━━`). Other servers send reasoning without an id too.

use super::engine::Engine;
pub(super) use super::error_fields::ERROR;
use super::error_fields::with_error_fields;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, ServerStage, Tag, TimeUnit, TokenKind, duration, token_count};
use super::{ChoiceFacts, Dialect, StreamEnd};

/// Chat completions.
pub static CHAT: Dialect = Dialect::sse("openai-chat", &ROOT, finish_event, StreamEnd::Event);
/// Text completions.
pub static COMPLETIONS: Dialect =
    Dialect::sse("openai-completions", &ROOT, finish_event, StreamEnd::Event);

static ANSWER: JsonShape = JsonShape::scalar(Tag::Answer);
static MEDIA: JsonShape = JsonShape::scalar(Tag::Media);
static SOUND: JsonShape = JsonShape::path(&[("data", &MEDIA), ("transcript", &MEDIA)]);
static IMAGE: JsonShape = JsonShape::path(&[("image_url", &JsonShape::path(&[("url", &MEDIA)]))]);
static PART_THOUGHT: JsonShape = JsonShape::scalar(Tag::Reasoning(0));
static PART_THINKING: JsonShape = JsonShape {
    items: Some(&JsonShape::path(&[("text", &PART_THOUGHT)])),
    ..JsonShape::object(Tag::Reasoning(0), &[("text", &PART_THOUGHT)])
};
static PART_SUMMARY: JsonShape =
    JsonShape::list(&JsonShape::path(&[("text", &JsonShape::scalar(Tag::ReasoningSummary(0)))]));
static LINK: JsonShape = JsonShape::path(&[("url", &MEDIA)]);
pub(super) static CONTENT_PART: JsonShape = JsonShape::object(
    Tag::Answer,
    &[
        ("text", &ANSWER),
        ("refusal", &ANSWER),
        // Mistral, Databricks.
        ("thinking", &PART_THINKING),
        ("summary", &PART_SUMMARY),
        // Sound and images in base64, or a link to them.
        ("data", &MEDIA),
        ("audio", &SOUND),
        ("input_audio", &SOUND),
        ("output_audio", &SOUND),
        ("audio_url", &LINK),
        ("image_url", &LINK),
        ("video_url", &LINK),
    ],
);
static CONTENT_OR_PARTS: JsonShape = JsonShape::array(Tag::Answer, &CONTENT_PART);
const FUNCTION: &[(&str, &JsonShape)] = &[
    ("name", &JsonShape::scalar(Tag::CallName)),
    ("arguments", &JsonShape::raw(Tag::ToolArguments)),
    ("input", &JsonShape::raw(Tag::ToolArguments)),
];
pub(super) static CALLED: JsonShape = JsonShape::path(FUNCTION);
pub(super) static TOOL_CALL: JsonShape = JsonShape::object(
    Tag::ToolCall,
    &[("index", &JsonShape::scalar(Tag::CallIndex)), ("function", &CALLED), ("custom", &CALLED)],
);
static FUNCTION_CALL: JsonShape = JsonShape::object(Tag::FunctionCall, FUNCTION);
/// `reasoning` is text with most servers, an object with `content` with some.
static REASONING: JsonShape =
    JsonShape::object(Tag::Reasoning(2), &[("content", &JsonShape::scalar(Tag::Reasoning(2)))]);
static REASONING_DETAIL: JsonShape = JsonShape::path(&[
    ("text", &JsonShape::scalar(Tag::Reasoning(4))),
    ("summary", &JsonShape::scalar(Tag::ReasoningSummary(4))),
]);

/// Fields of a `delta` or `message`.
pub(super) const BODY: &[(&str, &JsonShape)] = &[
    ("content", &CONTENT_OR_PARTS),
    ("reasoning_content", &JsonShape::scalar(Tag::Reasoning(1))),
    ("reasoning", &REASONING),
    ("thinking", &JsonShape::scalar(Tag::Reasoning(3))),
    // GitHub Copilot.
    ("reasoning_text", &JsonShape::scalar(Tag::Reasoning(3))),
    ("reasoning_details", &JsonShape::list(&REASONING_DETAIL)),
    ("refusal", &ANSWER),
    ("tool_calls", &JsonShape::list(&TOOL_CALL)),
    ("function_call", &FUNCTION_CALL),
    ("audio", &SOUND),
    // OpenRouter.
    ("images", &JsonShape::list(&IMAGE)),
    ("usage", &USAGE),
];
pub(super) static CHOICE: JsonShape = JsonShape::object(
    Tag::Choice,
    &[
        ("index", &JsonShape::scalar(Tag::Index)),
        ("delta", &JsonShape::object(Tag::Delta, BODY)),
        ("message", &JsonShape::object(Tag::Message, BODY)),
        ("text", &JsonShape::scalar(Tag::CompletionText)),
        ("finish_reason", &JsonShape::text(Tag::FinishReason)),
        // Kimi.
        ("usage", &USAGE),
        // OpenRouter.
        ("error", &ERROR),
        (
            "token_ids",
            &JsonShape::array(Tag::WrittenBy(Engine::Vllm), &JsonShape::scalar(Tag::TokenId)),
        ),
        ("matched_stop", &JsonShape::scalar(Tag::WrittenBy(Engine::Sglang))),
        ("avg_decoded_tokens_per_iter", &JsonShape::scalar(Tag::WrittenBy(Engine::TrtLlm))),
    ],
);

static CACHED: JsonShape = token_count(TokenKind::CacheRead);
static REASONED: JsonShape = token_count(TokenKind::Reasoning);
pub(super) static USAGE: JsonShape = JsonShape::object(
    Tag::Usage,
    &[
        ("prompt_tokens", &token_count(TokenKind::Input)),
        ("completion_tokens", &token_count(TokenKind::Output)),
        ("total_tokens", &token_count(TokenKind::Total)),
        // Names of other APIs, which some gateways write.
        ("input_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Input))),
        ("output_tokens", &JsonShape::scalar(Tag::EngineCount(TokenKind::Output))),
        ("prompt_cache_hit_tokens", &CACHED),
        ("cache_read_input_tokens", &CACHED),
        ("cached_tokens", &CACHED),
        ("reasoning_tokens", &REASONED),
        ("prompt_tokens_details", &JsonShape::path(&[("cached_tokens", &CACHED)])),
        ("completion_tokens_details", &JsonShape::path(&[("reasoning_tokens", &REASONED)])),
        // Groq.
        ("queue_time", &duration(ServerStage::Queue, TimeUnit::Seconds)),
        ("prompt_time", &duration(ServerStage::Prefill, TimeUnit::Seconds)),
        ("completion_time", &duration(ServerStage::Decode, TimeUnit::Seconds)),
        ("total_time", &duration(ServerStage::Total, TimeUnit::Seconds)),
        // mistral.rs.
        ("total_prompt_time_sec", &duration(ServerStage::Prefill, TimeUnit::Seconds)),
        ("total_completion_time_sec", &duration(ServerStage::Decode, TimeUnit::Seconds)),
        ("total_time_sec", &duration(ServerStage::Total, TimeUnit::Seconds)),
        ("avg_compl_tok_per_sec", &JsonShape::scalar(Tag::WrittenBy(Engine::MistralRs))),
        // LocalAI, if the request has the header `Extra-Usage`.
        ("timing_prompt_processing", &duration(ServerStage::Prefill, TimeUnit::Millis)),
        ("timing_token_generation", &duration(ServerStage::Decode, TimeUnit::Millis)),
        // MLC.
        (
            "extra",
            &JsonShape::path(&[("ttft_s", &duration(ServerStage::FirstToken, TimeUnit::Seconds))]),
        ),
    ],
);
/// Cerebras.
pub(super) static TIME_INFO: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::Cerebras),
    &[
        ("queue_time", &duration(ServerStage::Queue, TimeUnit::Seconds)),
        ("prompt_time", &duration(ServerStage::Prefill, TimeUnit::Seconds)),
        ("completion_time", &duration(ServerStage::Decode, TimeUnit::Seconds)),
        ("total_time", &duration(ServerStage::Total, TimeUnit::Seconds)),
    ],
);
/// vLLM. Its time to first token starts when the request is scheduled, so it is the prefill.
pub(super) static METRICS: JsonShape = JsonShape::path(&[
    ("queue_time_ms", &duration(ServerStage::Queue, TimeUnit::Millis)),
    ("time_to_first_token_ms", &duration(ServerStage::Prefill, TimeUnit::Millis)),
    ("generation_time_ms", &duration(ServerStage::Decode, TimeUnit::Millis)),
    ("mean_itl_ms", &JsonShape::scalar(Tag::WrittenBy(Engine::Vllm))),
]);
/// llama.cpp. `prompt_n` does not include the tokens that were cached.
pub(super) static TIMINGS: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::LlamaCpp),
    &[
        ("prompt_n", &JsonShape::scalar(Tag::EngineCount(TokenKind::UncachedInput))),
        ("cache_n", &JsonShape::scalar(Tag::EngineCount(TokenKind::CacheRead))),
        ("predicted_n", &JsonShape::scalar(Tag::EngineCount(TokenKind::Output))),
        ("prompt_ms", &duration(ServerStage::Prefill, TimeUnit::Millis)),
        ("predicted_ms", &duration(ServerStage::Decode, TimeUnit::Millis)),
    ],
);
/// Fields that nearly every chunk has, except llama-swap's progress messages.
static IDENTITY: JsonShape = JsonShape::constant(Tag::Identity);
/// Is `error` in errors of vLLM and FastChat.
static OBJECT: JsonShape = JsonShape::text(Tag::Identity);
pub(super) static GROQ: JsonShape =
    JsonShape::object(Tag::WrittenBy(Engine::Groq), &[("usage", &USAGE), ("error", &ERROR)]);
static FIELDS: &[(&str, &JsonShape)] = with_error_fields![
    ("id", &IDENTITY),
    ("object", &OBJECT),
    ("choices", &JsonShape::list(&CHOICE)),
    ("model", &JsonShape::text(Tag::Model)),
    ("usage", &USAGE),
    ("modality", &JsonShape::text(Tag::Modality)),
    ("system_fingerprint", &JsonShape::text(Tag::Fingerprint)),
    ("obfuscation", &JsonShape::scalar(Tag::WrittenBy(Engine::OpenAi))),
    ("prompt_filter_results", &JsonShape::scalar(Tag::WrittenBy(Engine::AzureOpenAi))),
    ("p", &JsonShape::scalar(Tag::WrittenBy(Engine::Mistral))),
    ("x_groq", &GROQ),
    ("time_info", &TIME_INFO),
    ("metrics", &METRICS),
    ("timings", &TIMINGS),
];
static ROOT: JsonShape = JsonShape {
    // Gemini reports errors of its compatible API in a list.
    items: Some(&JsonShape::path(&[("error", &ERROR)])),
    ..JsonShape::path(FIELDS)
};

fn finish_event(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    if event.has_base64_text {
        event.facts.choices.iter_mut().for_each(count_text_as_media);
    }
    if stream.shows_loading || !stream.has_event {
        stream.shows_loading = is_progress_message(event, stream.shows_loading);
        if stream.shows_loading {
            event.facts.choices.clear();
            event.facts.loading = true;
        }
    }
    event.finish();
}

fn count_text_as_media(choice: &mut ChoiceFacts) {
    choice.has_nontext |= choice.answer_chars > 0;
    choice.answer_chars = 0;
}

/// Whether the event is a progress message of llama-swap: reasoning and nothing else, not even an index. The first of
/// them draws a bar.
fn is_progress_message(event: &EventBuilder, has_begun: bool) -> bool {
    const BAR: &[u8] = "━━━━━".as_bytes();
    let [choice] = event.facts.choices.as_slice() else { return false };
    let is_bare = !event.has_identity
        && !event.has_index
        && choice.reasoning_chars > 0
        && !choice.has_answer
        && choice.finish.is_none();
    is_bare && (has_begun || event.data_start().windows(BAR.len()).any(|part| part == BAR))
}

#[cfg(test)]
#[path = "openai_chat_tests.rs"]
mod tests;
