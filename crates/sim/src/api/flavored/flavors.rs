//! The templates of the servers, from recordings (with other ids) or from their source.

use super::super::HeadersAt;
use super::super::llamacpp::TIMINGS;
use super::{Flavor, UsageChunk};

/// Returns the server with this name.
pub(in crate::api) fn find(name: &str) -> Option<&'static Flavor> {
    FLAVORS.iter().copied().find(|flavor| flavor.name == name)
}

const FLAVORS: [&Flavor; 13] = [
    &SGLANG,
    &LLAMACPP,
    &TGI,
    &OLLAMA,
    &GROQ,
    &CEREBRAS,
    &DEEPSEEK,
    &MISTRAL,
    &XAI,
    &TRANSFORMERS,
    &MISTRALRS,
    &AZURE,
    &TRTLLM,
];

/// Defaults shared by most servers.
const OPENAI: Flavor = Flavor {
    name: "openai",
    head_at: HeadersAt::Admission,
    preamble: "",
    comment: ": keep-alive\n\n",
    chunk: r#"{"id":"chatcmpl-$id","object":"chat.completion.chunk","created":$created,"model":"$model","system_fingerprint":"fp_e8236260a9","choices":[$choices]$more}"#,
    choice: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":null}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":"$reason"}"#,
    role: (r#"{"role":"assistant","content":""}"#, ""),
    text: r#"{"content":"$text"}"#,
    reasoning: r#"{"reasoning":"$text"}"#,
    tool_name: r#"{"tool_calls":[{"index":0,"id":"$call","type":"function","function":{"name":"$text","arguments":""}}]}"#,
    tool_arguments: r#"{"tool_calls":[{"index":0,"function":{"arguments":"$text"}}]}"#,
    end: Some("{}"),
    more: "",
    end_more: ["", ""],
    last: UsageChunk::Asked,
    last_more: r#","usage":$usage"#,
    usage: r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total,"prompt_tokens_details":{"cached_tokens":$cached},"completion_tokens_details":{"reasoning_tokens":$reasoning}}"#,
    whole_more: "",
    packs_role: false,
    role_at_once: false,
    has_done: true,
};

/// Every key in every delta; the role with the first output; the ends after all choices.
const SGLANG: Flavor = Flavor {
    name: "sglang",
    head_at: HeadersAt::FirstToken,
    chunk: r#"{"id":"$id","object":"chat.completion.chunk","created":$created,"model":"$model","choices":[$choices]$more}"#,
    choice: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":null,"matched_stop":null}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":"$reason","matched_stop":1}"#,
    role: (
        r#"{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null}"#,
        r#","usage":null"#,
    ),
    text: r#"{"role":null,"content":"$text","reasoning_content":null,"tool_calls":null}"#,
    reasoning: r#"{"role":null,"content":null,"reasoning_content":"$text","tool_calls":null}"#,
    tool_name: r#"{"role":null,"content":null,"reasoning_content":null,"tool_calls":[{"id":"$call","index":0,"type":"function","function":{"name":"$text","arguments":""}}]}"#,
    tool_arguments: r#"{"role":null,"content":null,"reasoning_content":null,"tool_calls":[{"id":null,"index":0,"type":"function","function":{"name":null,"arguments":"$text"}}]}"#,
    end: Some(r#"{"role":null,"content":null,"reasoning_content":null,"tool_calls":null}"#),
    more: r#","usage":null"#,
    end_more: [r#","usage":null"#, r#","usage":null"#],
    usage: r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output,"prompt_tokens_details":null,"reasoning_tokens":$reasoning}"#,
    ..OPENAI
};

