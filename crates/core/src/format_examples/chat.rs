//! OpenAI's chat API on other servers, which have counts and durations in other fields.

use super::example::{DEFAULTS, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "vLLM",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        queue: "`metrics.queue_time_ms`",
        first_token: "queue + `metrics.time_to_first_token_ms`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null,"token_ids":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop","stop_reason":null}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3},"metrics":{"queue_time_ms":1.5,"time_to_first_token_ms":20.0,"generation_time_ms":30.0}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        case: "chat with `return_token_ids`",
        path: "/v1/chat/completions",
        tokens: "number of `token_ids`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null,"token_ids":[9906]}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop","token_ids":[0,2]}]}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "llama.cpp",
        path: "/v1/chat/completions",
        tokens: "`timings.predicted_n`, `prompt_n` + `cache_n`",
        first_token: "`timings.prompt_ms`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"cache_n":2,"prompt_n":7,"prompt_ms":6.85,"predicted_n":8,"predicted_ms":55.6}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SGLang",
        path: "/v1/chat/completions",
        tokens: "`usage`, with `include_usage`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null,"matched_stop":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null,"matched_stop":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","matched_stop":2}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"reasoning_tokens":0}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Azure OpenAI",
        path: "/openai/deployments/m/chat/completions",
        tokens: "`usage`, with `include_usage`",
        events: &[
            br#"{"choices":[],"created":0,"id":"","model":"","prompt_filter_results":[{"prompt_index":0}]}"#,
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Groq",
        path: "/v1/chat/completions",
        tokens: "`x_groq.usage`",
        queue: "`queue_time`",
        first_token: "queue + `prompt_time`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"x_groq":{"id":"req_1"}}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"req_1","usage":{"queue_time":0.237,"prompt_tokens":9,"prompt_time":0.001,"completion_tokens":2,"completion_time":0.003,"total_tokens":11,"total_time":0.004}}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Cerebras",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        queue: "`time_info.queue_time`",
        first_token: "queue + `time_info.prompt_time`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},"time_info":{"queue_time":0.1,"prompt_time":0.2,"completion_time":0.3,"total_time":0.7,"created":1}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "DeepSeek",
        path: "/v1/chat/completions",
        tokens: "`usage`, `prompt_cache_hit_tokens`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_cache_hit_tokens":0,"prompt_cache_miss_tokens":9}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Mistral",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"p":"abcdef"}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11},"p":"abc"}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "xAI",
        path: "/v1/chat/completions",
        tokens: "`usage`: `completion_tokens` + `reasoning_tokens`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"First"}}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":354,"completion_tokens_details":{"reasoning_tokens":340}}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "mistral.rs",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        first_token: "`usage.total_prompt_time_sec`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":2,"prompt_tokens":9,"total_tokens":11,"avg_compl_tok_per_sec":15.5,"total_time_sec":14.895,"total_prompt_time_sec":1.525,"total_completion_time_sec":13.368}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "MLC",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        first_token: "`usage.extra.ttft_s`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"extra":{"ttft_s":0.25,"prefill_tokens_per_s":9}}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "transformers serve",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "LocalAI",
        path: "/v1/chat/completions",
        tokens: "`usage`, with `include_usage`",
        first_token: "`usage.timing_prompt_processing`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"timing_prompt_processing":6.5,"timing_token_generation":50}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
];
