//! Events of Google's documentation (ai.google.dev, "Interactions API") and of its Python SDK's types (google-genai 3.6,
//! `interactions`; 1.55 for those with outputs).

use super::super::test_support::{assert_events, describe_events};
use super::*;

#[test]
fn streams_with_steps_are_parsed() {
    assert_events(
        &INTERACTIONS,
        &[
            (
                r#"{"event_type":"interaction.created","interaction":{"id":"v1_1","model":"gemini-3-flash","object":"interaction","status":"in_progress"}}"#,
                "model gemini-3-flash",
            ),
            (
                r#"{"event_type":"interaction.status_update","interaction_id":"v1_1","status":"in_progress"}"#,
                "",
            ),
            (r#"{"event_type":"step.start","index":0,"step":{"type":"thought"}}"#, ""),
            (
                r#"{"event_type":"step.delta","index":0,"delta":{"type":"thought_signature","signature":"s"}}"#,
                "",
            ),
            (
                r#"{"event_type":"step.delta","index":0,"delta":{"type":"thought_summary","content":{"type":"text","text":"Hm"}}}"#,
                "reasoning 2",
            ),
            (r#"{"event_type":"step.stop","index":0}"#, ""),
            (
                r#"{"event_type":"step.delta","index":1,"delta":{"type":"text","text":"Red"}}"#,
                "answer 3",
            ),
            (
                r#"{"event_type":"step.start","index":2,"step":{"type":"function_call","id":"c","name":"f","arguments":{}}}"#,
                "output",
            ),
            (
                r#"{"event_type":"step.delta","index":2,"delta":{"type":"arguments_delta","arguments":"{\"a\":"}}"#,
                "tool 5",
            ),
            (
                r#"{"event_type":"step.delta","index":3,"delta":{"type":"code_execution_result","result":"1","is_error":false}}"#,
                "",
            ),
            (
                r#"{"event_type":"step.delta","index":4,"delta":{"type":"image","mime_type":"image/png","data":"iVBO"}}"#,
                "output",
            ),
            (
                r#"{"event_type":"interaction.completed","interaction":{"id":"v1_1","model":"gemini-3-flash","object":"interaction","status":"completed","usage":{"total_cached_tokens":0,"total_input_tokens":13,"total_output_tokens":32,"total_thought_tokens":806,"total_tokens":851,"total_tool_use_tokens":0}}}"#,
                "ends as completed, input 13, cached 0, output 838, reasoned 806, done",
            ),
            ("[DONE]", "done"),
        ],
    );
    let error = r#"{"event_type":"error","error":{"code":"unavailable","message":"overloaded"}}"#;
    assert_eq!(describe_events(&INTERACTIONS, &[error]), ["error"]);
    let failed = r#"{"event_type":"interaction.completed","interaction":{"status":"failed"}}"#;
    assert_eq!(describe_events(&INTERACTIONS, &[failed]), ["ends as failed, error, done"]);
}

/// The final event may have all steps. Results of tools and steps of the user are not output.
#[test]
fn steps_count_once_and_only_those_of_the_model() {
    let delta = r#"{"event_type":"step.delta","index":0,"delta":{"type":"text","text":"Red"}}"#;
    let completed = r#"{"event_type":"interaction.completed","interaction":{"status":"completed","steps":[
        {"type":"user_input","content":[{"type":"text","text":"What?"}]},
        {"type":"google_search_call","arguments":{"queries":["a"]}},
        {"type":"google_search_result","result":[{"text":"found"}]},
        {"type":"model_output","content":[{"type":"text","text":"Red"}]}]}}"#;
    assert_events(
        &INTERACTIONS,
        &[(delta, "answer 3"), (completed, "tool 17, ends as completed, done")],
    );
    assert_events(&INTERACTIONS, &[(completed, "answer 3, tool 17, ends as completed, done")]);
    let cases = [
        (r#"{"type":"function_result","call_id":"c","name":"f","result":"x"}"#, ""),
        (r#"{"type":"user_input","content":[{"type":"text","text":"What?"}]}"#, ""),
        (r#"{"name":"f","result":"x","type":"mcp_server_tool_result"}"#, ""),
        (r#"{"type":"google_maps_call","arguments":{"queries":["a"]}}"#, "tool 17"),
        (
            r#"{"type":"code_execution_call","arguments":{"code":"1","language":"python"}}"#,
            "tool 32",
        ),
        (r#"{"type":"model_output","content":[{"type":"text","text":"Red"}]}"#, "answer 3"),
    ];
    for (step, expected) in cases {
        let event = format!(r#"{{"event_type":"step.start","index":0,"step":{step}}}"#);
        assert_eq!(describe_events(&INTERACTIONS, &[&event]), [expected], "{step}");
    }
}

#[test]
fn streams_with_outputs_are_parsed() {
    assert_events(
        &INTERACTIONS,
        &[
            (r#"{"event_type":"content.start","index":0,"content":{"type":"text"}}"#, ""),
            (
                r#"{"event_type":"content.delta","index":0,"delta":{"type":"text","text":"Red"}}"#,
                "answer 3",
            ),
            (
                r#"{"event_type":"content.delta","index":1,"delta":{"type":"function_call","id":"c","name":"f","arguments":{"a": 1}}}"#,
                "tool 7",
            ),
            (
                r#"{"event_type":"interaction.complete","interaction":{"status":"requires_action","usage":{"total_input_tokens":1,"total_output_tokens":2,"total_reasoning_tokens":3}}}"#,
                "ends as requires_action, input 1, output 5, reasoned 3, done",
            ),
        ],
    );
}

#[test]
fn interactions_without_streaming_are_parsed() {
    let steps = r#"{"id":"v1_1","object":"interaction","model":"gemini","status":"completed",
        "steps":[{"type":"thought","summary":[{"type":"text","text":"Hm"}],"signature":"s"},
            {"type":"model_output","content":[{"type":"text","text":"Red"},{"type":"image","data":"iVBO"}]},
            {"type":"function_call","id":"c","name":"f","arguments":{"a": 1}}],
        "usage":{"total_input_tokens":1,"total_output_tokens":2,"total_thought_tokens":3}}"#;
    let outputs = r#"{"id":"v1_1","object":"interaction","model":"gemini","status":"completed",
        "outputs":[{"type":"thought","summary":[{"type":"text","text":"Hm"}]},{"type":"text","text":"Red"},
            {"type":"function_call","id":"c","name":"f","arguments":{"a": 1}}],
        "usage":{"total_input_tokens":1,"total_output_tokens":2,"total_thought_tokens":3}}"#;
    let expected = "answer 3, reasoning 2, tool 7, ends as completed, input 1, output 5, reasoned 3, model gemini";
    for whole in [steps, outputs] {
        assert_events(&INTERACTIONS, &[(whole, expected)]);
    }
    // An interaction in the background has not ended.
    let running = r#"{"id":"v1_1","object":"interaction","model":"gemini","status":"in_progress"}"#;
    assert_events(&INTERACTIONS, &[(running, "model gemini")]);
}
