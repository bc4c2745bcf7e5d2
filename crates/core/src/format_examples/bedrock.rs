//! Amazon Bedrock.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
    FormatExample {
        section: "Amazon Bedrock",
        case: "Converse",
        path: "/model/m/converse-stream",
        framing: ExampleFraming::Aws,
        tokens: "`usage`",
        events: &[
            b"\x00\x00\x00U\x00\x00\x001\xc4\x0f\x9f\xe8\x0b:event-type\x07\x00\x0cmessageStart\x0d:message-type\x07\x00\x05event{\"role\":\"assistant\"}9)\x1b\xc6",
            b"\x00\x00\x00s\x00\x00\x006\x14\xea\xd0\xef\x0b:event-type\x07\x00\x11contentBlockDelta\x0d:message-type\x07\x00\x05event{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hi\"}}Gqg\xc0",
            b"\x00\x00\x00Y\x00\x00\x000v\xf8B\x7f\x0b:event-type\x07\x00\x0bmessageStop\x0d:message-type\x07\x00\x05event{\"stopReason\":\"end_turn\"}F\xf7I\xbc",
            b"\x00\x00\x00\x95\x00\x00\x00-9\x1b+|\x0b:event-type\x07\x00\x08metadata\x0d:message-type\x07\x00\x05event{\"metrics\":{\"latencyMs\":40},\"usage\":{\"inputTokens\":9,\"outputTokens\":2,\"totalTokens\":11}}\xd7\x06\xc8\xa0",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "Converse",
        path: "/model/m/converse",
        framing: ExampleFraming::Document,
        tokens: "`usage`",
        events: &[
            b"{\"metrics\":{\"latencyMs\":40},\"output\":{\"message\":{\"content\":[{\"text\":\"Hi\"}],\"role\":\"assistant\"}},\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":9,\"outputTokens\":2,\"totalTokens\":11}}",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "Claude, Nova, Titan, Llama",
        path: "/model/m/invoke-with-response-stream",
        framing: ExampleFraming::AwsBase64,
        tokens: "`usage` and the like",
        first_token: "`amazon-bedrock-invocationMetrics.firstByteLatency`",
        events: &[
            b"\x00\x00\x00\xc6\x00\x00\x00*\xd8\xcc\x0b\xc4\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdGFydCIsIm1lc3NhZ2UiOnsiY29udGVudCI6W10sInVzYWdlIjp7ImlucHV0X3Rva2VucyI6OSwib3V0cHV0X3Rva2VucyI6MX19fQ==\"}\xb3\xbaYy",
            b"\x00\x00\x00\xb6\x00\x00\x00*!\x1e\xeb\x0b\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoiY29udGVudF9ibG9ja19kZWx0YSIsImluZGV4IjowLCJkZWx0YSI6eyJ0eXBlIjoidGV4dF9kZWx0YSIsInRleHQiOiJIaSJ9fQ==\"}a7\xaf;",
            b"\x00\x00\x00\xba\x00\x00\x00*\xe4\xee\x06\x0a\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9kZWx0YSIsImRlbHRhIjp7InN0b3BfcmVhc29uIjoiZW5kX3R1cm4ifSwidXNhZ2UiOnsib3V0cHV0X3Rva2VucyI6Mn19\"}0\xd2\xa3z",
            b"\x00\x00\x01\x0a\x00\x00\x00*?u\xdd\xbb\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdG9wIiwiYW1hem9uLWJlZHJvY2staW52b2NhdGlvbk1ldHJpY3MiOnsiaW5wdXRUb2tlbkNvdW50Ijo5LCJvdXRwdXRUb2tlbkNvdW50IjoyLCJpbnZvY2F0aW9uTGF0ZW5jeSI6NDAsImZpcnN0Qnl0ZUxhdGVuY3kiOjMwfX0=\"}Kfik",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "Mistral, Cohere",
        path: "/model/m/invoke-with-response-stream",
        framing: ExampleFraming::AwsBase64,
        tokens: "`amazon-bedrock-invocationMetrics`",
        first_token: "`amazon-bedrock-invocationMetrics.firstByteLatency`",
        events: &[
            b"\x00\x00\x00\x86\x00\x00\x00*\x80?S\x8d\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJvdXRwdXRzIjpbeyJ0ZXh0IjoiSGkiLCJzdG9wX3JlYXNvbiI6bnVsbH1dfQ==\"}$\x1c)\xf8",
            b"\x00\x00\x01*\x00\x00\x00*\xfe\xb4\xf2\xbf\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"eyJvdXRwdXRzIjpbeyJ0ZXh0IjoiIiwic3RvcF9yZWFzb24iOiJzdG9wIn1dLCJhbWF6b24tYmVkcm9jay1pbnZvY2F0aW9uTWV0cmljcyI6eyJpbnB1dFRva2VuQ291bnQiOjksIm91dHB1dFRva2VuQ291bnQiOjIsImludm9jYXRpb25MYXRlbmN5Ijo0MCwiZmlyc3RCeXRlTGF0ZW5jeSI6MzB9fQ==\"}\xbe62\x03",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "Claude, Nova, Titan, Llama",
        path: "/model/m/invoke",
        framing: ExampleFraming::Document,
        tokens: "`generation_token_count` and the like",
        events: &[
            b"{\"generation\":\"Hi\",\"prompt_token_count\":9,\"generation_token_count\":2,\"stop_reason\":\"stop\"}",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "agents",
        path: "/agents/a/agentAliases/b/sessions/c/text",
        framing: ExampleFraming::AwsBase64,
        events: &[
            b"\x00\x00\x00T\x00\x00\x00*s\x0a\x7f\xb4\x0b:event-type\x07\x00\x05trace\x0d:message-type\x07\x00\x05event{\"agentId\":\"a\",\"trace\":{}}\xc4\x90\xef_",
            b"\x00\x00\x00J\x00\x00\x00*\xac\xdaVW\x0b:event-type\x07\x00\x05chunk\x0d:message-type\x07\x00\x05event{\"bytes\":\"SGk=\"}l\xec\xb5$",
        ],
        ..DEFAULTS
    },
    FormatExample {
        section: "Amazon Bedrock",
        case: "Mistral, Cohere",
        path: "/model/m/invoke",
        framing: ExampleFraming::Document,
        tokens: "headers `x-amzn-bedrock-{input,output}-token-count`",
        headers: &[
            ("x-amzn-bedrock-input-token-count", "9"),
            ("x-amzn-bedrock-output-token-count", "2"),
            ("x-amzn-bedrock-invocation-latency", "40"),
        ],
        events: &[br#"{"outputs":[{"text":"Hi","stop_reason":"stop"}]}"#],
        ..DEFAULTS
    },
];
