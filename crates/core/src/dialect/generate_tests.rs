//! Responses of each server on the routes that several servers share.

use super::*;
use crate::dialect::ResponseReader;

#[test]
fn the_fields_of_an_event_decide_the_dialect() {
    let cases: [(&'static Dialect, &str, &str, u64); 14] = [
        (
            &GENERATE,
            r#"{"index":1,"token":{"id":1,"text":"ab","special":false},"generated_text":null,"details":null}"#,
            "tgi",
            2,
        ),
        (&GENERATE, r#"{"generated_text":"abc"}"#, "tgi", 3),
        (&GENERATE, r#"[{"generated_text":"abc"}]"#, "tgi", 3),
        (
            &GENERATE,
            r#"{"text":"ab","output_ids":[1],"meta_info":{"finish_reason":null,"completion_tokens":1}}"#,
            "sglang",
            2,
        ),
        (
            &GENERATE,
            r#"[{"text":"ab","meta_info":{"completion_tokens":1}},{"text":"c","meta_info":{"completion_tokens":1}}]"#,
            "sglang",
            3,
        ),
        (&GENERATE, r#"{"text":["prompt and token"]}"#, "vllm-generate", 0),
        (&GENERATE, r#"{"error":"no"}"#, "generate", 0),
        (
            &GENERATE,
            r#"{"text":" ab","is_finished":false,"event_type":"text-generation"}"#,
            "cohere-generate",
            3,
        ),
        (&GENERATE, r#"{"index":1,"text":" ab","is_finished":false}"#, "cohere-generate", 3),
        (
            &GENERATE,
            r#"{"id":"g","generations":[{"id":"a","text":"ab","finish_reason":"COMPLETE"}],"meta":{"billed_units":{"input_tokens":5,"output_tokens":1}}}"#,
            "cohere-generate",
            2,
        ),
        (
            &INVOCATIONS,
            r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"ab"}}]}"#,
            "openai-chat",
            2,
        ),
        (
            &INVOCATIONS,
            r#"{"choices":[{"index":0,"text":"ab"}],"object":"text_completion"}"#,
            "openai-completions",
            2,
        ),
        (&INVOCATIONS, r#"[{"generated_text":"abc"}]"#, "tgi", 3),
        // SageMaker's LMI, as lines.
        (&INVOCATIONS, r#"{"token":{"id":5,"text":"ab","log_prob":-0.2}}"#, "tgi", 2),
    ];
    for (dialect, event, name, chars) in cases {
        let mut reader = ResponseReader::new(dialect);
        event.as_bytes().chunks(4).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        let found: u64 = facts.choices.iter().map(|choice| choice.answer_chars).sum();
        assert_eq!(found, chars, "{event}");
        reader.clear_event();
        assert_eq!(reader.dialect_name(), Some(name), "{event}");
    }
}
