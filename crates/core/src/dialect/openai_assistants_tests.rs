//! Events of platform.openai.com/docs/api-reference/assistants-streaming, reduced to the fields that are parsed.

use super::*;
use crate::dialect::ResponseReader;

/// Characters of the answer and of tool arguments, whether there is output, finish reason.
type RunOutput = (u64, u64, bool, Option<&'static str>);

#[test]
fn a_run_streams_messages_and_tool_calls() {
    let message =
        r#"{"object":"thread.message","content":[{"type":"text","text":{"value":"Hey"}}]}"#;
    let none = (0, 0, false, None);
    let cases: [(&str, &str, RunOutput); 18] = [
        (
            "thread.run.created",
            r#"{"status":"queued","model":"m","usage":null,"last_error":null}"#,
            none,
        ),
        (
            "thread.run.step.created",
            r#"{"type":"tool_calls","step_details":{"tool_calls":[]}}"#,
            none,
        ),
        (
            "thread.run.step.delta",
            r#"{"delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"type":"function","function":{"name":"f","arguments":""}}]}}}"#,
            (0, 0, true, None),
        ),
        (
            "thread.run.step.delta",
            r#"{"delta":{"step_details":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a"}}]}}}"#,
            (0, 3, true, None),
        ),
        (
            "thread.run.step.delta",
            r#"{"delta":{"step_details":{"tool_calls":[{"index":1,"code_interpreter":{"input":"1+1","outputs":[]}}]}}}"#,
            (0, 3, true, None),
        ),
        (
            "thread.run.step.delta",
            r#"{"delta":{"step_details":{"tool_calls":[{"index":1,"code_interpreter":{"outputs":[{"type":"logs","logs":"2"}]}}]}}}"#,
            none,
        ),
        (
            "thread.run.step.completed",
            r#"{"step_details":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
            none,
        ),
        ("thread.message.created", r#"{"content":[],"role":"assistant"}"#, none),
        (
            "thread.message.delta",
            r#"{"delta":{"content":[{"index":0,"type":"text","text":{"value":"Hey","annotations":[]}}]}}"#,
            (3, 0, true, None),
        ),
        ("thread.message.completed", message, none),
        // A message that was not streamed.
        ("thread.message.completed", message, (3, 0, true, None)),
        (
            "thread.message.incomplete",
            r#"{"incomplete_details":{"reason":"max_tokens"},"content":[]}"#,
            none,
        ),
        (
            "thread.run.requires_action",
            r#"{"status":"requires_action"}"#,
            (0, 0, false, Some("requires_action")),
        ),
        (
            "thread.run.completed",
            r#"{"status":"completed","incomplete_details":null,"usage":{"prompt_tokens":380,"completion_tokens":90,"total_tokens":470}}"#,
            (0, 0, false, Some("completed")),
        ),
        // Recorded from a run that reached a limit: the name of the event counts.
        (
            "thread.run.completed",
            r#"{"status":"incomplete","incomplete_details":{"reason":"max_prompt_tokens"}}"#,
            (0, 0, false, Some("completed")),
        ),
        (
            "thread.run.incomplete",
            r#"{"incomplete_details":{"reason":"max_completion_tokens"}}"#,
            (0, 0, false, Some("max_completion_tokens")),
        ),
        (
            "thread.run.failed",
            r#"{"status":"failed","last_error":{"code":"server_error"}}"#,
            (0, 0, false, Some("failed")),
        ),
        ("done", "[DONE]", none),
    ];
    let mut reader = ResponseReader::new(&RUNS);
    let mut usages = Vec::new();
    for (name, data, expected) in cases {
        reader.push(data.as_bytes());
        let facts = reader.finish_event(name.as_bytes());
        assert_eq!(facts.unparsed, None, "{name} {data}");
        let choice = facts.choices.first().cloned().unwrap_or_default();
        let found =
            (choice.answer_chars, choice.tool_chars, choice.has_output(), choice.finish.as_deref());
        assert_eq!(found, expected, "{name} {data}");
        assert_eq!(facts.done, name == "done", "{name}");
        assert_eq!(facts.error, name == "thread.run.failed", "{name}");
        usages.extend(facts.usage.map(|usage| usage.output));
        reader.clear_event();
    }
    assert_eq!(usages, [Some(90)], "a step's usage is part of the run's");
}

/// A completed step repeats its deltas, and counts if it had none.
#[test]
fn calls_of_a_step_count_once() {
    let calls = r#"{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#;
    let step = format!(r#"{{"step_details":{calls}}}"#);
    let delta = format!(r#"{{"delta":{{"step_details":{calls}}}}}"#);
    let cases: [(&[&str], &[u64]); 5] = [
        (&["created", "delta", "completed"], &[0, 2, 0]),
        (&["created", "in_progress", "completed"], &[0, 0, 2]),
        (&["delta", "completed", "created", "completed"], &[2, 0, 0, 2]),
        (&["delta", "failed"], &[2, 0]),
        (&["expired"], &[2]),
    ];
    for (states, expected) in cases {
        let mut reader = ResponseReader::new(&RUNS);
        let mut found = Vec::new();
        for state in states {
            reader.push(if *state == "delta" { &delta } else { &step }.as_bytes());
            let facts = reader.finish_event(format!("thread.run.step.{state}").as_bytes());
            found.push(facts.choices.first().map_or(0, |choice| choice.tool_chars));
            reader.clear_event();
        }
        assert_eq!(found, expected, "{states:?}");
    }
}

/// Without streaming, the response only starts the run.
#[test]
fn a_run_without_streaming_has_no_output() {
    let mut reader = ResponseReader::new(&RUNS);
    reader.push(br#"{"object":"thread.run","status":"queued","model":"gpt-4o","usage":null}"#);
    let facts = reader.finish_event(b"");
    assert_eq!((facts.choices.len(), facts.model.as_deref()), (0, Some("gpt-4o")));
    assert!(!facts.done && !facts.error);
}
