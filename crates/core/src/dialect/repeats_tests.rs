//! Streams of chat completions and messages with repeats.

use super::super::test_support::assert_events;
use super::super::{anthropic, openai_chat};
use super::MAX_CALLS;

#[test]
fn a_whole_message_after_deltas_is_not_new() {
    let chat = &openai_chat::CHAT;
    assert_events(
        chat,
        &[
            (r#"{"choices":[{"index":0,"delta":{"content":"Hel"}}]}"#, "answer 3"),
            (r#"{"choices":[{"index":0,"delta":{"content":"lo"}}]}"#, "answer 2"),
            (
                r#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":10}}"#,
                "ends as stop, input 4, output 10",
            ),
        ],
    );
    // Each kind of output and each choice is tracked separately.
    assert_events(
        chat,
        &[
            (r#"{"choices":[{"index":0,"delta":{"reasoning_content":"Hm"}}]}"#, "reasoning 2"),
            (
                r#"{"choices":[{"index":0,"message":{"content":"Yes","reasoning_content":"Hm"}},{"index":1,"message":{"reasoning_content":"So"}}]}"#,
                "answer 3, of choice 1, reasoning 2",
            ),
        ],
    );
    assert_events(
        chat,
        &[
            (
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}}]}"#,
                "tool 2",
            ),
            (
                r#"{"choices":[{"index":0,"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
                "ends as tool_calls",
            ),
        ],
    );
    // A document, and a stream of messages without deltas.
    let message = r#"{"choices":[{"index":0,"message":{"content":"Hello"}}]}"#;
    assert_events(chat, &[(message, "answer 5"), (message, "answer 5")]);
}

#[test]
fn a_repeated_name_or_all_arguments_are_not_new() {
    let chat = &openai_chat::CHAT;
    let call = |index: &str, name: &str, arguments: &str| {
        format!(
            r#"{{"choices":[{{"delta":{{"tool_calls":[{{{index}"function":{{"name":{name:?},"arguments":{arguments:?}}}}}]}}}}]}}"#
        )
    };
    /// Index, name and arguments of each chunk, and the words for it.
    type Chunks<'a> = &'a [(&'a str, &'a str, &'a str, &'a str)];
    let cases: [(Chunks<'_>, &str); 7] = [
        (
            &[
                (r#""index":0,"#, "read", "", "output"),
                (r#""index":0,"#, "read", r#"{"path":"#, "tool 8"),
                (r#""index":0,"#, "read", r#""a"}"#, "tool 4"),
                (r#""index":0,"#, "read", "", ""),
            ],
            "the name is in each chunk",
        ),
        (
            &[
                (r#""index":0,"#, "read", r#"{"p":"#, "tool 5"),
                (r#""index":0,"#, "", r#""a"}"#, "tool 4"),
                (r#""index":0,"#, "read", r#"{"p":"a"}"#, ""),
                (r#""index":1,"#, "read", r#"{"p":"a"}"#, "tool 9"),
            ],
            "the last chunk has all arguments",
        ),
        (
            &[(r#""index":0,"#, "f", "", "output"), (r#""index":1,"#, "f", "", "output")],
            "two calls of one tool",
        ),
        (&[("", "f", "", "output"), ("", "f", "", "output")], "calls without an index"),
        (
            &[
                (r#""index":0,"#, "f", r#"{"aaaaaa"#, "tool 8"),
                (r#""index":0,"#, "", "bbbbbbbb", "tool 8"),
            ],
            "the second chunk is as long as the first",
        ),
        (
            &[
                (r#""index":0,"#, "f", "{", "tool 1"),
                (r#""index":0,"#, "", "ab", "tool 2"),
                (r#""index":0,"#, "", "cde", "tool 3"),
            ],
            "short chunks may be as long as all before",
        ),
        (&[(r#""index":70,"#, "f", "", "output"), (r#""index":70,"#, "f", "", "")], "any index"),
    ];
    for (chunks, what) in cases {
        let events: Vec<String> =
            chunks.iter().map(|(index, name, arguments, _)| call(index, name, arguments)).collect();
        let stream: Vec<(&str, &str)> =
            events.iter().zip(chunks).map(|(event, chunk)| (event.as_str(), chunk.3)).collect();
        println!("{what}");
        assert_events(chat, &stream);
    }
    let legacy = r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}"#;
    assert_events(chat, &[(legacy, "output"), (legacy, "")]);
}

#[test]
fn a_repeated_message_of_anthropic_is_not_new() {
    let messages = &anthropic::MESSAGES;
    let start = r#"{"type":"message_start","message":{"content":[],"usage":{"input_tokens":4,"output_tokens":1}}}"#;
    let delta =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
    let whole = r#"{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":4,"output_tokens":2}}"#;
    let stop = r#"{"type":"message_stop","message":{"content":[{"type":"text","text":"Hi"}]}}"#;
    let block =
        r#"{"type":"content_block_stop","index":0,"content_block":{"type":"text","text":"Hi"}}"#;
    let end = "ends as end_turn, input 4, output 2";
    let new = "answer 2, ends as end_turn, input 4, output 2";
    assert_events(messages, &[(start, "input 4"), (delta, "answer 2"), (whole, end)]);
    assert_events(messages, &[(start, "input 4"), (whole, new)]);
    assert_events(
        messages,
        &[(start, "input 4"), (delta, "answer 2"), (start, "input 4"), (delta, "answer 2")],
    );
    assert_events(messages, &[(delta, "answer 2"), (block, ""), (stop, "done")]);
    assert_events(messages, &[(start, "input 4"), (block, "answer 2")]);
    assert_events(messages, &[(stop, "answer 2, done")]);
}

#[test]
fn arguments_of_many_calls_in_one_event_count() {
    let calls = r#"{"function":{"name":"f","arguments":"{}"}},"#.repeat(2 * MAX_CALLS);
    let calls = calls.trim_end_matches(',');
    assert_events(
        &openai_chat::CHAT,
        &[(&format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{calls}]}}}}]}}"#), "tool 256")],
    );
}
