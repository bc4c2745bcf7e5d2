//! Events of Cohere (docs.cohere.com, "Streaming" and the references of chat and embed in both versions) and of other
//! servers.

use super::super::test_support::{assert_events, describe_events};
use super::*;
use crate::dialect::ResponseReader;

#[test]
fn streams_of_version_2_are_parsed() {
    assert_events(
        &V2,
        &[
            (
                r#"{"id":"1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
                "",
            ),
            (
                r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#,
                "",
            ),
            (
                r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"Hm"}}}}"#,
                "reasoning 2",
            ),
            (
                r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"Yes"}}}}"#,
                "answer 3",
            ),
            (
                r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":3,"text":"Yes","sources":[{"type":"document","id":"1","document":{"text":"Yes"}}]}}}}"#,
                "",
            ),
            (
                r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}"#,
                "reasoning 6",
            ),
            (
                r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"f1","type":"function","function":{"name":"f","arguments":""}}}}}"#,
                "output",
            ),
            (
                r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"a\""}}}}}"#,
                "tool 4",
            ),
            (r#"{"type":"tool-call-end","index":0}"#, ""),
            (
                r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":65,"output_tokens":63},"tokens":{"input_tokens":508,"output_tokens":86,"reasoning_tokens":28},"cached_tokens":144}}}"#,
                "ends as COMPLETE, input 508, cached 144, output 86, reasoned 28, engine input 65, engine output 63",
            ),
            ("[DONE]", "done"),
        ],
    );
    let failed = r#"{"type":"message-end","delta":{"error":"internal","finish_reason":"ERROR"}}"#;
    assert_events(&V2, &[(failed, "ends as ERROR, error")]);
}

#[test]
fn responses_without_streaming_are_parsed() {
    let answer = r#"{"id":"1","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"Plan",
        "content":[{"type":"thinking","thinking":"Hm"},{"type":"text","text":"Yes"}],
        "tool_calls":[{"id":"f1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}],
        "citations":[{"start":0,"end":3,"text":"Yes"}]},"usage":{"tokens":{"input_tokens":5.0,"output_tokens":7}}}"#;
    let expected = "answer 3, reasoning 6, tool 7, ends as TOOL_CALL, input 5, output 7";
    assert_events(&V2, &[(answer, expected)]);
    let answer = r#"{"response_id":"r","text":"Arrr","generation_id":"g","finish_reason":"COMPLETE",
        "chat_history":[{"role":"USER","message":"Hi"},{"role":"CHATBOT","message":"Arrr"}],
        "tool_calls":[{"name":"f","parameters":{"day": "2023-09-29"}}],
        "meta":{"api_version":{"version":"1"},"billed_units":{"input_tokens":7,"output_tokens":9}}}"#;
    let expected = "answer 4, tool 20, ends as COMPLETE, engine input 7, engine output 9";
    assert_events(&V1, &[(answer, expected)]);
    // Embeddings have billed units only.
    let embeddings = r#"{"id":"1","embeddings":{"float":[[0.1,-0.2]]},"texts":["hello"],
        "meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":2}}}"#;
    for dialect in [&V1, &V2] {
        assert_events(dialect, &[(embeddings, "engine input 2")]);
    }
}

const END: &str = r#"{"is_finished":true,"event_type":"stream-end","response":{"response_id":"r","text":"Arrr","generation_id":"g","chat_history":[{"role":"CHATBOT","message":"Arrr"}],"finish_reason":"COMPLETE","meta":{"billed_units":{"input_tokens":7,"output_tokens":149},"tokens":{"input_tokens":69,"output_tokens":150}}},"finish_reason":"COMPLETE"}"#;
const ENDS: &str =
    "ends as COMPLETE, input 69, output 150, engine input 7, engine output 149, done";

#[test]
fn streams_of_version_1_are_parsed() {
    assert_events(
        &V1,
        &[
            (r#"{"is_finished":false,"event_type":"stream-start","generation_id":"g"}"#, ""),
            (r#"{"is_finished":false,"event_type":"text-generation","text":"Ar"}"#, "answer 2"),
            (r#"{"is_finished":false,"event_type":"text-generation","text":"rr"}"#, "answer 2"),
            (
                r#"{"is_finished":false,"event_type":"citation-generation","citations":[{"start":0,"end":2,"text":"Ar"}]}"#,
                "",
            ),
            // Repeats the text.
            (END, ENDS),
        ],
    );
    // The text comes for the first time.
    assert_events(&V1, &[(END, &format!("answer 4, {ENDS}"))]);
    let failed = r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"ERROR"}"#;
    assert_events(&V1, &[(failed, "ends as ERROR, error, done")]);
}

/// Sources: the AI SDK's tests (`cohere-chat-language-model.test.ts`), and
/// `ToolCallDelta` in Cohere's Python SDK.
#[test]
fn tool_calls_of_version_1_are_counted_once() {
    let whole = r#"{"event_type":"tool-calls-generation","text":"I will","tool_calls":[{"name":"f","parameters":{"a":1}}]}"#;
    assert_events(
        &V1,
        &[
            (r#"{"event_type":"tool-calls-chunk","text":"I"}"#, "reasoning 1"),
            (
                r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"text":" will"}}"#,
                "reasoning 5",
            ),
            (
                r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"index":0,"name":"f"}}"#,
                "output",
            ),
            (
                r#"{"event_type":"tool-calls-chunk","tool_call_delta":{"index":0,"parameters":"{\n  \""}}"#,
                "tool 5",
            ),
            (whole, ""),
        ],
    );
    assert_eq!(describe_events(&V1, &[whole]), ["answer 6, tool 7"]);
}

/// Writer serves OpenAI's format on this path.
#[test]
fn the_dialect_is_detected_from_the_response() {
    let mut reader = ResponseReader::new(&V1);
    assert_eq!(reader.dialect_name(), Some("cohere-v1"));
    reader.push(br#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}],"model":"palmyra-x4"}"#);
    let facts = reader.finish_event(b"");
    assert_eq!(facts.choices[0].answer_chars, 2);
    assert_eq!(facts.model.as_deref(), Some("palmyra-x4"));
    assert_eq!(reader.dialect_name(), Some("openai-chat"));
}

#[test]
fn text_generation_repeats_its_text_at_the_end() {
    let last = r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"generations":[{"id":"g","text":" One two"}],"meta":{"billed_units":{"input_tokens":5,"output_tokens":2}}}}"#;
    assert_events(
        &GENERATE,
        &[
            (r#"{"text":" One","is_finished":false,"event_type":"text-generation"}"#, "answer 4"),
            (r#"{"text":" two","is_finished":false,"event_type":"text-generation"}"#, "answer 4"),
            (last, "ends as COMPLETE, engine input 5, engine output 2, done"),
        ],
    );
    assert_events(
        &GENERATE,
        &[(last, "answer 8, ends as COMPLETE, engine input 5, engine output 2, done")],
    );
    assert_events(
        &GENERATE,
        &[
            (
                r#"{"generations":[{"text":"a","finish_reason":"COMPLETE"},{"text":"bc","finish_reason":"MAX_TOKENS"}]}"#,
                "answer 1, ends as COMPLETE, of choice 1, answer 2, ends as MAX_TOKENS",
            ),
            (
                r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"ERROR_TOXIC"}"#,
                "ends as ERROR_TOXIC, done",
            ),
            (r#"{"is_finished":true,"event_type":"stream-error","err":"no"}"#, "error"),
        ],
    );
}
