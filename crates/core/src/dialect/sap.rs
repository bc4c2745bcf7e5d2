//! Orchestration of SAP AI Core (the schemas of SAP's SDK, `@sap-ai-sdk/orchestration`).
//!
//! The result of the last module has OpenAI's format. It is in `final_result`, in version 1 of the API in
//! `orchestration_result`. The results of the modules before it (`intermediate_results`, `module_results`) hold the same
//! text, and are not read. An empty `finish_reason` means that the choice has not ended.
//!
//! Distinctive keys: `final_result` or `orchestration_result`.

use super::engine::Engine;
use super::error_fields::with_error_fields;
use super::openai_chat::{CHOICE, ERROR, USAGE};
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd, finish_plain};

/// Completion and embeddings.
pub static ORCHESTRATION: Dialect =
    Dialect::sse("sap-orchestration", &ROOT, finish_plain, StreamEnd::Event);

static RESULT: JsonShape = JsonShape::object(
    Tag::WrittenBy(Engine::SapAiCore),
    &[
        ("choices", &JsonShape::list(&CHOICE)),
        ("model", &JsonShape::text(Tag::Model)),
        ("usage", &USAGE),
    ],
);
static ROOT: JsonShape = JsonShape::path(with_error_fields![
    ("final_result", &RESULT),
    ("orchestration_result", &RESULT),
    // An error without a wrapper.
    ("code", &ERROR),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::test_support::assert_events;

    #[test]
    fn only_the_final_result_counts() {
        assert_events(
            &ORCHESTRATION,
            &[
                (
                    r#"{"request_id":"r","intermediate_results":{"templating":[{"role":"user","content":"Hi"}]},
                        "final_result":{"id":"","model":"","choices":[{"index":0,"delta":{"role":"","content":""},"finish_reason":""}]}}"#,
                    "",
                ),
                (
                    r#"{"request_id":"r","intermediate_results":{"llm":{"choices":[{"index":0,"delta":{"content":"Hello"}}]}},
                        "final_result":{"model":"gpt","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":""}]}}"#,
                    "answer 5, model gpt",
                ),
                (
                    r#"{"final_result":{"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}}"#,
                    "answer 1, ends as stop, input 9, output 2",
                ),
                ("[DONE]", "done"),
            ],
        );
    }

    #[test]
    fn version_1_documents_embeddings_and_errors() {
        assert_events(
            &ORCHESTRATION,
            &[
                (
                    r#"{"module_results":{"llm":{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}},
                        "orchestration_result":{"model":"gpt","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}}"#,
                    "answer 5, ends as stop, input 9, output 1, model gpt",
                ),
                (
                    r#"{"final_result":{"object":"list","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}}"#,
                    "input 3",
                ),
                (
                    r#"{"error":{"request_id":"r","code":400,"message":"no","location":"LLM Module"}}"#,
                    "error",
                ),
                (
                    r#"{"request_id":"r","code":500,"message":"no","location":"LLM Module"}"#,
                    "error",
                ),
            ],
        );
    }
}
