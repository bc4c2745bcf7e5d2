use super::super::{Recognition, ResponseReader};
use super::*;

/// Name of the recognised dialect.
fn found(data: &str, name: &str) -> Option<&'static str> {
    recognise(data.as_bytes(), name.as_bytes()).map(|found| found.dialect.name)
}

#[test]
fn events_are_recognised_by_their_shape() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        (r#"{"choices":[{"delta":{}}]}"#, "", Some("openai-chat")),
        (r#"{"choices":[{"index":0,"message":{}}]}"#, "", Some("openai-chat")),
        (r#"{"choices":[],"object":"chat.completion.chunk"}"#, "", Some("openai-chat")),
        (r#"{"choices":[{"index":0,"text":"a"}]}"#, "", Some("openai-completions")),
        (r#"{"type":"response.created","response":{}}"#, "", Some("openai-responses")),
        ("{}", "response.created", Some("openai-responses")),
        (r#"{"type":"message_start","message":{}}"#, "", Some("anthropic-messages")),
        (
            r#"{"type":"message","role":"assistant","model":"m","content":[]}"#,
            "",
            Some("anthropic-messages"),
        ),
        (
            r#"{"type":"completion","completion":"a","stop_reason":null}"#,
            "",
            Some("anthropic-complete"),
        ),
        (r#"{"candidates":[{"content":{}}]}"#, "", Some("gemini")),
        (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, "", Some("gemini")),
        (r#"{"event_type":"interaction.created"}"#, "", Some("gemini-interactions")),
        (r#"{"type":"message-start","delta":{}}"#, "", Some("cohere-v2")),
        (r#"{"event_type":"text-generation","text":"a"}"#, "", Some("cohere-v1")),
        (
            r#"{"created_at":"t","message":{"role":"assistant"},"done":false}"#,
            "",
            Some("ollama-chat"),
        ),
        (r#"{"created_at":"t","response":"a","done":false}"#, "", Some("ollama-generate")),
        (r#"{"content":"a","stop":false,"tokens_predicted":1}"#, "", Some("llamacpp")),
        (r#"{"token":{"text":"a","special":false}}"#, "", Some("tgi")),
        (r#"{"meta_info":{"id":"a"},"text":"a"}"#, "", Some("sglang")),
        (r#"{"text_output":"a","model_name":"m"}"#, "", Some("triton")),
        (r#"{"delta":{"text":"a"}}"#, "contentBlockDelta", Some("bedrock-converse")),
        (r#"{"id":"t"}"#, "thread.created", Some("openai-assistants")),
        (r#"{"type":"transcript.text.delta"}"#, "", Some("openai-transcription")),
        (r#"{"type":"chat.start","model_instance_id":"m"}"#, "", Some("lmstudio")),
        (r#"{"output":{"choices":[]},"request_id":"r"}"#, "", Some("dashscope")),
        (r#"{"final_result":{"choices":[]}}"#, "", Some("sap-orchestration")),
        (r#"{"response":"a","p":"b"}"#, "", Some("cloudflare")),
        (
            r#"{"results":[{"generated_text":"a","stop_reason":"not_finished"}]}"#,
            "",
            Some("watsonx"),
        ),
        (r#"{"type":"message.output.delta","content":"a"}"#, "", Some("mistral-conversations")),
        // An incomplete event has the fields so far.
        (r#"{"choices":[{"delta":{"content":"a"#, "", Some("openai-chat")),
        // Nothing of any dialect.
        (r#"{"response":{"id":"r"},"p":"b"}"#, "", None),
        (r#"{"token":"a"}"#, "", None),
        (r#"{"choices":null,"object":null}"#, "", None),
        (r#"{"type":"chunk","text":"a"}"#, "", None),
        (r#"{"message":"hello"}"#, "message", None),
        (r#"{"type":"message","role":"user","content":"hi"}"#, "", None),
        (r#"{"question":"?","choices":[{"text":"Red"}]}"#, "", None),
        (r#"["choices"]"#, "", None),
        ("hello", "", None),
        ("", "", None),
    ];
    for (data, name, expected) in cases {
        assert_eq!(found(data, name), *expected, "{data} {name}");
    }
}

#[test]
fn no_event_type_belongs_to_two_dialects() {
    for (at, one) in SIGNATURES.iter().enumerate() {
        for other in SIGNATURES.iter().skip(at + 1) {
            let both = one.event_types.iter().find(|event_type| {
                other
                    .event_types
                    .iter()
                    .any(|start| start.starts_with(**event_type) || event_type.starts_with(start))
            });
            assert_eq!(both, None, "{} and {}", one.dialect.name, other.dialect.name);
        }
    }
}

/// Feeds events to a reader of this dialect. Returns it.
fn read(dialect: &'static Dialect, events: &[&str]) -> ResponseReader {
    let mut reader = ResponseReader::new(dialect);
    for event in events {
        // In two parts, as the network may deliver them.
        let (first, rest) = event.split_at(event.len() / 2);
        reader.push(first.as_bytes());
        reader.push(rest.as_bytes());
        reader.finish_event(b"");
        reader.clear_event();
    }
    reader
}

const CHUNK: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
const FOREIGN: &str = r#"{"word":"Hi"}"#;
const STEP: &str = r#"{"type":"step.started","n":1}"#;
const ITEM: &str = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;

#[test]
fn the_first_events_confirm_or_replace_the_dialect_of_the_path() {
    let cases: [(&'static Dialect, &[&str], Recognition, Option<&str>); 12] = [
        (&openai_chat::CHAT, &[CHUNK], Recognition::Recognised, Some("openai-chat")),
        (&openai_chat::CHAT, &[FOREIGN, CHUNK], Recognition::Recognised, Some("openai-chat")),
        (&cohere::V2, &[CHUNK], Recognition::Recognised, Some("openai-chat")),
        (&UNKNOWN, &[FOREIGN, CHUNK], Recognition::Recognised, Some("openai-chat")),
        (&openai_chat::CHAT, &[FOREIGN; 3], Recognition::Pending(3), Some("openai-chat")),
        (&openai_chat::CHAT, &[FOREIGN; 32], Recognition::Unrecognised, None),
        // An end marker and an error are alike in many dialects.
        (&openai_chat::CHAT, &["[DONE]"], Recognition::Recognised, Some("openai-chat")),
        (&openai_chat::CHAT, &[FOREIGN, "[DONE]"], Recognition::Pending(2), Some("openai-chat")),
        (&UNKNOWN, &[r#"{"error":"x"}"#], Recognition::Pending(1), None),
        // The type of an event alone does not replace the dialect.
        (&openai_chat::CHAT, &[STEP, CHUNK], Recognition::Recognised, Some("openai-chat")),
        (&UNKNOWN, &[r#"{"event":"thread.created","id":7}"#], Recognition::Pending(1), None),
        (&cohere::V2, &[STEP, ITEM], Recognition::Recognised, Some("openai-responses")),
    ];
    for (dialect, events, recognition, name) in cases {
        let reader = read(dialect, events);
        assert_eq!(reader.recognition(), recognition, "{} {events:?}", dialect.name);
        assert_eq!(reader.dialect_name(), name, "{} {events:?}", dialect.name);
    }
}

#[test]
fn an_api_of_the_configuration_is_not_replaced() {
    let mine = cohere::V2.leak_renamed("mine");
    let mut reader = read(mine, &[CHUNK; 2]);
    assert_eq!(reader.dialect_name(), Some("mine"));
    assert_eq!(reader.end_recognition(true), Recognition::Unrecognised);
}

#[test]
fn the_end_of_the_body_ends_the_search() {
    let is_recognised = |dialect, is_stream| {
        read(dialect, &[FOREIGN]).end_recognition(is_stream) == Recognition::Recognised
    };
    assert!(!is_recognised(&openai_chat::CHAT, true));
    assert!(!is_recognised(&openai_chat::CHAT, false));
    // Documents without generated text can have nothing to recognise.
    assert!(is_recognised(&super::super::openai_pooling::POOLING, false));
    assert!(!is_recognised(&UNKNOWN, false));
}
