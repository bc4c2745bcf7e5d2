use super::*;

/// Name of the recognised dialect.
fn found(data: &str, name: &str) -> Option<&'static str> {
    recognise(data.as_bytes(), name.as_bytes()).map(|(dialect, _)| dialect.name)
}

#[test]
fn events_are_recognised_by_their_shape() {
    let cases: &[(&str, &str, Option<&str>)] = &[
        (r#"{"choices":[{"delta":{}}]}"#, "", Some("openai-chat")),
        (r#"{"choices":[{"index":0,"message":{}}]}"#, "", Some("openai-chat")),
        (r#"{"choices":[],"object":"chat.completion.chunk"}"#, "", Some("openai-chat")),
        (r#"{"choices":[{"text":"a"}]}"#, "", Some("openai-completions")),
        (r#"{"type":"response.created","response":{}}"#, "", Some("openai-responses")),
        ("{}", "response.created", Some("openai-responses")),
        (r#"{"type":"message_start","message":{}}"#, "", Some("anthropic-messages")),
        (r#"{"type":"message","role":"assistant","content":[]}"#, "", Some("anthropic-messages")),
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
