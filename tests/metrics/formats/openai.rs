//! OpenAI's own endpoints, and those of others that are not chat.

use super::samples::{FormatSample, NONE, SampleFraming};

pub const SAMPLES: &[FormatSample] = &[
    FormatSample {
        server: "OpenAI",
        path: "/v1/chat/completions",
        tokens: "`usage`, if asked for (`stream_options.include_usage`)",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"obfuscation":"x1"}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#,
            b"[DONE]",
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, and all in its shape: not asked for usage",
        path: "/v1/chat/completions",
        events: &[
            br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            b"[DONE]",
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, not streamed",
        path: "/v1/chat/completions",
        framing: SampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, and all in its shape",
        path: "/v1/completions",
        events: &[
            br#"{"choices":[{"index":0,"text":"Hi","finish_reason":null}]}"#,
            br#"{"choices":[{"index":0,"text":"!","finish_reason":"stop"}]}"#,
            b"[DONE]",
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        path: "/v1/responses",
        tokens: "`response.usage` of the last event",
        events: &[
            br#"{"type":"response.created","response":{"status":"in_progress","output":[],"usage":null,"error":null}}"#,
            br#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi","obfuscation":"x1"}"#,
            br#"{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Hi"}"#,
            br#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, not streamed",
        path: "/v1/responses",
        framing: SampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"object":"response","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI's assistants",
        path: "/v1/threads/t/runs",
        tokens: "`usage` of the run",
        events: &[
            b"event: thread.message.delta\ndata: {\"delta\":{\"content\":[{\"index\":0,\"type\":\"text\",\"text\":{\"value\":\"Hey\"}}]}}",
            b"event: thread.run.completed\ndata: {\"status\":\"completed\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}",
            b"event: done\ndata: [DONE]",
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        method: "GET",
        path: "/v1/realtime",
        framing: SampleFraming::WebSocket,
        tokens: "`response.usage` of each response",
        events: &[
            br#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime"}}"#,
            br#"{"type":"response.created","response":{"status":"in_progress"}}"#,
            br#"{"type":"response.output_text.delta","delta":"Hi"}"#,
            br#"{"type":"response.output_text.delta","delta":"!"}"#,
            br#"{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":11,"input_tokens":9,"output_tokens":2}}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM",
        method: "GET",
        path: "/v1/realtime",
        framing: SampleFraming::WebSocket,
        tokens: "`usage` of `transcription.done`",
        events: &[
            br#"{"type":"session.created"}"#,
            br#"{"type":"transcription.delta","delta":"Hi"}"#,
            br#"{"type":"transcription.done","text":"Hi","usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        path: "/v1/audio/transcriptions",
        tokens: "`usage` of `transcript.text.done`",
        events: &[
            br#"{"type":"transcript.text.delta","delta":"Hey"}"#,
            br#"{"type":"transcript.text.done","text":"Hey","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, not streamed",
        path: "/v1/audio/transcriptions",
        framing: SampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"text":"Hey","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM",
        path: "/v1/audio/transcriptions",
        tokens: "`usage`, if asked for",
        events: &[
            br#"{"object":"transcription.chunk","choices":[{"delta":{"content":"Hey"},"finish_reason":null}]}"#,
            br#"{"object":"transcription.chunk","choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#,
            br#"{"object":"transcription.chunk","choices":[],"usage":{"prompt_tokens":14,"completion_tokens":2,"total_tokens":16}}"#,
            b"[DONE]",
        ],
        ..NONE
    },
    FormatSample {
        server: "transformers serve",
        path: "/v1/audio/transcriptions",
        events: &[
            br#"{"text":"Hey"}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        path: "/v1/audio/speech",
        tokens: "`usage` of `speech.audio.done`",
        events: &[
            br#"{"type":"speech.audio.delta","audio":"AAAA"}"#,
            br#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        path: "/v1/images/generations",
        tokens: "`usage` of `image_generation.completed`",
        events: &[
            br#"{"type":"image_generation.partial_image","b64_json":"iVBO","partial_image_index":0}"#,
            br#"{"type":"image_generation.completed","b64_json":"iVBP","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, not streamed",
        path: "/v1/images/generations",
        framing: SampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"created":1,"data":[{"b64_json":"iVBO"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI, and all in its shape",
        path: "/v1/embeddings",
        framing: SampleFraming::Document,
        tokens: "`usage`: input only",
        events: &[
            br#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "OpenAI",
        path: "/v1/moderations",
        framing: SampleFraming::Document,
        events: &[
            br#"{"model":"omni-moderation-latest","results":[{"flagged":false}]}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM, Jina, Voyage",
        path: "/v1/rerank",
        framing: SampleFraming::Document,
        tokens: "`usage.total_tokens`: input only",
        events: &[
            br#"{"id":"rerank-1","model":"e","usage":{"total_tokens":56},"results":[{"index":0,"relevance_score":0.9}]}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM",
        path: "/v1/score",
        framing: SampleFraming::Document,
        tokens: "`usage`: input only",
        events: &[
            br#"{"data":[{"score":1}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM",
        path: "/v1/classify",
        framing: SampleFraming::Document,
        tokens: "`usage`: input only",
        events: &[
            br#"{"data":[{"index":0,"label":"Default","probs":[0.5]}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..NONE
    },
    FormatSample {
        server: "vLLM",
        path: "/pooling",
        framing: SampleFraming::Document,
        tokens: "`usage`: input only",
        events: &[
            br#"{"data":[{"index":0,"data":[0.1]}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0}}"#,
        ],
        ..NONE
    },
];
