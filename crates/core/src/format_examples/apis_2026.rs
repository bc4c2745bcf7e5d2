//! APIs of single servers and vendors that became common in 2025 and 2026.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[
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
