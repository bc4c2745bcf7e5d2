//! APIs of single servers and vendors that became common in 2025 and 2026.

use super::example::{DEFAULTS, ExampleFraming, FormatExample};

pub const EXAMPLES: &[FormatExample] = &[FormatExample {
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
}];
