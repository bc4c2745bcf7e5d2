//! OpenAI's own endpoints, and other servers' endpoints that are not chat.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/chat/completions",
        tokens: "`usage`, with `include_usage`",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"obfuscation":"x1"}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        case: "chat without `include_usage`",
        path: "/v1/chat/completions",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/chat/completions",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/completions",
        events: &[
            br#"{"choices":[{"index":0,"text":"Hi","finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"text":"!","finish_reason":"stop"}]}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/responses",
        tokens: "`response.usage`",
        events: &[
            br#"{"type":"response.created","response":{"status":"in_progress","output":[],"usage":null,"error":null}}"#,
            br#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi","obfuscation":"x1"}"#,
            br#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Hi"}"#,
            br#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/responses",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        case: "assistants",
        path: "/v1/threads/t/runs",
        tokens: "`usage`",
        events: &[
            b"event: thread.message.delta\ndata: {\"delta\":{\"content\":[{\"index\":0,\"type\":\"text\",\"text\":{\"value\":\"Hey\"}}]}}",
            b"event: thread.run.completed\ndata: {\"status\":\"completed\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}",
            b"event: done\ndata: [DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        method: "GET",
        path: "/v1/realtime",
        framing: ExampleFraming::WebSocket,
        tokens: "`response.usage`",
        events: &[
            br#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime"}}"#,
            br#"{"type":"response.created","response":{"status":"in_progress"}}"#,
            br#"{"type":"response.output_text.delta","delta":"Hi"}"#,
            br#"{"type":"response.output_text.delta","delta":"!"}"#,
            br#"{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":11,"input_tokens":9,"output_tokens":2}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        method: "GET",
        path: "/v1/responses",
        framing: ExampleFraming::WebSocket,
        tokens: "`response.usage`",
        events: &[
            br#"{"type":"response.created","response":{"status":"in_progress","output":[],"usage":null,"error":null}}"#,
            br#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi"}"#,
            br#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        method: "GET",
        path: "/v1/responses/resp_1",
        tokens: "`response.usage`",
        events: &[
            br#"{"type":"response.created","response":{"status":"in_progress","output":[]}}"#,
            br#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi"}"#,
            br#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        method: "GET",
        path: "/v1/realtime/translations",
        framing: ExampleFraming::WebSocket,
        events: &[
            br#"{"type":"session.created","session":{"type":"translation","model":"gpt-realtime-translate"}}"#,
            br#"{"type":"session.output_audio.delta","delta":"AAAA"}"#,
            br#"{"type":"session.output_transcript.delta","delta":"Hola"}"#,
            br#"{"type":"session.closed"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        method: "GET",
        path: "/v1/realtime",
        framing: ExampleFraming::WebSocket,
        tokens: "`usage`",
        events: &[
            br#"{"type":"session.created"}"#,
            br#"{"type":"transcription.delta","delta":"Hi"}"#,
            br#"{"type":"transcription.done","text":"Hi","usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/audio/transcriptions",
        tokens: "`usage`",
        events: &[
            br#"{"type":"transcript.text.delta","delta":"Hey"}"#,
            br#"{"type":"transcript.text.done","text":"Hey","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/audio/transcriptions",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"text":"Hey","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/v1/audio/transcriptions",
        tokens: "`usage`, with `include_usage`",
        events: &[
            br#"{"object":"transcription.chunk","choices":[{"delta":{"content":"Hey"},"finish_reason":null}]}"#,
            br#"{"object":"transcription.chunk","choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#,
            br#"{"object":"transcription.chunk","choices":[],"usage":{"prompt_tokens":14,"completion_tokens":2,"total_tokens":16}}"#,
            b"[DONE]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Other OpenAI-compatible servers",
        case: "transformers serve: audio",
        path: "/v1/audio/transcriptions",
        events: &[
            br#"{"text":"Hey"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/audio/speech",
        tokens: "`usage`",
        events: &[
            br#"{"type":"speech.audio.delta","audio":"AAAA"}"#,
            br#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/images/generations",
        tokens: "`usage`",
        events: &[
            br#"{"type":"image_generation.partial_image","b64_json":"iVBO","partial_image_index":0}"#,
            br#"{"type":"image_generation.completed","b64_json":"iVBP","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/images/generations",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"created":1,"data":[{"b64_json":"iVBO"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/embeddings",
        framing: ExampleFraming::Document,
        tokens: "`usage` (input)",
        events: &[
            br#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "OpenAI and compatible servers",
        path: "/v1/moderations",
        framing: ExampleFraming::Document,
        events: &[
            br#"{"model":"omni-moderation-latest","results":[{"flagged":false}]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        case: "rerank (also Jina, Voyage)",
        path: "/v1/rerank",
        framing: ExampleFraming::Document,
        tokens: "`usage.total_tokens` (input)",
        events: &[
            br#"{"id":"rerank-1","model":"e","usage":{"total_tokens":56},"results":[{"index":0,"relevance_score":0.9}]}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/v1/score",
        framing: ExampleFraming::Document,
        tokens: "`usage` (input)",
        events: &[
            br#"{"data":[{"score":1}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/v1/classify",
        framing: ExampleFraming::Document,
        tokens: "`usage` (input)",
        events: &[
            br#"{"data":[{"index":0,"label":"Default","probs":[0.5]}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "vLLM",
        path: "/pooling",
        framing: ExampleFraming::Document,
        tokens: "`usage` (input)",
        events: &[
            br#"{"data":[{"index":0,"data":[0.1]}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..DEFAULTS
    },
];
