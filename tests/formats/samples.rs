/// A response in the shape of one server's endpoint.
pub struct Sample {
    pub server: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub content_type: &'static str,
    /// How it is framed, in words.
    pub framing: &'static str,
    /// Where its token counts stand; empty if it has none.
    pub tokens: &'static str,
    /// Where its time in the queue stands.
    pub queue: &'static str,
    /// Where its time to load the model stands.
    pub load: &'static str,
    /// Where the server's own time to its first token stands.
    pub first: &'static str,
    /// The body, piece by piece as it arrives.
    pub body: &'static [&'static [u8]],
}

const NONE: Sample = Sample {
    server: "",
    method: "POST",
    path: "",
    content_type: SSE,
    framing: "SSE",
    tokens: "",
    queue: "",
    load: "",
    first: "",
    body: &[],
};

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const AWS: &str = "application/vnd.amazon.eventstream";
const GRPC: &str = "application/grpc";

pub const SAMPLES: &[Sample] = &[
    Sample {
        server: "vLLM",
        path: "/v1/chat/completions",
        tokens: "`usage`",
        queue: "`metrics.queue_time_ms` (`--enable-per-request-metrics`)",
        first: "queue + `metrics.time_to_first_token_ms`",
        body: &[
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null,\"token_ids\":null}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"},\"finish_reason\":\"stop\",\"stop_reason\":null}]}\n\n",
            b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3},\"metrics\":{\"queue_time_ms\":1.5,\"time_to_first_token_ms\":20.0,\"generation_time_ms\":30.0}}\n\n",
            b"data: [DONE]\n\n",
        ],
        ..NONE
    },
    Sample {
        server: "llama.cpp",
        path: "/v1/chat/completions",
        tokens: "`timings.predicted_n`, `prompt_n` + `cache_n`; `usage` if asked for",
        first: "`timings.prompt_ms`",
        body: &[
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"timings\":{\"cache_n\":2,\"prompt_n\":7,\"prompt_ms\":6.85,\"predicted_n\":8,\"predicted_ms\":55.6}}\n\n",
            b"data: [DONE]\n\n",
        ],
        ..NONE
    },
    Sample {
        server: "OpenAI, and all in its shape",
        path: "/v1/completions",
        body: &[
            b"data: {\"choices\":[{\"index\":0,\"text\":\"Hi\",\"finish_reason\":null}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"text\":\"!\",\"finish_reason\":\"stop\"}]}\n\n",
            b"data: [DONE]\n\n",
        ],
        ..NONE
    },
    Sample {
        server: "OpenAI, not streamed",
        path: "/v1/chat/completions",
        content_type: JSON,
        framing: "document",
        tokens: "`usage`",
        body: &[
            b"{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}",
        ],
        ..NONE
    },
];
