//! Errors in bodies with status 200, as documents or events of a stream.

use super::super::{
    Dialect, ResponseReader, anthropic, cohere, dashscope, gemini, gemini_interactions, llamacpp,
    openai_assistants, openai_chat, openai_media, openai_responses, realtime,
};

fn has_error(dialect: &'static Dialect, name: &str, data: &str) -> bool {
    let mut reader = ResponseReader::new(dialect);
    data.as_bytes().chunks(7).for_each(|part| reader.push(part));
    let facts = reader.finish_event(name.as_bytes());
    assert_eq!(facts.unparsed, None, "{data}");
    facts.error
}

#[test]
fn errors_are_found_in_every_place() {
    let chat = &openai_chat::CHAT;
    let cases: [(&Dialect, &str); 33] = [
        (chat, r#"{"error":{"message":"boom"}}"#),
        (chat, r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]"#),
        (chat, r#"{"choices":[{"delta":{"content":""},"error":{"code":502,"message":"lost"}}]}"#),
        (chat, r#"{"choices":null,"error_type":"BadRequest","error_message":"too long"}"#),
        (chat, r#"{"error_code":336003,"error_msg":"invalid"}"#),
        (chat, r#"{"choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#),
        (
            chat,
            r#"{"object":"error","message":"no such model","type":"NotFoundError","param":null,"code":404}"#,
        ),
        (chat, r#"{"message":"no such model","object":"error"}"#),
        (chat, r#"{"object":"error","message":"busy","code":50001}"#),
        (chat, r#"{"code":"InvalidParameter","message":"bad","request_id":"r"}"#),
        (chat, r#"{"code":"1302","msg":"too many"}"#),
        (chat, r#"{"detail":"Not authenticated"}"#),
        (chat, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#),
        (chat, r#"{"success":false,"errors":[],"result":null}"#),
        (chat, r#"{"errors":[{"code":7003,"message":"no route"}]}"#),
        (&llamacpp::OPENAI_OR_LLAMACPP, r#"{"object":"error","message":"bad","code":400}"#),
        (&anthropic::MESSAGES, r#"{"type":"error","error":{"type":"overloaded_error"}}"#),
        (&anthropic::MESSAGES, r#"{"message":"Internal error","code":500}"#),
        (&anthropic::COMPLETE, r#"{"detail":"boom"}"#),
        (&openai_responses::RESPONSES, r#"{"object":"response","status":"failed","error":null}"#),
        (
            &openai_responses::RESPONSES,
            r#"{"type":"response.completed","response":{"status":"failed"}}"#,
        ),
        (
            &openai_responses::RESPONSES,
            r#"{"type":"response.created","response":{"error":{"code":"x"}}}"#,
        ),
        (&openai_responses::RESPONSES, r#"{"type":"response.error","message":"boom"}"#),
        (&cohere::V2, r#"{"id":"1","message":"internal server error"}"#),
        (&cohere::V1, r#"{"message":"too many tokens"}"#),
        (&gemini::WHOLE, r#"{"error":{"code":500,"status":"INTERNAL"}}"#),
        (&gemini::STREAM, r#"{"response":{"error":{"code":500}}}"#),
        (&gemini::WHOLE, r#"[{"error":{"code":400}}]"#),
        (&gemini_interactions::INTERACTIONS, r#"{"object":"interaction","status":"failed"}"#),
        (&openai_media::SPEECH, r#"{"type":"speech.audio.error","message":"boom"}"#),
        (&openai_media::TRANSCRIPTION, r#"{"type":"transcript.text.error"}"#),
        (
            &openai_assistants::RUNS,
            r#"{"object":"thread.run","status":"failed","last_error":{"code":"x"}}"#,
        ),
        (&realtime::REALTIME, r#"{"type":"response.done","response":{"status":"failed"}}"#),
    ];
    for (dialect, data) in cases {
        assert!(has_error(dialect, "", data), "{data}");
    }
}

#[test]
fn other_fields_are_no_errors() {
    let chat = &openai_chat::CHAT;
    let cases: [(&Dialect, &str); 24] = [
        (chat, r#"{"error":{},"choices":[]}"#),
        (chat, r#"{"error":[ ],"choices":[]}"#),
        (chat, r#"{"error_code":0,"error_msg":"success","choices":[]}"#),
        (chat, r#"{"error_code":"0","choices":[]}"#),
        (chat, r#"{"code":202,"message":"queued"}"#),
        (chat, r#"{"code":"SUCCESS","message":"ok"}"#),
        (chat, r#"{"code":20000,"message":"Ok"}"#),
        (&dashscope::DASHSCOPE, r#"{"code":"Success","output":{}}"#),
        (chat, r#"{"error":null,"choices":[]}"#),
        (chat, r#"{"error":0,"error_msg":"","errors":[],"success":true}"#),
        (chat, r#"{"base_resp":{"status_code":0,"status_msg":""},"choices":[]}"#),
        (chat, r#"{"code":0,"message":"Success","choices":[{"delta":{"content":"a"}}]}"#),
        (chat, r#"{"code":0,"message":"Success"}"#),
        (chat, r#"{"code":"200","msg":"ok"}"#),
        (chat, r#"{"message":"searching"}"#),
        (chat, r#"{"code":17}"#),
        (chat, r#"{"object":"error"}"#),
        (chat, r#"{"detail":"high","choices":[{"delta":{"content":"a"}}]}"#),
        (chat, r#"{"detail":"high","usage":{"prompt_tokens":1,"completion_tokens":2}}"#),
        (chat, r#"{"detail":[]}"#),
        (
            &openai_responses::RESPONSES,
            r#"{"type":"response.output_item.done","item":{"type":"mcp_call","status":"failed"}}"#,
        ),
        (&openai_responses::RESPONSES, r#"{"type":"response.mcp_call.failed"}"#),
        (&cohere::V2, r#"{"type":"message-start","delta":{"message":{"content":[]}}}"#),
        (&openai_assistants::RUNS, r#"{"status":"in_progress","last_error":null}"#),
    ];
    for (dialect, data) in cases {
        assert!(!has_error(dialect, "", data), "{data}");
    }
    // A failed step does not end its run.
    let step = r#"{"status":"failed","last_error":{"code":"x"}}"#;
    assert!(!has_error(&openai_assistants::RUNS, "thread.run.step.failed", step));
}
