//! Tests of APIs that are always streamed: OpenAI's assistants, Replicate, Gemini's interactions, Bedrock's agents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::test_server::*;
use crate::server::*;
use crate::truth::TruthEnd;

/// Returns the names of all server-sent events, without repetitions.
fn names(response: &ObservedResponse) -> Vec<&str> {
    let mut names: Vec<_> =
        response.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    names.dedup();
    names
}

#[tokio::test]
async fn run_repeats_its_message_and_reports_usage_at_the_end() {
    let server = start(quick()).await;
    let body = json!({"assistant_id": "a", "thread": {"messages": [{"content": "12345678"}]},
        "max_completion_tokens": 5});
    let (response, record) = server.post("/v1/threads/runs", body).await;
    let expected = [
        "thread.created",
        "thread.run.created",
        "thread.run.queued",
        "thread.run.in_progress",
        "thread.run.step.created",
        "thread.run.step.in_progress",
        "thread.message.created",
        "thread.message.in_progress",
        "thread.message.delta",
        "thread.message.incomplete",
        "thread.run.step.completed",
        "thread.run.incomplete",
        "done",
    ];
    assert_eq!(names(&response), expected);
    assert!(response.text.ends_with("event: done\ndata: [DONE]\n\n"));
    let events = response.data();
    let text = joined(&events, "/delta/content/0/text/value");
    assert_eq!(text, joined(&events, "/content/0/text/value"));
    assert_eq!((record.answer_chars, record.output_events), (chars(&text), 5));
    let run = events.last().unwrap();
    let usage = json!({"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7});
    assert_eq!((&run["usage"], &run["model"]), (&usage, &json!("m")));
    assert_eq!(run["incomplete_details"]["reason"], "max_completion_tokens");
    assert_eq!((record.prompt_tokens, record.reported.output_tokens), (2, Some(5)));
}

#[tokio::test]
async fn run_waits_for_a_tool_or_fails() {
    let server = start(quick()).await;
    let tools = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    let body = json!({"tools": tools, "sim": {"output_tokens": 4}});
    let (response, record) = server.post("/v1/threads/t/runs", body).await;
    assert_eq!(
        names(&response)[5..],
        ["thread.run.step.delta", "thread.run.requires_action", "done"]
    );
    let events = response.data();
    let call = "/delta/step_details/tool_calls/0/function";
    let arguments = joined(&events, &format!("{call}/arguments"));
    assert_eq!(joined(&events, &format!("{call}/name")), "get_weather");
    let action = &events.last().unwrap()["required_action"]["submit_tool_outputs"];
    assert_eq!(action["tool_calls"][0]["function"]["arguments"], arguments);
    assert_eq!((record.tool_chars, record.output_events), (chars(&arguments), 4));
    assert_eq!(record.reported.output_tokens, None, "it is not over");

    let sim = json!({"output_tokens": 9, "error_after": 2});
    let (response, record) = server.post("/v1/threads/t/runs", json!({"sim": sim})).await;
    assert_eq!(names(&response)[7..], ["thread.message.delta", "thread.run.failed", "done"]);
    assert_eq!((record.end, record.output_events), (TruthEnd::Errored, 2));
}

#[tokio::test]
async fn prediction_is_plain_text_scripted_by_the_query() {
    let server = start(quick()).await;
    let response = server.get("/v1/streams/p?sim=%7B%22output_tokens%22:80%7D").await;
    let record = server.record().await;
    assert!(response.text.starts_with(": hi\n\nevent: output\nid: "), "{}", response.text);
    assert!(response.text.ends_with("data: {}\n\n"));
    assert_eq!(names(&response), ["output", "done"]);
    let text_of = |event: &str| {
        let (name, lines) = event.strip_prefix("event: ")?.split_once('\n')?;
        let lines = lines.lines().filter_map(|line| line.strip_prefix("data: "));
        (name == "output").then(|| lines.collect::<Vec<_>>().join("\n"))
    };
    let texts: Vec<String> = response.text.split_terminator("\n\n").filter_map(text_of).collect();
    assert!(texts.contains(&"\n\n".to_owned()), "no text of 80 has a line's end: {texts:?}");
    assert_eq!((record.output_events, texts.len()), (80, 80));
    assert_eq!(record.answer_chars, chars(&texts.concat()));

    let response = server.get("/v1/streams/p?sim={%22error_after%22:2}").await;
    assert_eq!(names(&response), ["output", "error", "done"]);
    assert_eq!(server.record().await.end, TruthEnd::Errored);
    let response = server.get("/v1/streams/p?sim=x").await;
    assert_eq!((response.status, response.json()["detail"].is_string()), (422, true));
}

#[tokio::test]
async fn interaction_has_steps() {
    let server = start(quick()).await;
    let mut body = json!({"model": "m", "input": "12345678",
        "sim": {"output_tokens": 4, "reasoning_tokens": 3, "cached_tokens": 1}});
    let (response, record) = server.post("/v1beta/interactions", body.clone()).await;
    let opening = ["interaction.created", "interaction.status_update"];
    let step = ["step.start", "step.delta", "step.stop"];
    let closing = ["interaction.completed", "done"];
    assert_eq!(names(&response), [&opening[..], &step, &step, &closing].concat());
    let events = response.data();
    let thought = joined(&events, "/delta/content/text");
    assert_eq!(record.reasoning_chars, chars(&thought));
    assert_eq!(record.answer_chars, chars(&joined(&events, "/delta/text")));
    let last = &events.last().unwrap()["interaction"];
    let usage = json!({"total_cached_tokens": 1, "total_input_tokens": 2, "total_output_tokens": 4,
        "total_thought_tokens": 3, "total_tokens": 9, "total_tool_use_tokens": 0});
    assert_eq!((&last["usage"], &last["status"]), (&usage, &json!("completed")));
    assert_eq!((record.output_events, record.reported.output_tokens), (7, Some(7)));

    body["tools"] = json!([{"type": "function", "name": "f"}]);
    let (response, record) = server.post("/v1beta/interactions", body.clone()).await;
    let events = response.data();
    let call = events.iter().find(|event| event["step"]["type"] == "function_call").unwrap();
    assert_eq!((&call["step"]["name"], &call["index"]), (&json!("f"), &json!(1)));
    let arguments = joined(&events, "/delta/arguments");
    assert!(serde_json::from_str::<Value>(&arguments).unwrap()["query"].is_string());
    assert_eq!((record.tool_chars, record.output_events), (chars(&arguments), 7));
    assert_eq!(events.last().unwrap()["interaction"]["status"], "requires_action");

    body["sim"] = json!({"error_after": 2});
    let (response, record) = server.post("/v1beta/interactions", body).await;
    assert_eq!((names(&response).last(), record.end), (Some(&"error"), TruthEnd::Errored));
}

#[tokio::test]
async fn an_agent_says_text_in_base64() {
    let server = start(quick()).await;
    let path = "/agents/A/agentAliases/B/sessions/s/text";
    let body = json!({"inputText": "x", "enableTrace": true, "sim": {"output_tokens": 40}});
    let (response, record) = server.post(path, body).await;
    assert_eq!(response.header("content-type"), "application/vnd.amazon.eventstream");
    assert!(response.text.contains("trace\r:content-type"), "{}", response.text);
    let piece = |frame: &Bytes| {
        let frame = String::from_utf8_lossy(frame).into_owned();
        let encoded = frame.split("\"bytes\":\"").nth(1)?.split('"').next()?.to_owned();
        Some(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
    };
    let text: String = response.frames.iter().filter_map(piece).collect();
    assert_eq!((record.answer_chars, record.output_events), (chars(&text), 40));
    assert_eq!(response.frames.len(), 1 + 40);
    let body = json!({"sim": {"output_tokens": 4, "error_after": 2}});
    let (response, record) = server.post(path, body).await;
    assert_eq!((response.frames.len(), record.end), (3, TruthEnd::Errored));
    assert!(response.text.contains(":exception-type"), "{}", response.text);
}
