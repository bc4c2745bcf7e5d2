//! Events of servers with the responses API, reduced to the fields that are parsed.

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

/// For each event of a stream: characters of answer, reasoning and arguments, and whether there is output.
fn outputs(events: &[&str]) -> Vec<(u64, u64, u64, bool)> {
    let mut reader = ResponseReader::new(&RESPONSES);
    let mut parse = |data: &&str| {
        data.as_bytes().chunks(7).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        assert_eq!(facts.unparsed, None, "{data}");
        let found = match facts.choices.as_slice() {
            [] => (0, 0, 0, false),
            [one] => (one.answer_chars, one.reasoning_chars, one.tool_chars, one.has_output()),
            more => panic!("{data}: {more:?}"),
        };
        reader.clear_event();
        found
    };
    events.iter().map(&mut parse).collect()
}

fn facts(name: &[u8], data: &str) -> EventFacts {
    let mut reader = ResponseReader::new(&RESPONSES);
    reader.push(data.as_bytes());
    let facts = reader.finish_event(name);
    EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts }
}

const NOTHING: (u64, u64, u64, bool) = (0, 0, 0, false);

/// Source: platform.openai.com/docs/api-reference/responses-streaming, in the order of real streams.
#[test]
fn a_message_after_hidden_reasoning_counts_once() {
    let events = [
        r#"{"type":"response.created","response":{"status":"in_progress","model":"m","output":[],"usage":null,"error":null},"sequence_number":0}"#,
        r#"{"type":"response.in_progress","response":{"status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"reasoning","encrypted_content":"gAAA","summary":[]},"output_index":0}"#,
        r#"{"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"gAAB","summary":[]},"output_index":0}"#,
        r#"{"type":"response.output_item.added","item":{"type":"message","status":"in_progress","content":[],"role":"assistant"},"output_index":1}"#,
        r#"{"type":"response.content_part.added","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"text":""}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"Hi","logprobs":[],"obfuscation":"x1y2"}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":""}"#,
        r#"{"type":"response.output_text.annotation.added","output_index":1,"annotation":{"type":"url_citation","title":"T"}}"#,
        r#"{"type":"response.output_text.done","output_index":1,"content_index":0,"text":"Hi"}"#,
        r#"{"type":"response.content_part.done","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hi"}}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","content":[{"type":"output_text","text":"Hi"}]}}"#,
        r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}]}}"#,
    ];
    let mut expected = vec![NOTHING; events.len()];
    expected[6] = (2, 0, 0, true);
    assert_eq!(outputs(&events), expected);
}

/// The items of each response of a session have the same indexes.
#[test]
fn a_later_response_of_a_session_counts_anew() {
    let created = r#"{"type":"response.created","response":{"output":[]}}"#;
    let delta = r#"{"type":"response.output_text.delta","output_index":0,"delta":"one"}"#;
    let whole = r#"{"type":"response.output_text.done","output_index":0,"text":"one"}"#;
    let mut expected = vec![NOTHING; 5];
    (expected[1], expected[4]) = ((3, 0, 0, true), (3, 0, 0, true));
    assert_eq!(outputs(&[created, delta, whole, created, whole]), expected);
}

