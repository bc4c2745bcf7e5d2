use super::super::test_support::assert_events;
use super::*;
use crate::dialect::ResponseReader;

#[test]
fn a_stream_has_reasoning_tool_calls_and_stats() {
    assert_events(
        &LMSTUDIO,
        &[
            (r#"{"type":"chat.start","model_instance_id":"gpt-oss"}"#, "model gpt-oss"),
            (r#"{"type":"prompt_processing.start"}"#, ""),
            (r#"{"type":"prompt_processing.progress","progress":0.5}"#, ""),
            (r#"{"type":"reasoning.start"}"#, ""),
            (r#"{"type":"reasoning.delta","content":"Look"}"#, "reasoning 4"),
            (r#"{"type":"reasoning.end"}"#, ""),
            (
                r#"{"type":"tool_call.start","tool":"find","provider_info":{"type":"plugin"}}"#,
                "output",
            ),
            (r#"{"type":"tool_call.arguments","tool":"find","arguments":{"n": 1}}"#, "tool 7"),
            (r#"{"type":"tool_call.success","tool":"find","arguments":{"n":1},"output":"[]"}"#, ""),
            (
                r#"{"type":"tool_call.failure","reason":"no","metadata":{"tool_name":"g","arguments":{"n":1}}}"#,
                "",
            ),
            (r#"{"type":"message.start"}"#, ""),
            (r#"{"type":"message.delta","content":"Here"}"#, "answer 4"),
            (r#"{"type":"message.end"}"#, ""),
            (
                r#"{"type":"chat.end","result":{"model_instance_id":"gpt-oss","output":[{"type":"message","content":"Here"}],
                    "stats":{"input_tokens":30,"total_output_tokens":9,"reasoning_output_tokens":3,"tokens_per_second":40.5,
                    "time_to_first_token_seconds":0.5}}}"#,
                "input 30, output 9, reasoned 3, done",
            ),
        ],
    );
    let failed = r#"{"type":"error","error":{"type":"model_not_found","message":"no"}}"#;
    assert_events(&LMSTUDIO, &[(failed, "error")]);
}

#[test]
fn a_document_has_the_same_output() {
    assert_events(
        &LMSTUDIO,
        &[(
            r#"{"model_instance_id":"m","output":[{"type":"reasoning","content":"Hm"},
                {"type":"tool_call","tool":"find","arguments":{"n":1},"output":"[]"},{"type":"message","content":"Yes"}],
                "stats":{"input_tokens":30,"total_output_tokens":9,"reasoning_output_tokens":0},"response_id":"r"}"#,
            "answer 3, reasoning 2, tool 7, input 30, output 9, reasoned 0, model m",
        )],
    );
}

#[test]
fn a_load_is_reported_before_the_output_and_in_the_stats() {
    let mut reader = ResponseReader::new(&LMSTUDIO);
    let mut facts = |event: &str| {
        reader.push(event.as_bytes());
        let facts = reader.finish_event(b"");
        let timings = facts.timings.unwrap_or_default();
        let found = (facts.loading, timings.load, timings.first_token, facts.detected_engine);
        reader.clear_event();
        found
    };
    let is_loading = (true, None, None, None);
    assert_eq!(facts(r#"{"type":"model_load.start","model_instance_id":"m"}"#), is_loading);
    assert_eq!(facts(r#"{"type":"model_load.progress","progress":0.65}"#), is_loading);
    assert_eq!(
        facts(r#"{"type":"model_load.end","load_time_seconds":12.5}"#),
        (true, Some(12.5), None, None)
    );
    assert_eq!(facts(r#"{"type":"message.delta","content":"a"}"#), (false, None, None, None));
    // The load is not in the server's own time to first token.
    let end = r#"{"type":"chat.end","result":{"stats":{"input_tokens":1,"time_to_first_token_seconds":0.5}}}"#;
    assert_eq!(facts(end), (false, None, None, Some(Engine::LmStudio)));
    let mut reader = ResponseReader::new(&LMSTUDIO);
    reader.push(end.as_bytes());
    let timings = reader.finish_event(b"").timings.unwrap();
    assert_eq!((timings.load, timings.first_token), (None, Some(0.5)));
    reader.clear_event();
    let loaded = r#"{"output":[],"stats":{"model_load_time_seconds":12.5,"time_to_first_token_seconds":0.5}}"#;
    reader.push(loaded.as_bytes());
    let timings = reader.finish_event(b"").timings.unwrap();
    assert_eq!((timings.load, timings.first_token), (Some(12.5), None));
}