/// The role with `content` null, in one chunk with the first output; timings always; the usage once per choice.
const LLAMACPP: Flavor = Flavor {
    name: "llamacpp",
    head_at: HeadersAt::Start,
    comment: ":\n\n",
    chunk: r#"{"choices":[$choices],"created":$created,"id":"chatcmpl-$id","model":"$model","system_fingerprint":"b10499-6d05498","object":"chat.completion.chunk"$more}"#,
    choice: r#"{"finish_reason":null,"index":$index,"delta":$delta}"#,
    choice_end: r#"{"finish_reason":"$reason","index":$index,"delta":$delta}"#,
    role: (r#"{"role":"assistant","content":null}"#, ""),
    reasoning: r#"{"reasoning_content":"$text"}"#,
    end_more: ["", TIMINGS],
    last: UsageChunk::PerChoice,
    last_more: r#","usage":$usage,"timings":{"cache_n":$cached,"prompt_n":$fresh,"prompt_ms":$prefill_ms,"prompt_per_token_ms":$prefill_pace_ms,"prompt_per_second":$prefill_per_s,"predicted_n":$output,"predicted_ms":$decode_ms,"predicted_per_token_ms":$pace_ms,"predicted_per_second":$decode_per_s}"#,
    usage: r#"{"completion_tokens":$output,"prompt_tokens":$input,"total_tokens":$total,"prompt_tokens_details":{"cached_tokens":$cached}}"#,
    whole_more: TIMINGS,
    packs_role: true,
    ..OPENAI
};

/// Role and content in every delta; no id.
const TGI: Flavor = Flavor {
    name: "tgi",
    comment: ":\n\n",
    chunk: r#"{"object":"chat.completion.chunk","id":"","created":$created,"model":"$model","system_fingerprint":"3.1.2-dev0-native","choices":[$choices]$more}"#,
    role: ("", ""),
    text: r#"{"role":"assistant","content":"$text"}"#,
    reasoning: r#"{"role":"assistant","content":"","reasoning":"$text"}"#,
    tool_name: r#"{"content":null,"role":"assistant","tool_calls":[{"index":0,"id":"0","type":"function","function":{"name":"$text","arguments":""}}]}"#,
    tool_arguments: r#"{"content":null,"role":"assistant","tool_calls":[{"index":0,"id":"0","type":"function","function":{"name":null,"arguments":"$text"}}]}"#,
    end: Some(r#"{"role":"assistant","content":""}"#),
    more: r#","usage":null"#,
    end_more: [r#","usage":null"#, r#","usage":null"#],
    usage: r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total}"#,
    ..OPENAI
};

/// The headers with the first event; role and content in every delta.
const OLLAMA: Flavor = Flavor {
    name: "ollama",
    head_at: HeadersAt::FirstToken,
    chunk: r#"{"id":"chatcmpl-$id","object":"chat.completion.chunk","created":$created,"model":"$model","system_fingerprint":"fp_ollama","choices":[$choices]$more}"#,
    choice: r#"{"index":$index,"delta":$delta,"finish_reason":null}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"finish_reason":"$reason"}"#,
    role: ("", ""),
    text: r#"{"role":"assistant","content":"$text"}"#,
    reasoning: r#"{"role":"assistant","content":"","reasoning":"$text"}"#,
    tool_name: r#"{"role":"assistant","content":"","tool_calls":[{"id":"$call","index":0,"type":"function","function":{"name":"$text","arguments":""}}]}"#,
    end: Some(r#"{"role":"assistant","content":""}"#),
    usage: r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total}"#,
    ..OPENAI
};

/// Usage with seconds, reported two or three times.
const GROQ: Flavor = Flavor {
    name: "groq",
    role: (r#"{"role":"assistant","content":""}"#, r#","x_groq":{"id":"req_$id","seed":27718886}"#),
    reasoning: r#"{"reasoning":"$text","channel":"analysis"}"#,
    end_more: [
        r#","x_groq":{"id":"req_$id","usage":$usage},"usage":$usage"#,
        r#","x_groq":{"id":"req_$id","usage":$usage}"#,
    ],
    last_more: r#","usage":$usage,"service_tier":"on_demand""#,
    usage: r#"{"queue_time":$queue_s,"prompt_tokens":$input,"prompt_time":$prefill_s,"completion_tokens":$output,"completion_time":$decode_s,"total_tokens":$total,"total_time":$busy_s}"#,
    whole_more: r#","x_groq":{"id":"req_$id"}"#,
    ..OPENAI
};

/// Usage and seconds in the chunk that ends the choice.
const CEREBRAS: Flavor = Flavor {
    name: "cerebras",
    choice: r#"{"delta":$delta,"index":$index}"#,
    choice_end: r#"{"delta":$delta,"finish_reason":"$reason","index":$index}"#,
    role: (r#"{"role":"assistant"}"#, ""),
    end_more: [TIME_INFO, TIME_INFO],
    last: UsageChunk::Never,
    whole_more: r#","time_info":{"queue_time":$queue_s,"prompt_time":$prefill_s,"completion_time":$decode_s,"total_time":$total_s}"#,
    ..OPENAI
};

const TIME_INFO: &str = r#","usage":$usage,"time_info":{"created":$created.570175,"queue_time":$queue_s,"prompt_time":$prefill_s,"completion_time":$decode_s,"total_time":$total_s}"#;

/// Comments while queued; usage with the end of the choice.
const DEEPSEEK: Flavor = Flavor {
    name: "deepseek",
    chunk: r#"{"id":"$id","object":"chat.completion.chunk","created":$created,"model":"$model","system_fingerprint":"fp_9954b31ca7_prod0820_fp8_kvcache","choices":[$choices]$more}"#,
    role: (r#"{"role":"assistant","content":null,"reasoning_content":""}"#, r#","usage":null"#),
    text: r#"{"content":"$text","reasoning_content":null}"#,
    reasoning: r#"{"content":null,"reasoning_content":"$text"}"#,
    end: Some(r#"{"content":"","reasoning_content":null}"#),
    more: r#","usage":null"#,
    end_more: [r#","usage":$usage"#, r#","usage":$usage"#],
    last: UsageChunk::Never,
    usage: r#"{"prompt_tokens":$input,"completion_tokens":$output,"total_tokens":$total,"prompt_tokens_details":{"cached_tokens":$cached},"completion_tokens_details":{"reasoning_tokens":$reasoning},"prompt_cache_hit_tokens":$cached,"prompt_cache_miss_tokens":$fresh}"#,
    ..OPENAI
};

/// Reasoning as typed parts of the content; padding; usage with the end of the choice.
const MISTRAL: Flavor = Flavor {
    name: "mistral",
    chunk: r#"{"id":"$id","object":"chat.completion.chunk","created":$created,"model":"$model","choices":[$choices]$more}"#,
    choice: r#"{"index":$index,"delta":$delta,"finish_reason":null}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"finish_reason":"$reason"}"#,
    reasoning: r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"$text"}]}]}"#,
    end: Some(r#"{"content":""}"#),
    more: r#","p":"$pad""#,
    end_more: [r#","usage":$usage,"p":"$pad""#, r#","usage":$usage,"p":"$pad""#],
    last: UsageChunk::Never,
    usage: r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output}"#,
    ..OPENAI
};

/// The role with the first output; the tokens of the completion without the reasoning.
const XAI: Flavor = Flavor {
    name: "xai",
    chunk: r#"{"id":"$id","object":"chat.completion.chunk","created":$created,"model":"$model","choices":[$choices]$more,"system_fingerprint":"fp_99052e9f23"}"#,
    choice: r#"{"index":$index,"delta":$delta}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"finish_reason":"$reason"}"#,
    role: ("", ""),
    text: r#"{"content":"$text"$role}"#,
    reasoning: r#"{"reasoning_content":"$text"$role}"#,
    tool_name: r#"{"tool_calls":[{"id":"$call","function":{"name":"$text","arguments":""},"index":0,"type":"function"}]$role}"#,
    last: UsageChunk::Always,
    usage: r#"{"prompt_tokens":$input,"completion_tokens":$answer,"total_tokens":$total,"prompt_tokens_details":{"text_tokens":$input,"audio_tokens":0,"image_tokens":0,"cached_tokens":$cached},"completion_tokens_details":{"reasoning_tokens":$reasoning,"audio_tokens":0},"num_sources_used":0}"#,
    ..OPENAI
};

/// The role before the prefill; usage with the end of the choice, and nothing after it.
const TRANSFORMERS: Flavor = Flavor {
    name: "transformers",
    chunk: r#"{"id":"$id","choices":[$choices],"created":$created,"model":"$model@main","object":"chat.completion.chunk","system_fingerprint":""$more}"#,
    choice: r#"{"delta":$delta,"index":$index}"#,
    choice_end: r#"{"delta":$delta,"index":$index,"finish_reason":"$reason"}"#,
    role: (r#"{"role":"assistant"}"#, ""),
    end_more: [r#","usage":$usage"#, r#","usage":$usage"#],
    last: UsageChunk::Never,
    usage: r#"{"completion_tokens":$output,"prompt_tokens":$input,"total_tokens":$total}"#,
    role_at_once: true,
    has_done: false,
    ..OPENAI
};

/// The role in every delta; usage with rates and seconds, with the end of the choice.
const MISTRALRS: Flavor = Flavor {
    name: "mistralrs",
    chunk: r#"{"choices":[$choices],"created":$created,"id":"$id","model":"$model","object":"chat.completion.chunk","system_fingerprint":"local"$more}"#,
    choice: r#"{"delta":$delta,"finish_reason":null,"index":$index,"logprobs":null}"#,
    choice_end: r#"{"delta":$delta,"finish_reason":"$reason","index":$index,"logprobs":null}"#,
    role: (r#"{"content":null,"role":"assistant","tool_calls":null}"#, r#","usage":null"#),
    text: r#"{"content":"$text","role":"assistant","tool_calls":null}"#,
    reasoning: r#"{"content":null,"reasoning_content":"$text","role":"assistant","tool_calls":null}"#,
    end: Some(r#"{"content":null,"role":"assistant","tool_calls":null}"#),
    more: r#","usage":null"#,
    end_more: [r#","usage":$usage"#, r#","usage":$usage"#],
    last: UsageChunk::Never,
    usage: r#"{"avg_compl_tok_per_sec":$decode_per_s,"avg_prompt_tok_per_sec":$prefill_per_s,"avg_tok_per_sec":$per_s,"completion_tokens":$output,"prompt_tokens":$input,"total_completion_time_sec":$decode_s,"total_prompt_time_sec":$prefill_s,"total_time_sec":$total_s,"total_tokens":$total}"#,
    ..OPENAI
};

/// A first event without choices; filter results and padding in all others.
const AZURE: Flavor = Flavor {
    name: "azure",
    preamble: "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n",
    chunk: r#"{"choices":[$choices],"created":$created,"id":"chatcmpl-$id","model":"$model","obfuscation":"$pad","object":"chat.completion.chunk","system_fingerprint":"fp_b6f445fc1c"$more}"#,
    choice: r#"{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"delta":$delta,"finish_reason":null,"index":$index,"logprobs":null}"#,
    choice_end: r#"{"content_filter_results":{},"delta":$delta,"finish_reason":"$reason","index":$index,"logprobs":null}"#,
    role: (r#"{"content":"","error":null,"role":"assistant"}"#, ""),
    ..OPENAI
};

/// A space after the chunk with the role; content and reasoning in every delta; the end with the last output.
const TRTLLM: Flavor = Flavor {
    name: "trtllm",
    chunk: r#"{"id":"chatcmpl-$id","object":"chat.completion.chunk","created":$created,"model":"$model","choices":[$choices]$more}"#,
    choice: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":null,"stop_reason":null}"#,
    choice_end: r#"{"index":$index,"delta":$delta,"logprobs":null,"finish_reason":"$reason","stop_reason":null,"avg_decoded_tokens_per_iter":1.0}"#,
    role: (r#"{"role":"assistant"}"#, ""),
    text: r#"{"content":"$text","reasoning_content":""}"#,
    reasoning: r#"{"content":"","reasoning_content":"$text"}"#,
    end: None,
    usage: r#"{"prompt_tokens":$input,"total_tokens":$total,"completion_tokens":$output}"#,
    ..OPENAI
};
