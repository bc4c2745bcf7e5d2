//! Events of Anthropic (docs.anthropic.com, "Streaming messages") and of other servers.

use super::super::test_support::assert_events;
use super::*;

#[test]
fn a_stream_has_text_tools_and_usage() {
    assert_events(
        &MESSAGES,
        &[
            (
                r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":17,"cache_creation_input_tokens":2,"cache_read_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":2},"output_tokens":3}}}"#,
                "input 49, cached 30, model claude",
            ),
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
                "",
            ),
            (r#"{"type":"ping"}"#, ""),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"So"}}"#,
                "reasoning 2",
            ),
            (
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
                "",
            ),
            (r#"{"type":"content_block_stop","index":0}"#, ""),
            (
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"Emwq"}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Hello"}          }"#,
                "answer 5",
            ),
            (
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","cited_text":"Hi","url":"u","title":"t","encrypted_index":"x"}}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
                "output",
            ),
            (
                r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"city\""}}"#,
                "tool 7",
            ),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":40}}}"#,
                "ends as tool_use, output 89, reasoned 40",
            ),
            (r#"{"type":"message_stop"}"#, "done"),
        ],
    );
}

/// Source: Anthropic, "Web search tool", "MCP connector" and "Compaction".
#[test]
fn calls_of_server_tools_are_output() {
    assert_events(
        &MESSAGES,
        &[
            (
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
                "output",
            ),
            (
                r#"{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","title":"T","url":"u","encrypted_content":"E","page_age":null}]}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_start","index":2,"content_block":{"type":"mcp_tool_result","tool_use_id":"mcptoolu_1","is_error":false,"content":[{"type":"text","text":"result"}]}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_start","index":3,"content_block":{"type":"bash_code_execution_tool_result","tool_use_id":"s","content":{"type":"bash_code_execution_result","stdout":"out","stderr":"","return_code":0,"content":[]}}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_start","index":4,"content_block":{"type":"compaction","content":null}}"#,
                "",
            ),
            (
                r#"{"type":"content_block_delta","index":4,"delta":{"type":"compaction_delta","content":"So far"}}"#,
                "answer 6",
            ),
            // Each iteration has separate counts. Those of the message apply.
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":5,"output_tokens":9,"iterations":[{"type":"message","input_tokens":3,"output_tokens":4}],"server_tool_use":{"web_search_requests":1}}}"#,
                "ends as end_turn, input 5, output 9",
            ),
        ],
    );
}

/// Only Anthropic counts thinking tokens, and its thinking text is a summary.
#[test]
fn thinking_is_a_summary_if_its_tokens_are_counted() {
    let is_summary = |data: &str| {
        let mut reader = crate::dialect::ResponseReader::new(&MESSAGES);
        reader.push(data.as_bytes());
        reader.finish_event(b"").has_reasoning_summary
    };
    let cases = [
        (
            r#"{"type":"message_delta","usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":5}}}"#,
            true,
        ),
        (
            r#"{"type":"message_delta","usage":{"output_tokens":9,"output_tokens_details":{"thinking_tokens":0}}}"#,
            false,
        ),
        (r#"{"type":"message_delta","usage":{"output_tokens":9}}"#, false),
        (r#"{"type":"message","content":[{"thinking":"Hm"}],"usage":{"output_tokens":9}}"#, false),
        (r#"{"type":"content_block_delta","delta":{"thinking":"Hm"}}"#, false),
    ];
    for (data, expected) in cases {
        assert_eq!(is_summary(data), expected, "{data}");
    }
}

#[test]
fn variants_of_other_servers_and_errors_are_parsed() {
    assert_events(
        &MESSAGES,
        &[
            // vLLM and SGLang start with zeros (`AnthropicUsage`).
            (
                r#"{"type":"message_start","message":{"id":"chatcmpl-1","content":[],"model":"qwen","usage":{"input_tokens":0,"output_tokens":0}}}"#,
                "model qwen",
            ),
            // llama.cpp (`to_json_anthropic_stream`).
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"cache_read_input_tokens":27,"input_tokens":1,"output_tokens":8}}"#,
                "ends as end_turn, input 28, cached 27, output 8",
            ),
            // A gateway switched to another model.
            (
                r#"{"type":"message_start","message":{"model":"other","content":[],"usage":{"input_tokens":4,"output_tokens":1}}}"#,
                "input 4",
            ),
            // Calls by code come complete in the start event (Anthropic, "Programmatic tool calling").
            (
                r#"{"type":"message_start","message":{"content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"stop_reason":null}}"#,
                "tool 7",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                "error",
            ),
            (r#"{"type":"error"}"#, "error"),
        ],
    );
}

#[test]
fn messages_without_streaming_are_parsed() {
    let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude",
        "content":[{"type":"thinking","thinking":"Hm.","signature":"EqQB"},{"type":"redacted_thinking","data":"Emwq"},
            {"type":"text","text":"Yes","citations":[{"cited_text":"no","title":"no"}]},
            {"type":"tool_use","id":"toolu_1","name":"f","input":{"a": [1, 2]}},
            {"type":"web_search_tool_result","content":[{"title":"no","text":"no"}]}],
        "stop_reason":"tool_use","usage":{"input_tokens":10,"cache_read_input_tokens":1,"output_tokens":7}}"#;
    let expected = "answer 3, reasoning 3, tool 11, ends as tool_use, input 11, cached 1, output 7, model claude";
    assert_events(&MESSAGES, &[(message, expected)]);
    let blocks = [
        (r#"{"type":"compaction","content":"So far"}"#, "answer 6"),
        (r#"{"type":"compaction","content":null,"encrypted_content":"gAAA"}"#, ""),
        (r#"{"type":"mcp_tool_result","content":"result"}"#, ""),
        (r#"{"content":"result","type":"tool_result","name":"f"}"#, ""),
        (r#"{"type":"advisor_tool_result","content":{"type":"advisor_result","text":"no"}}"#, ""),
        (r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#, ""),
        (r#"{"type":"server_tool_use","name":"web_search","input":{"query":"q"}}"#, "tool 13"),
    ];
    for (block, expected) in blocks {
        let message = format!(r#"{{"type":"message","content":[{block}]}}"#);
        assert_events(&MESSAGES, &[(&message, expected)]);
        let start = format!(r#"{{"type":"content_block_start","content_block":{block}}}"#);
        assert_events(&MESSAGES, &[(&start, expected)]);
    }
    let empty = r#"{"type":"message","content":[{"type":"tool_use","name":"f","input":{}}]}"#;
    assert_events(&MESSAGES, &[(empty, "output")]);
}

/// Source: Anthropic's legacy API, "Create a text completion", version 2023-06-01.
#[test]
fn text_completions_are_parsed() {
    assert_events(
        &COMPLETE,
        &[
            (
                r#"{"type":"completion","id":"compl_1","completion":" Light","stop_reason":null,"model":"claude-2.1","stop":null,"log_id":"l"}"#,
                "answer 6, model claude-2.1",
            ),
            (r#"{"type": "ping"}"#, ""),
            (
                r#"{"type":"completion","completion":"","stop_reason":"stop_sequence","model":"claude-2.1","stop":"\n\nHuman:"}"#,
                "ends as stop_sequence",
            ),
            (r#"{"type":"error","error":{"type":"overloaded_error"}}"#, "error"),
        ],
    );
}
