//! OpenAI's chat completions and text completions, streamed and whole, in the variants that servers
//! really send.
//!
//! Streamed, an event is one chunk; whole, the body is one event. Output is what
//! `choices[].delta` (or `message`, or `text`) carries: `content` as text or as a list of typed
//! parts, `refusal`, `audio`, `tool_calls` and `function_call`, and reasoning under any of its names
//! (`reasoning_content`, `reasoning`, `thinking`, `reasoning_details`, parts of type `thinking`).
//! Where a server sends the same text in two fields, it counts once.
//!
//! llama-swap, while it loads a model, makes reasoning up to show that; the model wrote none of it.
//!
//! What else a chunk tells is told by some servers only: token ids (vLLM), `timings` (llama.cpp),
//! `metrics` (vLLM), times in or beside `usage` (Groq, Cerebras, mistral.rs, MLC, LocalAI).

use super::draft::Draft;
use super::engine::Engine;
use super::reading::Memory;
use super::tag::{Count, Shape, Stage, Tag, Unit, counted, time};
use super::{Dialect, Ending};

/// Chat completions.
pub static CHAT: Dialect = Dialect::streamed_as_sse("openai-chat", &ROOT, conclude, Ending::Told);
/// Text completions.
pub static COMPLETIONS: Dialect =
    Dialect::streamed_as_sse("openai-completions", &ROOT, conclude, Ending::Told);

static ANSWER: Shape = Shape::scalar(Tag::Answer);
static MEDIA: Shape = Shape::scalar(Tag::Media);
static SOUND: Shape = Shape::path(&[("data", &MEDIA), ("transcript", &MEDIA)]);
static IMAGE: Shape = Shape::path(&[("image_url", &Shape::path(&[("url", &MEDIA)]))]);
static PART_THOUGHT: Shape = Shape::scalar(Tag::Reasoning(0));
static PART_THINKING: Shape = Shape {
    items: Some(&Shape::path(&[("text", &PART_THOUGHT)])),
    ..Shape::object(Tag::Reasoning(0), &[("text", &PART_THOUGHT)])
};
static CONTENT_PART: Shape = Shape::object(
    Tag::Answer,
    &[
        ("text", &ANSWER),
        ("refusal", &ANSWER),
        // Mistral, Databricks.
        ("thinking", &PART_THINKING),
        ("summary", &PART_THINKING),
    ],
);
static CONTENT_OR_PARTS: Shape = Shape::array(Tag::Answer, &CONTENT_PART);
static FUNCTION: Shape = Shape::path(&[
    ("name", &Shape::scalar(Tag::ToolName)),
    ("arguments", &Shape::raw(Tag::ToolArguments)),
    ("input", &Shape::raw(Tag::ToolArguments)),
]);
pub(super) static TOOL_CALL: Shape = Shape::path(&[("function", &FUNCTION), ("custom", &FUNCTION)]);
/// `reasoning` is text with most servers, an object with `content` with some.
static REASONING: Shape =
    Shape::object(Tag::Reasoning(2), &[("content", &Shape::scalar(Tag::Reasoning(2)))]);
static REASONING_DETAIL: Shape = Shape::path(&[
    ("text", &Shape::scalar(Tag::Reasoning(4))),
    ("summary", &Shape::scalar(Tag::Reasoning(4))),
]);

pub(super) const BODY: &[(&str, &Shape)] = &[
    ("content", &CONTENT_OR_PARTS),
    ("reasoning_content", &Shape::scalar(Tag::Reasoning(1))),
    ("reasoning", &REASONING),
    ("thinking", &Shape::scalar(Tag::Reasoning(3))),
    // GitHub Copilot.
    ("reasoning_text", &Shape::scalar(Tag::Reasoning(3))),
    ("reasoning_details", &Shape::list(&REASONING_DETAIL)),
    ("refusal", &ANSWER),
    ("tool_calls", &Shape::list(&TOOL_CALL)),
    ("function_call", &FUNCTION),
    ("audio", &SOUND),
    // OpenRouter.
    ("images", &Shape::list(&IMAGE)),
];
pub(super) static CHOICE: Shape = Shape::object(
    Tag::Choice,
    &[
        ("index", &Shape::scalar(Tag::Index)),
        ("delta", &Shape::object(Tag::Delta, BODY)),
        ("message", &Shape::object(Tag::Message, BODY)),
        ("text", &Shape::scalar(Tag::Text)),
        ("finish_reason", &Shape::text(Tag::Finish)),
        ("token_ids", &Shape::array(Tag::Sign(Engine::Vllm), &Shape::scalar(Tag::TokenId))),
        ("matched_stop", &Shape::scalar(Tag::Sign(Engine::Sglang))),
        ("avg_decoded_tokens_per_iter", &Shape::scalar(Tag::Sign(Engine::TrtLlm))),
    ],
);

