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
    Sample {
        server: "Amazon Bedrock",
        path: "/model/m/converse-stream",
        content_type: AWS,
        framing: "AWS event stream",
        tokens: "`usage`",
        body: &[
            b"\x00\x00\x00U\x00\x00\x001\xc4\x0f\x9f\xe8\x0b:event-type\x07\x00\x0cmessageStart\x0d:message-type\x07\x00\x05event{\"role\":\"assistant\"}9)\x1b\xc6",
            b"\x00\x00\x00s\x00\x00\x006\x14\xea\xd0\xef\x0b:event-type\x07\x00\x11contentBlockDelta\x0d:message-type\x07\x00\x05event{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hi\"}}Gqg\xc0",
            b"\x00\x00\x00Y\x00\x00\x000v\xf8B\x7f\x0b:event-type\x07\x00\x0bmessageStop\x0d:message-type\x07\x00\x05event{\"stopReason\":\"end_turn\"}F\xf7I\xbc",
            b"\x00\x00\x00\x95\x00\x00\x00-9\x1b+|\x0b:event-type\x07\x00\x08metadata\x0d:message-type\x07\x00\x05event{\"metrics\":{\"latencyMs\":40},\"usage\":{\"inputTokens\":9,\"outputTokens\":2,\"totalTokens\":11}}\xd7\x06\xc8\xa0",
        ],
        ..NONE
    },
    Sample {
        server: "Amazon Bedrock, not streamed",
        path: "/model/m/converse",
        content_type: JSON,
        framing: "document",
        tokens: "`usage`",
        body: &[
            b"{\"metrics\":{\"latencyMs\":40},\"output\":{\"message\":{\"content\":[{\"text\":\"Hi\"}],\"role\":\"assistant\"}},\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":9,\"outputTokens\":2,\"totalTokens\":11}}",
        ],
        ..NONE
    },
    Sample {
        server: "Amazon Bedrock: Claude, Nova, Titan, Llama and all that count",
        path: "/model/m/invoke-with-response-stream",
        content_type: AWS,
        framing: "AWS event stream, base64",
        tokens: "the model's own, as `usage`",
        first: "`amazon-bedrock-invocationMetrics.firstByteLatency`",
        body: &[
            b"\x00\x00\x00\xc6\x00\x00\x00*\xd8\xcc\x0b\xc4\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdGFydCIsIm1lc3NhZ2UiOnsiY29udGVudCI6W10sInVzYWdlIjp7ImlucHV0X3Rva2VucyI6OSwib3V0cHV0X3Rva2VucyI6MX19fQ==\"}\xb3\xbaYy",
            b"\x00\x00\x00\xb6\x00\x00\x00*!\x1e\xeb\x0b\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoiY29udGVudF9ibG9ja19kZWx0YSIsImluZGV4IjowLCJkZWx0YSI6eyJ0eXBlIjoidGV4dF9kZWx0YSIsInRleHQiOiJIaSJ9fQ==\"}a7\xaf;",
            b"\x00\x00\x00\xba\x00\x00\x00*\xe4\xee\x06\x0a\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9kZWx0YSIsImRlbHRhIjp7InN0b3BfcmVhc29uIjoiZW5kX3R1cm4ifSwidXNhZ2UiOnsib3V0cHV0X3Rva2VucyI6Mn19\"}0\xd2\xa3z",
            b"\x00\x00\x01\x0a\x00\x00\x00*?u\xdd\xbb\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdG9wIiwiYW1hem9uLWJlZHJvY2staW52b2NhdGlvbk1ldHJpY3MiOnsiaW5wdXRUb2tlbkNvdW50Ijo5LCJvdXRwdXRUb2tlbkNvdW50IjoyLCJpbnZvY2F0aW9uTGF0ZW5jeSI6NDAsImZpcnN0Qnl0ZUxhdGVuY3kiOjMwfX0=\"}Kfik",
        ],
        ..NONE
    },
    Sample {
        server: "Amazon Bedrock: Mistral, Cohere and all that don't",
        path: "/model/m/invoke-with-response-stream",
        content_type: AWS,
        framing: "AWS event stream, base64",
        tokens: "`amazon-bedrock-invocationMetrics`",
        first: "`amazon-bedrock-invocationMetrics.firstByteLatency`",
        body: &[
            b"\x00\x00\x00\x86\x00\x00\x00*\x80?S\x8d\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJvdXRwdXRzIjpbeyJ0ZXh0IjoiSGkiLCJzdG9wX3JlYXNvbiI6bnVsbH1dfQ==\"}$\x1c)\xf8",
            b"\x00\x00\x01*\x00\x00\x00*\xfe\xb4\xf2\xbf\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJvdXRwdXRzIjpbeyJ0ZXh0IjoiIiwic3RvcF9yZWFzb24iOiJzdG9wIn1dLCJhbWF6b24tYmVkcm9jay1pbnZvY2F0aW9uTWV0cmljcyI6eyJpbnB1dFRva2VuQ291bnQiOjksIm91dHB1dFRva2VuQ291bnQiOjIsImludm9jYXRpb25MYXRlbmN5Ijo0MCwiZmlyc3RCeXRlTGF0ZW5jeSI6MzB9fQ==\"}\xbe62\x03",
        ],
        ..NONE
    },
    Sample {
        server: "Amazon Bedrock, not streamed",
        path: "/model/m/invoke",
        content_type: JSON,
        framing: "document",
        tokens: "the model's own, as `generation_token_count`",
        body: &[
            b"{\"generation\":\"Hi\",\"prompt_token_count\":9,\"generation_token_count\":2,\"stop_reason\":\"stop\"}",
        ],
        ..NONE
    },
    Sample {
        server: "Amazon Bedrock's agents",
        path: "/agents/a/agentAliases/b/sessions/c/text",
        content_type: AWS,
        framing: "AWS event stream, base64",
        body: &[
            b"\x00\x00\x00T\x00\x00\x00*s\x0a\x7f\xb4\x0b:event-type\x07\x00\x05trace\x0d:message-type\x07\x00\x05event{\"agentId\":\"a\",\"trace\":{}}\xc4\x90\xef_",
            b"\x00\x00\x00J\x00\x00\x00*\xac\xdaVW\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"SGk=\"}l\xec\xb5$",
        ],
        ..NONE
    },
];
