//! The most common event of each dialect: a delta of text, or of other output.

/// How events are framed on the wire.
#[derive(Clone, Copy)]
pub enum EventFraming {
    Sse,
    /// One JSON document per line.
    Lines,
    /// Messages of Amazon's event stream, with this event type.
    Aws(&'static str),
    /// Messages of Amazon's event stream that contain the event in base64.
    AwsChunks,
    /// gRPC messages. The event is given in hexadecimal.
    Grpc,
    /// Text messages of a WebSocket.
    WebSocket,
}

/// Template of an event: `@` is a word, `%` all words so far, `#` the event number, `^` all numbers so far.
pub struct EventShape {
    pub dialect: &'static str,
    /// Variant of the dialect, if it has several.
    pub which: &'static str,
    pub framing: EventFraming,
    pub event: &'static str,
}

const NONE: EventShape =
    EventShape { dialect: "", which: "", framing: EventFraming::Sse, event: "" };

pub const EVENT_SHAPES: &[EventShape] = &[
    EventShape {
        dialect: "openai-chat",
        event: r#"{"id":"chatcmpl-bcfbe349402eb3d2","object":"chat.completion.chunk","created":1786479604,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[{"index":0,"delta":{"content":"@"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        ..NONE
    },
    EventShape {
        dialect: "openai-completions",
        event: r#"{"id":"cmpl-bcfbe349402eb3d2","object":"text_completion","created":1786479604,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[{"index":0,"text":"@","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}"#,
        ..NONE
    },
    EventShape {
        dialect: "openai-responses",
        event: r#"{"type":"response.output_text.delta","content_index":0,"delta":"@","item_id":"msg_0b6c3d1f2e4a59","logprobs":[],"obfuscation":"x1y2z3w4","output_index":1,"sequence_number":#}"#,
        ..NONE
    },
    EventShape {
        dialect: "openai-transcription",
        event: r#"{"type":"transcript.text.delta","delta":"@","obfuscation":"x1y2z3w4"}"#,
        ..NONE
    },
    EventShape {
        dialect: "openai-realtime",
        framing: EventFraming::WebSocket,
        event: r#"{"type":"response.output_text.delta","event_id":"event_#","response_id":"resp_001","item_id":"msg_007","output_index":0,"content_index":0,"delta":"@"}"#,
        ..NONE
    },
    EventShape {
        dialect: "anthropic-messages",
        event: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@"}}"#,
        ..NONE
    },
    EventShape {
        dialect: "gemini",
        event: r#"{"candidates":[{"content":{"parts":[{"text":"@"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":#,"totalTokenCount":#,"promptTokensDetails":[{"modality":"TEXT","tokenCount":9}]},"modelVersion":"gemini-2.5-flash","responseId":"mAb5aJ2"}"#,
        ..NONE
    },
    EventShape {
        dialect: "gemini-interactions",
        event: r#"{"event_type":"step.delta","index":1,"delta":{"type":"text","text":"@"}}"#,
        ..NONE
    },
    EventShape {
        dialect: "cohere-v2",
        event: r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"@"}}}}"#,
        ..NONE
    },
    EventShape {
        dialect: "cohere-v1",
        framing: EventFraming::Lines,
        event: r#"{"is_finished":false,"event_type":"text-generation","text":"@"}"#,
        ..NONE
    },
    EventShape {
        dialect: "bedrock-converse",
        framing: EventFraming::Aws("contentBlockDelta"),
        event: r#"{"contentBlockIndex":0,"delta":{"text":"@"},"p":"abcdefghijklmnop"}"#,
        ..NONE
    },
    EventShape {
        dialect: "bedrock-invoke",
        framing: EventFraming::AwsChunks,
        event: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@"}}"#,
        ..NONE
    },
    EventShape {
        dialect: "ollama-chat",
        framing: EventFraming::Lines,
        event: r#"{"model":"llama3.2","created_at":"2026-08-04T08:52:19.385406455Z","message":{"role":"assistant","content":"@"},"done":false}"#,
        ..NONE
    },
    EventShape {
        dialect: "ollama-generate",
        framing: EventFraming::Lines,
        event: r#"{"model":"llama3.2","created_at":"2026-08-04T08:52:19.385406455Z","response":"@","done":false}"#,
        ..NONE
    },
    EventShape {
        dialect: "llamacpp",
        event: r##"{"index":0,"content":"@","tokens":[1326],"stop":false,"id_slot":-1,"tokens_predicted":#,"tokens_evaluated":5}"##,
        ..NONE
    },
    EventShape {
        dialect: "tgi",
        event: r##"{"index":#,"token":{"id":330,"text":"@","logprob":-0.5053711,"special":false},"generated_text":null,"details":null}"##,
        ..NONE
    },
    EventShape {
        dialect: "sglang",
        which: "deltas",
        event: r##"{"text":"@","output_ids":[#],"meta_info":{"id":"5f2e","finish_reason":null,"prompt_tokens":5,"weight_version":"default","total_retractions":0,"completion_tokens":#,"cached_tokens":2}}"##,
        ..NONE
    },
    EventShape {
        dialect: "sglang",
        which: "cumulative",
        event: r##"{"text":"%","output_ids":[^],"meta_info":{"id":"5f2e","finish_reason":null,"prompt_tokens":5,"weight_version":"default","total_retractions":0,"completion_tokens":#,"cached_tokens":2}}"##,
        ..NONE
    },
    EventShape {
        dialect: "vllm-generate",
        event: r##"{"request_id":"generate-tokens-1","choices":[{"index":0,"logprobs":null,"finish_reason":null,"token_ids":[#]}],"usage":null}"##,
        ..NONE
    },
    EventShape {
        dialect: "triton",
        event: r#"{"model_name":"ensemble","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_index":0,"sequence_start":false,"text_output":"@"}"#,
        ..NONE
    },
    EventShape {
        dialect: "vllm-grpc",
        framing: EventFraming::Grpc,
        // A chunk of one token id, with 9 tokens of the prompt and 3 of the completion.
        event: "0a080a02c80110091803",
        ..NONE
    },
];
