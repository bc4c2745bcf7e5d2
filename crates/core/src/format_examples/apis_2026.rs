//! APIs of single servers and vendors that became common in 2025 and 2026.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "LM Studio",
        case: "chat, with a load of the model",
        path: "/api/v1/chat",
        tokens: "`stats`",
        load: "`load_time_seconds`",
        events: &[
            br#"{"type":"chat.start","model_instance_id":"gpt-oss"}"#,
            br#"{"type":"model_load.start","model_instance_id":"gpt-oss"}"#,
            br#"{"type":"model_load.end","model_instance_id":"gpt-oss","load_time_seconds":12.5}"#,
            br#"{"type":"prompt_processing.end"}"#,
            br#"{"type":"message.delta","content":"Hi"}"#,
            br#"{"type":"chat.end","result":{"output":[{"type":"message","content":"Hi"}],"stats":{"input_tokens":9,"total_output_tokens":2,"time_to_first_token_seconds":0.5}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "LM Studio",
        path: "/api/v1/chat",
        framing: ExampleFraming::Document,
        tokens: "`stats`",
        first_token: "`stats.time_to_first_token_seconds`",
        events: &[
            br#"{"model_instance_id":"gpt-oss","output":[{"type":"message","content":"Hi"}],"stats":{"input_tokens":9,"total_output_tokens":2,"time_to_first_token_seconds":0.5}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "KoboldCpp",
        path: "/api/extra/generate/stream",
        events: &[
            br#"{"token":"Hi","finish_reason":null}"#,
            br#"{"token":"","finish_reason":"stop"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "KoboldCpp",
        path: "/api/v1/generate",
        framing: ExampleFraming::Document,
        tokens: "`results[].completion_tokens`",
        events: &[
            br#"{"results":[{"text":"Hi","finish_reason":"stop","prompt_tokens":9,"completion_tokens":2}]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "DashScope",
        case: "with `incremental_output`",
        path: "/api/v1/services/aigc/text-generation/generation",
        tokens: "`usage`",
        events: &[
            b"event: result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":\"Hel\"},\"finish_reason\":\"null\"}]},\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}",
            b"event: result\n:HTTP_STATUS/200\ndata:{\"output\":{\"choices\":[{\"message\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]},\"usage\":{\"input_tokens\":9,\"output_tokens\":2}}",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "DashScope",
        case: "without `incremental_output`",
        path: "/api/v1/services/aigc/text-generation/generation",
        tokens: "`usage`",
        events: &[
            br#"{"output":{"finish_reason":"null","text":"Hel"},"usage":{"input_tokens":9,"output_tokens":1}}"#,
            br#"{"output":{"finish_reason":"stop","text":"Hello"},"usage":{"input_tokens":9,"output_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "DashScope",
        path: "/api/v1/services/aigc/multimodal-generation/generation",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"output":{"choices":[{"finish_reason":"stop","message":{"content":[{"text":"Hi"}]}}]},"usage":{"input_tokens":9,"output_tokens":2,"image_tokens":5}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "DashScope",
        case: "application",
        path: "/api/v1/apps/a/completion",
        tokens: "`usage.models[]`",
        events: &[
            br#"{"output":{"finish_reason":"null","text":"Hel"},"usage":{"models":[{"model_id":"qwen","input_tokens":9,"output_tokens":1}]}}"#,
            br#"{"output":{"finish_reason":"stop","text":"Hello"},"usage":{"models":[{"model_id":"qwen","input_tokens":9,"output_tokens":2}]}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "DashScope",
        path: "/api/v1/services/embeddings/text-embedding/text-embedding",
        framing: ExampleFraming::Document,
        tokens: "`usage.total_tokens` (input)",
        events: &[
            br#"{"output":{"embeddings":[{"embedding":[0.1],"text_index":0}]},"usage":{"total_tokens":7}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cloudflare Workers AI",
        path: "/client/v4/accounts/a/ai/run/@cf/meta/llama",
        tokens: "`usage`",
        events: &[
            br#"{"response":"Hi","p":"abcdef"}"#,
            br#"{"response":"","usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cloudflare Workers AI",
        path: "/client/v4/accounts/a/ai/run/@cf/meta/llama",
        framing: ExampleFraming::Document,
        tokens: "`result.usage`",
        events: &[
            br#"{"result":{"response":"Hi","usage":{"prompt_tokens":9,"completion_tokens":2}},"success":true,"errors":[]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cloudflare Workers AI",
        case: "infer, through AI Gateway",
        path: "/v1/a/gateway/workers-ai/@cf/zai-org/glm",
        tokens: "`usage`",
        events: &[
            br#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "IBM watsonx.ai",
        path: "/ml/v1/text/generation_stream",
        tokens: "`results[].generated_token_count`",
        events: &[
            br#"{"model_id":"granite","results":[{"generated_text":"","generated_token_count":0,"input_token_count":9,"stop_reason":"not_finished"}]}"#,
            br#"{"model_id":"granite","results":[{"generated_text":"Hi","generated_token_count":2,"input_token_count":0,"stop_reason":"eos_token"}]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "IBM watsonx.ai",
        path: "/ml/v1/text/generation",
        framing: ExampleFraming::Document,
        tokens: "`results[].generated_token_count`",
        events: &[
            br#"{"model_id":"granite","results":[{"generated_text":"Hi","generated_token_count":2,"input_token_count":9,"stop_reason":"eos_token"}]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "IBM watsonx.ai",
        path: "/ml/v1/text/embeddings",
        framing: ExampleFraming::Document,
        tokens: "`input_token_count` (input)",
        events: &[
            br#"{"model_id":"slate","results":[{"embedding":[0.1]}],"input_token_count":3}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SAP AI Core",
        path: "/v2/inference/deployments/d/v2/completion",
        tokens: "`final_result.usage`",
        events: &[
            br#"{"intermediate_results":{"templating":[{"role":"user","content":"Hi"}]},"final_result":{"choices":[{"index":0,"delta":{"content":""},"finish_reason":""}]}}"#,
            br#"{"final_result":{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SAP AI Core",
        case: "chat, version 1",
        path: "/v2/inference/deployments/d/completion",
        framing: ExampleFraming::Document,
        tokens: "`orchestration_result.usage`",
        events: &[
            br#"{"module_results":{},"orchestration_result":{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "MiniMax",
        path: "/v1/text/chatcompletion_v2",
        tokens: "`usage`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"}}],"object":"chat.completion.chunk"}"#,
            br#"{"choices":[{"finish_reason":"stop","index":0,"message":{"content":"Hi"}}],"object":"chat.completion","usage":{"prompt_tokens":9,"completion_tokens":2},"base_resp":{"status_code":0}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "MiniMax",
        path: "/v1/text/chatcompletion_pro",
        events: &[
            br#"{"reply":"","choices":[{"messages":[{"sender_type":"BOT","text":"Hi"}]}]}"#,
            br#"{"reply":"Hi","choices":[{"finish_reason":"stop","messages":[{"sender_type":"BOT","text":"Hi"}]}],"usage":{"total_tokens":11},"base_resp":{"status_code":0}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Mistral conversations",
        path: "/v1/conversations",
        tokens: "`usage`",
        events: &[
            br#"{"type":"conversation.response.started","conversation_id":"c"}"#,
            br#"{"type":"message.output.delta","output_index":0,"content":"Hi"}"#,
            br#"{"type":"conversation.response.done","usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Mistral conversations",
        path: "/v1/conversations/c",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"object":"conversation.response","conversation_id":"c","outputs":[{"type":"message.output","content":"Hi"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Writer",
        case: "agent",
        path: "/v1/applications/a",
        events: &[
            br#"{"delta":{"stages":[{"content":"Plan"}]}}"#,
            br#"{"delta":{"content":"Hi"}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Writer",
        case: "text completion",
        path: "/v1/completions",
        events: &[
            br#"{"value":""}"#,
            br#"{"value":"Hi"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v1/generate",
        framing: ExampleFraming::Lines,
        tokens: "`response.meta.billed_units`",
        events: &[
            br#"{"text":"Hi","is_finished":false,"event_type":"text-generation"}"#,
            br#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"generations":[{"text":"Hi"}],"meta":{"billed_units":{"input_tokens":5,"output_tokens":2}}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        case: "batch of chats",
        path: "/v1/chat/completions/batch",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"id":"c","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"},{"index":1,"message":{"content":"Yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":18,"completion_tokens":4}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Perplexity",
        path: "/v1/sonar",
        tokens: "`usage`",
        events: &[
            br#"{"id":"p","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"},"message":{"content":"Hi"},"finish_reason":null}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#,
            br#"{"id":"p","object":"chat.completion.done","choices":[{"index":0,"delta":{"content":""},"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2},"search_results":[]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "Pollinations",
        path: "/openai",
        tokens: "`usage`",
        events: &[
            br#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SageMaker",
        case: "vLLM in the container",
        path: "/endpoints/e/invocations-response-stream",
        framing: ExampleFraming::AwsNested,
        tokens: "as in the container",
        events: &[
            b"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},",
            b"\"finish_reason\":null}]}\n\ndata: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],",
            b"\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "SageMaker",
        case: "LMI in the container",
        path: "/endpoints/e/invocations-response-stream",
        framing: ExampleFraming::AwsNested,
        tokens: "as in the container",
        events: &[
            b"{\"token\":{\"id\":1,\"text\":\"H\"}}\n{\"token\":{\"id\":2,\"te",
            b"xt\":\"i\"},\"generated_text\":\"Hi\",\"details\":{\"finish_reason\":\"eos_token\",\"generated_tokens\":2}}\n",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Text Embeddings Inference",
        path: "/embed",
        framing: ExampleFraming::Document,
        tokens: "header `x-compute-tokens` (input)",
        queue: "header `x-queue-time`",
        headers: &[
            ("x-compute-type", "gpu+optimized"),
            ("x-compute-time", "8"),
            ("x-compute-tokens", "5"),
            ("x-total-time", "8"),
            ("x-queue-time", "2"),
        ],
        events: &[b"[[0.1,-0.2]]"],
        ..DEFAULTS
    },
];