static CACHED: Shape = counted(Count::Cached);
static REASONED: Shape = counted(Count::Reasoning);
pub(super) static USAGE: Shape = Shape::object(
    Tag::Usage,
    &[
        ("prompt_tokens", &counted(Count::Input)),
        ("completion_tokens", &counted(Count::Output)),
        ("total_tokens", &counted(Count::Total)),
        ("prompt_cache_hit_tokens", &CACHED),
        ("cache_read_input_tokens", &CACHED),
        ("cached_tokens", &CACHED),
        ("reasoning_tokens", &REASONED),
        ("prompt_tokens_details", &Shape::path(&[("cached_tokens", &CACHED)])),
        ("completion_tokens_details", &Shape::path(&[("reasoning_tokens", &REASONED)])),
        // Groq.
        ("queue_time", &time(Stage::Queue, Unit::Seconds)),
        ("prompt_time", &time(Stage::Prefill, Unit::Seconds)),
        ("completion_time", &time(Stage::Decode, Unit::Seconds)),
        ("total_time", &time(Stage::Total, Unit::Seconds)),
        // mistral.rs.
        ("total_prompt_time_sec", &time(Stage::Prefill, Unit::Seconds)),
        ("total_completion_time_sec", &time(Stage::Decode, Unit::Seconds)),
        ("total_time_sec", &time(Stage::Total, Unit::Seconds)),
        ("avg_compl_tok_per_sec", &Shape::scalar(Tag::Sign(Engine::MistralRs))),
        // LocalAI, if asked by `Extra-Usage`.
        ("timing_prompt_processing", &time(Stage::Prefill, Unit::Millis)),
        ("timing_token_generation", &time(Stage::Decode, Unit::Millis)),
        // MLC.
        ("extra", &Shape::path(&[("ttft_s", &time(Stage::FirstToken, Unit::Seconds))])),
    ],
);
/// Cerebras.
pub(super) static TIME_INFO: Shape = Shape::object(
    Tag::Sign(Engine::Cerebras),
    &[
        ("queue_time", &time(Stage::Queue, Unit::Seconds)),
        ("prompt_time", &time(Stage::Prefill, Unit::Seconds)),
        ("completion_time", &time(Stage::Decode, Unit::Seconds)),
        ("total_time", &time(Stage::Total, Unit::Seconds)),
    ],
);
/// vLLM. Its time to the first token begins when the request is scheduled: it is the prefill.
pub(super) static METRICS: Shape = Shape::path(&[
    ("queue_time_ms", &time(Stage::Queue, Unit::Millis)),
    ("time_to_first_token_ms", &time(Stage::Prefill, Unit::Millis)),
    ("generation_time_ms", &time(Stage::Decode, Unit::Millis)),
    ("mean_itl_ms", &Shape::scalar(Tag::Sign(Engine::Vllm))),
]);
/// llama.cpp. `prompt_n` is what had to be processed; what its cache held comes apart.
pub(super) static TIMINGS: Shape = Shape::object(
    Tag::Sign(Engine::LlamaCpp),
    &[
        ("prompt_n", &Shape::scalar(Tag::EngineCount(Count::FreshInput))),
        ("cache_n", &Shape::scalar(Tag::EngineCount(Count::Cached))),
        ("predicted_n", &Shape::scalar(Tag::EngineCount(Count::Output))),
        ("prompt_ms", &time(Stage::Prefill, Unit::Millis)),
        ("predicted_ms", &time(Stage::Decode, Unit::Millis)),
    ],
);
/// What says that a chunk is one, in every API but llama-swap's own.
static IDENTITY: Shape = Shape::constant(Tag::Echo);
pub(super) static ERROR: Shape = Shape::scalar(Tag::Error);
pub(super) static GROQ: Shape =
    Shape::object(Tag::Sign(Engine::Groq), &[("usage", &USAGE), ("error", &ERROR)]);
static ROOT: Shape = Shape::path(&[
    ("id", &IDENTITY),
    ("object", &IDENTITY),
    ("choices", &Shape::list(&CHOICE)),
    ("model", &Shape::text(Tag::Model)),
    ("usage", &USAGE),
    ("error", &ERROR),
    ("system_fingerprint", &Shape::text(Tag::Fingerprint)),
    ("obfuscation", &Shape::scalar(Tag::Sign(Engine::OpenAi))),
    ("prompt_filter_results", &Shape::scalar(Tag::Sign(Engine::AzureOpenAi))),
    ("p", &Shape::scalar(Tag::Sign(Engine::Mistral))),
    ("x_groq", &GROQ),
    ("time_info", &TIME_INFO),
    ("metrics", &METRICS),
    ("timings", &TIMINGS),
]);

/// What llama-swap makes up is reasoning and nothing else, not even an index.
fn conclude(draft: &mut Draft, _: &mut Memory, _: &[u8]) {
    let is_bare = draft.echo == 0 && !draft.is_indexed;
    if is_bare
        && let [choice] = draft.facts.choices.as_slice()
        && choice.reasoning_chars > 0
        && !choice.answers
        && choice.finish.is_none()
    {
        draft.facts.choices.clear();
        draft.facts.loading = true;
    }
    draft.conclude();
}

#[cfg(test)]
#[path = "openai_chat_tests.rs"]
mod tests;