/// Events that repeat streamed text count if nothing was streamed.
#[test]
fn text_without_deltas_counts() {
    let text = r#"{"type":"response.output_text.done","output_index":0,"text":"one"}"#;
    let part = r#"{"type":"response.content_part.done","output_index":0,"part":{"type":"output_text","text":"one"}}"#;
    let item = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"one"},{"type":"refusal","refusal":"no"}]}}"#;
    let whole = r#"{"type":"response.completed","response":{"output":[{"content":[{"type":"output_text","text":"one"}]}]}}"#;
    let counts = |events: &[&str]| outputs(events).iter().map(|event| event.0).collect::<Vec<_>>();
    assert_eq!(counts(&[text, part, item, whole]), [3, 0, 0, 0]);
    assert_eq!(counts(&[part, item, whole]), [3, 0, 0]);
    assert_eq!(counts(&[item, whole]), [5, 0]);
    assert_eq!(counts(&[whole]), [3]);
    // The second part of an item, and the next item.
    assert_eq!(counts(&[text, text, part]), [3, 3, 0]);
    assert_eq!(
        counts(&[item, &item.replace(r#""output_index":0"#, r#""output_index":1"#)]),
        [5, 5]
    );
    let delta = r#"{"type":"response.output_text.delta","output_index":0,"delta":"one"}"#;
    let next = item.replace(r#""output_index":0"#, r#""output_index":1"#);
    assert_eq!(counts(&[delta, text, part, item, &next, whole]), [3, 0, 0, 0, 5, 0]);
}

/// Order of keys in vLLM. One of its builds increments `content_index` with each delta
/// (vllm-project/vllm#35184). Its reasoning is a part of type `reasoning_text`.
#[test]
fn reasoning_of_vllm_is_counted() {
    let events = [
        r#"{"item":{"id":"a","summary":[],"type":"reasoning","status":"in_progress"},"output_index":0,"type":"response.output_item.added"}"#,
        r#"{"content_index":0,"output_index":0,"part":{"text":"","type":"reasoning_text"},"type":"response.reasoning_part.added"}"#,
        r#"{"content_index":8,"delta":" say","output_index":0,"type":"response.reasoning_text.delta"}"#,
        r#"{"content_index":9,"output_index":0,"text":" say","type":"response.reasoning_text.done"}"#,
        r#"{"content_index":9,"output_index":0,"part":{"text":" say","type":"reasoning_text"},"type":"response.reasoning_part.done"}"#,
        r#"{"item":{"content":[{"text":" say","type":"reasoning_text"}],"summary":[],"type":"reasoning"},"output_index":0,"type":"response.output_item.done"}"#,
    ];
    let mut expected = vec![NOTHING; events.len()];
    expected[2] = (0, 4, 0, true);
    assert_eq!(outputs(&events), expected);
    assert_eq!(outputs(&events[5..]), [(0, 4, 0, true)]);
    let summary = r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"why"}"#;
    let part = r#"{"type":"response.reasoning_summary_part.done","output_index":0,"part":{"type":"summary_text","text":"why"}}"#;
    assert_eq!(outputs(&[summary, part]), [(0, 3, 0, true), NOTHING]);
}

/// llama.cpp (tools/server/server-task.cpp) sends no `output_index` and no sequence number.
#[test]
fn items_without_an_index_are_counted() {
    let events = [
        r#"{"type":"response.reasoning_text.delta","delta":"hm","item_id":"rs_1"}"#,
        r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"yes"}"#,
        r#"{"type":"response.output_item.added","item":{"type":"function_call","call_id":"fc_1","name":"f","arguments":"","status":"in_progress"}}"#,
        r#"{"type":"response.function_call_arguments.delta","delta":"{}","item_id":"fc_1"}"#,
        r#"{"type":"response.output_item.added","item":{"type":"function_call","call_id":"fc_2","name":"g","arguments":"","status":"in_progress"}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"reasoning","content":[{"text":"hm","type":"reasoning_text"}],"summary":[]}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"yes"}]}}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","arguments":"{}","name":"f"}}"#,
    ];
    let mut expected = vec![NOTHING; events.len()];
    expected[..5].copy_from_slice(&[
        (0, 2, 0, true),
        (3, 0, 0, true),
        (0, 0, 0, true),
        (0, 0, 2, true),
        (0, 0, 0, true),
    ]);
    assert_eq!(outputs(&events), expected);
}

/// Source: platform.openai.com/docs/api-reference/responses/object. Output of a tool is not output of the model.
#[test]
fn arguments_of_tool_calls_are_output() {
    let item = |item: &str| {
        let event =
            format!(r#"{{"output_index":0,"type":"response.output_item.done","item":{item}}}"#);
        outputs(&[&event])[0]
    };
    let cases = [
        (r#"{"type":"function_call","name":"f","arguments":"{\"a\":1}"}"#, (0, 0, 7, true)),
        (r#"{"type":"function_call","name":"f","arguments":""}"#, (0, 0, 0, true)),
        (r#"{"type":"custom_tool_call","name":"f","input":"ls"}"#, (0, 0, 2, true)),
        (r#"{"type":"mcp_call","name":"f","arguments":"{}","output":"found"}"#, (0, 0, 2, true)),
        (r#"{"type":"tool_search_call","arguments":{"goal": "g"}}"#, (0, 0, 12, true)),
        (r#"{"type":"tool_search_call","arguments":{}}"#, NOTHING),
        (
            r#"{"type":"apply_patch_call","operation":{"type":"delete_file","path":"a"}}"#,
            (0, 0, 33, true),
        ),
        (
            r#"{"type":"code_interpreter_call","code":"1+1","outputs":[{"type":"logs","logs":"2"}]}"#,
            (0, 0, 3, true),
        ),
        (r#"{"type":"local_shell_call","action":{"command":["ls"]}}"#, (0, 0, 18, true)),
        (r#"{"type":"web_search_call","action":{"type":"search","query":"q"}}"#, (0, 0, 0, true)),
        (r#"{"type":"tool_search_output","tools":[{"name":"f"}]}"#, NOTHING),
        (r#"{"type":"mcp_list_tools","tools":[{"name":"f"}]}"#, NOTHING),
        (r#"{"type":"image_generation_call","result":"iVBO"}"#, (0, 0, 0, true)),
        (r#"{"type":"reasoning","content":null,"summary":[]}"#, NOTHING),
    ];
    for (data, expected) in cases {
        assert_eq!(item(data), expected, "{data}");
    }
    let deltas = [
        (r#""type":"response.custom_tool_call_input.delta","delta":"ls""#, (0, 0, 2, true)),
        (r#""type":"response.mcp_call_arguments.delta","delta":"{}""#, (0, 0, 2, true)),
        (r#""type":"response.code_interpreter_call_code.delta","delta":"1+1""#, (0, 0, 3, true)),
        (
            r#""type":"response.apply_patch_call_operation_diff.delta","delta":"@@""#,
            (0, 0, 2, true),
        ),
        (r#""type":"response.refusal.delta","delta":"No.""#, (3, 0, 0, true)),
        (r#""type":"response.audio.delta","delta":"AAAA""#, (0, 0, 0, true)),
        (r#""type":"response.audio.transcript.delta","delta":"hey""#, (0, 0, 0, true)),
        (r#""type":"response.function_call_arguments.done","arguments":"{}""#, (0, 0, 2, true)),
        (r#""type":"response.code_interpreter_call_code.done","code":"1+1""#, (0, 0, 3, true)),
        (r#""type":"response.refusal.done","refusal":"No.""#, (3, 0, 0, true)),
        (r#""type":"error","code":"ERR","message":"boom""#, NOTHING),
        (r#""type":"response.code_interpreter_call.interpreting""#, NOTHING),
        (r#""type":"codex.rate_limits","plan_type":"plus""#, NOTHING),
        (r#""type":"keepalive""#, NOTHING),
    ];
    for (data, expected) in deltas {
        assert_eq!(outputs(&[&format!("{{{data}}}")]), [expected], "{data}");
    }
}

/// What an item has when it is added is a placeholder; the completed item has the input of the call.
#[test]
fn placeholders_are_not_output() {
    let added_and_done = |added: &str, done: &str| {
        let event = |kind: &str, item: &str| {
            format!(r#"{{"type":"response.output_item.{kind}","output_index":0,"item":{item}}}"#)
        };
        let completed =
            format!(r#"{{"type":"response.completed","response":{{"output":[{done}]}}}}"#);
        let found = outputs(&[&event("added", added), &event("done", done), &completed]);
        (found[0], found[1], found[2])
    };
    let output = |tool: u64| (0, 0, tool, true);
    let cases = [
        (
            r#"{"type":"local_shell_call","action":{"type":"exec","command":[],"env":{}}}"#,
            r#"{"type":"local_shell_call","action":{"type":"exec","command":["ls"],"env":{}}}"#,
            (NOTHING, output(41), NOTHING),
        ),
        (
            r#"{"type":"shell_call","action":{"commands":[]}}"#,
            r#"{"type":"shell_call","action":{"commands":["ls"]}}"#,
            (NOTHING, output(19), NOTHING),
        ),
        (
            r#"{"type":"computer_call","actions":[],"pending_safety_checks":[]}"#,
            r#"{"type":"computer_call","actions":[{"type":"wait"}],"pending_safety_checks":[]}"#,
            (NOTHING, output(17), NOTHING),
        ),
        (
            r#"{"type":"computer_call","action":{}}"#,
            r#"{"type":"computer_call","action":{"type":"wait"}}"#,
            (NOTHING, output(15), NOTHING),
        ),
        (
            r#"{"type":"function_call","name":"f","arguments":"{}"}"#,
            r#"{"type":"function_call","name":"f","arguments":"{\"a\":1}"}"#,
            (output(0), output(7), NOTHING),
        ),
        (
            r#"{"type":"function_call","name":"f","arguments":"{\"a\":1}"}"#,
            r#"{"type":"function_call","name":"f","arguments":"{\"a\":1}"}"#,
            (output(7), NOTHING, NOTHING),
        ),
        (
            r#"{"type":"tool_search_call","arguments":{}}"#,
            r#"{"type":"tool_search_call","arguments":{"q":1}}"#,
            (NOTHING, output(7), NOTHING),
        ),
        (
            r#"{"type":"apply_patch_call","operation":{"type":"create_file","path":"a","diff":""}}"#,
            r#"{"type":"apply_patch_call","operation":{"type":"create_file","path":"a","diff":"+b"}}"#,
            (NOTHING, output(45), NOTHING),
        ),
        (
            r#"{"type":"program","code":"","fingerprint":"gAAA"}"#,
            r#"{"type":"program","code":"1+1","fingerprint":"gAAB"}"#,
            (NOTHING, output(3), NOTHING),
        ),
        (
            r#"{"type":"web_search_call","status":"in_progress"}"#,
            r#"{"type":"web_search_call","action":{"type":"search","query":"q","sources":[{"url":"u"}]}}"#,
            (NOTHING, output(0), NOTHING),
        ),
        (
            r#"{"type":"file_search_call","queries":[],"results":null}"#,
            r#"{"type":"file_search_call","queries":["q"],"results":[{"text":"found"}]}"#,
            (NOTHING, output(5), NOTHING),
        ),
        (
            r#"{"type":"image_generation_call","result":null}"#,
            r#"{"type":"image_generation_call","result":"iVBO","action":"generate"}"#,
            (NOTHING, output(0), NOTHING),
        ),
    ];
    for (added, done, expected) in cases {
        assert_eq!(added_and_done(added, done), expected, "{done}");
    }
}

/// Results of tools, lists of tools and what the client wrote, in events and in the whole response.
#[test]
fn results_of_tools_are_not_output() {
    let items = [
        r#"{"type":"program_output","result":"42"}"#,
        r#"{"result":"42","type":"program_output"}"#,
        r#"{"type":"shell_call_output","output":[{"stdout":"a","stderr":""}]}"#,
        r#"{"type":"local_shell_call_output","output":"a"}"#,
        r#"{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"data:"}}"#,
        r#"{"type":"function_call_output","name":"f","output":"a"}"#,
        r#"{"type":"apply_patch_call_output","output":"Done"}"#,
        r#"{"type":"mcp_list_tools","tools":[{"name":"f"}]}"#,
        r#"{"type":"mcp_approval_response","approve":true,"name":"f"}"#,
        r#"{"type":"additional_tools","role":"developer","tools":[]}"#,
        r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}"#,
        r#"{"type":"compaction","encrypted_content":"gAAA"}"#,
    ];
    for item in items {
        for kind in ["added", "done"] {
            let event = format!(r#"{{"type":"response.output_item.{kind}","item":{item}}}"#);
            assert_eq!(outputs(&[&event]), [NOTHING], "{event}");
        }
        let whole = format!(r#"{{"type":"response.completed","response":{{"output":[{item}]}}}}"#);
        assert_eq!(outputs(&[&whole]), [NOTHING], "{whole}");
    }
    let mixed = r#"{"type":"response.completed","response":{"output":[{"type":"function_call_output","name":"f"},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}]}}"#;
    assert_eq!(outputs(&[mixed]), [(2, 0, 0, true)]);
}

/// Source: `ResponseShellCallCommand*Event` and `ResponseShellCallOutputContent*Event` of openai-python 2.
#[test]
fn commands_of_a_shell_are_output() {
    let events = [
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"shell_call","action":{"commands":[]}}}"#,
        r#"{"type":"response.shell_call_command.added","output_index":0,"command_index":0,"command":""}"#,
        r#"{"type":"response.shell_call_command.delta","output_index":0,"command_index":0,"delta":"ls"}"#,
        r#"{"type":"response.shell_call_command.done","output_index":0,"command_index":0,"command":"ls"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"shell_call","action":{"commands":["ls"]}}}"#,
        r#"{"type":"response.shell_call_output_content.delta","output_index":1,"command_index":0,"delta":{"stdout":"a"}}"#,
        r#"{"type":"response.shell_call_output_content.done","output_index":1,"output":[{"stdout":"a","stderr":""}]}"#,
        r#"{"type":"response.shell_call_output_content.delta","output_index":1,"delta":"a"}"#,
    ];
    let mut expected = vec![NOTHING; events.len()];
    expected[2] = (0, 0, 2, true);
    assert_eq!(outputs(&events), expected);
    // Whole commands.
    let added = r#"{"type":"response.shell_call_command.added","output_index":0,"command":"ls"}"#;
    assert_eq!(outputs(&[added, events[3], events[4]]), [(0, 0, 2, true), NOTHING, NOTHING]);
    assert_eq!(outputs(&[events[3], events[4]]), [(0, 0, 2, true), NOTHING]);
}

/// A partial image and the completed image both count.
#[test]
fn partial_and_completed_images_are_output() {
    let events = [
        r#"{"type":"response.image_generation_call.partial_image","output_index":0,"partial_image_b64":"iVBO"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"image_generation_call","result":"iVBO"}}"#,
        r#"{"type":"response.completed","response":{"output":[{"type":"image_generation_call","result":"iVBO"}]}}"#,
    ];
    assert_eq!(outputs(&events), [(0, 0, 0, true), (0, 0, 0, true), NOTHING]);
}

#[test]
fn finish_reasons_and_errors_are_detected() {
    let cases = [
        (r#"{"type":"response.completed","response":{}}"#, Some("completed"), true, false),
        // vLLM reports a truncated response as completed too, with the reason.
        (
            r#"{"type":"response.completed","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#,
            Some("max_output_tokens"),
            true,
            false,
        ),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}"#,
            Some("content_filter"),
            true,
            false,
        ),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":null}}"#,
            Some("incomplete"),
            true,
            false,
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"}}}"#,
            Some("failed"),
            true,
            true,
        ),
        (r#"{"type":"error","code":"x","message":"boom","param":null}"#, None, false, true),
        (r#"{"type":"error","error":{"type":"insufficient_quota"}}"#, None, false, true),
        (r#"{"error":{"message":"boom","code":500}}"#, None, false, true),
        (r#"{"type":"response.created","response":{"error":null}}"#, None, false, false),
        // An error of a tool is not an error of the stream.
        (
            r#"{"type":"response.output_item.done","item":{"type":"mcp_call","error":{"code":1}}}"#,
            None,
            false,
            false,
        ),
    ];
    for (data, finish, done, error) in cases {
        let facts = facts(b"", data);
        let found = facts.choices.first().and_then(|choice| choice.finish.as_deref());
        assert_eq!((found, facts.done, facts.error), (finish, done, error), "{data}");
    }
    // Without a type in the data, the name of the event counts.
    assert!(facts(b"response.completed", r#"{"response":{}}"#).done);
}

#[test]
fn a_response_without_streaming_is_parsed() {
    let document = r#"{"id":"resp_1","object":"response","status":"completed","error":null,
        "incomplete_details":null,"instructions":"Be brief.","model":"m","output":[
        {"type":"reasoning","summary":[{"type":"summary_text","text":"why"}],"content":[{"type":"reasoning_text","text":"so"}]},
        {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[]}]},
        {"type":"code_interpreter_call","code":"1","outputs":null},
        {"type":"function_call","name":"f","arguments":"{}"}],
        "text":{"format":{"type":"text"}},"tools":[{"type":"function","name":"f"}],
        "usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":7,
        "output_tokens_details":{"reasoning_tokens":3},"total_tokens":16}}"#;
    let facts = facts(b"", document);
    let [choice] = facts.choices.as_slice() else { panic!("{facts:?}") };
    assert_eq!((choice.answer_chars, choice.reasoning_chars, choice.tool_chars), (2, 5, 3));
    assert_eq!(choice.finish.as_deref(), Some("completed"));
    let usage = TokenCounts {
        input: Some(9),
        output: Some(7),
        cached: Some(4),
        reasoning: Some(3),
        ..TokenCounts::default()
    };
    assert_eq!((facts.usage, facts.model.as_deref()), (Some(usage), Some("m")));
    let queued = self::facts(b"", r#"{"object":"response","status":"queued","output":[]}"#);
    assert_eq!(queued, EventFacts::default());
}

#[test]
fn the_engine_is_detected() {
    let cases = [
        (
            r#"{"type":"response.output_text.delta","delta":"a","obfuscation":"b"}"#,
            Some(Engine::OpenAi),
        ),
        (
            r#"{"type":"response.completed","response":{"content_filters":[]}}"#,
            Some(Engine::AzureOpenAi),
        ),
        (r#"{"type":"response.completed","response":{"input_messages":[]}}"#, Some(Engine::Vllm)),
        (r#"{"type":"response.completed","response":{"input_messages":null}}"#, None),
        (r#"{"type":"response.output_text.delta","delta":"a","obfuscation":null}"#, None),
        (r#"{"type":"response.output_text.delta","delta":"a"}"#, None),
    ];
    for (data, expected) in cases {
        assert_eq!(facts(b"", data).detected_engine, expected, "{data}");
    }
    // vLLM: docs/features/per_request_metrics.md.
    let metrics = r#"{"type":"response.completed","response":{"metrics":{"queue_time_ms":12.5,"time_to_first_token_ms":80,"mean_itl_ms":9.1}}}"#;
    let facts = facts(b"", metrics);
    let timings = facts.timings.unwrap();
    assert_eq!((timings.queue, timings.prefill), (Some(0.0125), Some(0.08)));
    assert_eq!(facts.detected_engine, Some(Engine::Vllm));
}
