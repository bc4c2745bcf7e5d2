//! The APIs of Anthropic, Google, Cohere and Replicate.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "Anthropic and compatible servers",
        path: "/v1/messages",
        tokens: "`usage`",
        events: &[
            br#"{"type":"message_start","message":{"model":"claude","content":[],"usage":{"input_tokens":9,"output_tokens":1}}}"#,
            br#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            br#"{"type":"ping"}"#,
            br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            br#"{"type":"content_block_stop","index":0}"#,
            br#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#,
            br#"{"type":"message_stop"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Anthropic and compatible servers",
        path: "/v1/messages",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":2}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Anthropic and compatible servers",
        path: "/v1/complete",
        events: &[
            br#"{"type":"completion","completion":" Light","stop_reason":null,"model":"claude-2.1"}"#,
            br#"{"type":"completion","completion":"","stop_reason":"stop_sequence","model":"claude-2.1"}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        case: "with `alt=sse`",
        path: "/v1beta/models/m:streamGenerateContent",
        tokens: "`candidatesTokenCount` + `thoughtsTokenCount`",
        events: &[
            br#"{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}"#,
            br#"{"candidates":[{"content":{"parts":[{"text":"!"}],"role":"model"},"index":0,"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        case: "Code Assist",
        path: "/v1internal:streamGenerateContent",
        tokens: "`candidatesTokenCount` + `thoughtsTokenCount`",
        events: &[
            br#"{"response":{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"}}]},"traceId":"t"}"#,
            br#"{"response":{"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        path: "/v1beta/models/m:streamGenerateContent",
        framing: ExampleFraming::JsonArray,
        tokens: "`candidatesTokenCount` + `thoughtsTokenCount`",
        events: &[
            br#"[{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}"#,
            br#", {"candidates":[{"content":{"parts":[{"text":"!"}],"role":"model"},"index":0,"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}"#,
            b"]",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        path: "/v1beta/models/m:generateContent",
        framing: ExampleFraming::Document,
        tokens: "`candidatesTokenCount` + `thoughtsTokenCount`",
        events: &[
            br#"{"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0,"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":14}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        path: "/v1beta/models/m:embedContent",
        framing: ExampleFraming::Document,
        tokens: "`usageMetadata.promptTokenCount` (input)",
        events: &[
            br#"{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":3}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        path: "/v1beta/interactions",
        tokens: "`total_output_tokens` + `total_thought_tokens`",
        events: &[
            br#"{"event_type":"interaction.created","interaction":{"object":"interaction","status":"in_progress"}}"#,
            br#"{"event_type":"step.delta","index":0,"delta":{"type":"text","text":"Hi"}}"#,
            br#"{"event_type":"interaction.completed","interaction":{"status":"completed","usage":{"total_input_tokens":9,"total_output_tokens":2,"total_thought_tokens":3}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Gemini",
        path: "/v1beta/interactions",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            br#"{"object":"interaction","status":"completed","steps":[{"type":"model_output","content":[{"type":"text","text":"Hi"}]}],"usage":{"total_input_tokens":9,"total_output_tokens":2,"total_thought_tokens":3}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v2/chat",
        tokens: "`delta.usage.tokens`",
        events: &[
            br#"{"type":"message-start","delta":{"message":{"role":"assistant","content":[]}}}"#,
            br#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hi"}}}}"#,
            br#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":9,"output_tokens":2}}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v2/chat",
        framing: ExampleFraming::Document,
        tokens: "`usage.tokens`",
        events: &[
            br#"{"finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}]},"usage":{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":9,"output_tokens":2}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v1/chat",
        framing: ExampleFraming::Lines,
        tokens: "`response.meta.tokens`",
        events: &[
            br#"{"event_type":"stream-start","is_finished":false}"#,
            br#"{"event_type":"text-generation","is_finished":false,"text":"Hi"}"#,
            br#"{"event_type":"stream-end","is_finished":true,"finish_reason":"COMPLETE","response":{"text":"Hi","finish_reason":"COMPLETE","meta":{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":9,"output_tokens":2}}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v1/chat",
        framing: ExampleFraming::Document,
        tokens: "`meta.tokens`, else `meta.billed_units`",
        events: &[
            br#"{"text":"Hi","finish_reason":"COMPLETE","meta":{"billed_units":{"input_tokens":7,"output_tokens":2}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Cohere",
        path: "/v2/embed",
        framing: ExampleFraming::Document,
        tokens: "`meta.billed_units` (input)",
        events: &[
            br#"{"embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":2}}}"#,
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Replicate",
        method: "GET",
        path: "/v1/streams/s",
        events: &[
            b"event: output\ndata: Hi",
            b"event: done\ndata: {}",
        ],
        ..DEFAULTS
    },
];
