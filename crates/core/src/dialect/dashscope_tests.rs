use super::super::test_support::{assert_events, describe_events};
use super::*;

/// Events of one choice with these texts and running counts, the last of which ends it.
fn stream(texts: &[&str]) -> Vec<String> {
    let event = |(number, text): (usize, &&str)| {
        let finish = if number + 1 == texts.len() { "stop" } else { "null" };
        format!(
            r#"{{"output":{{"choices":[{{"message":{{"content":{text:?},"role":"assistant"}},"finish_reason":"{finish}"}}]}},"usage":{{"input_tokens":9,"output_tokens":{}}},"request_id":"r"}}"#,
            number + 1
        )
    };
    texts.iter().enumerate().map(event).collect()
}

/// Characters of the answer in each event; `None` if the event has no output.
fn answers(texts: &[&str]) -> Vec<Option<u64>> {
    let events = stream(texts);
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let chars = |words: String| {
        let first = words.split(", ").next().unwrap().to_owned();
        match first.strip_prefix("answer ") {
            Some(chars) => Some(chars.parse().unwrap()),
            None => (first == "output").then_some(0),
        }
    };
    describe_events(&DASHSCOPE, &events).into_iter().map(chars).collect()
}

#[test]
fn text_is_new_or_all_so_far() {
    let cases: [(&[&str], &[Option<u64>]); 10] = [
        // New text only.
        (&["Hel", "lo", ""], &[Some(3), Some(2), None]),
        (&["Hello", "! How can I", " help you today?", ""], &[Some(5), Some(11), Some(16), None]),
        // All text so far.
        (&["Hel", "Hello", "Hello, wor", "Hello, wor"], &[Some(3), Some(2), Some(5), Some(0)]),
        (
            &[
                "A long start",
                "A long start, and",
                "A long start, and more",
                "A long start, and more.",
            ],
            &[Some(12), Some(5), Some(5), Some(1)],
        ),
        (&["\u{4f60}\u{597d}", "\u{4f60}\u{597d}\u{ff01}\u{6211}"], &[Some(2), Some(2)]),
        // The second text begins with the first by accident; the third shows it.
        (&["ha", "haha", "!", ""], &[Some(2), Some(2), Some(3), None]),
        (&["no", "no", "yes", ""], &[Some(2), Some(0), Some(5), None]),
        // Certain: a shorter text is not a sign of new text only.
        (
            &["A long start", "A long start, and", "A long start, and more", "Blocked"],
            &[Some(12), Some(5), Some(5), Some(0)],
        ),
        (&[""], &[None]),
        (&["One document."], &[Some(13)]),
    ];
    for (texts, expected) in cases {
        assert_eq!(answers(texts), expected, "{texts:?}");
    }
}

#[test]
fn a_stream_has_running_counts_and_ends_with_a_reason() {
    assert_events(
        &DASHSCOPE,
        &[
            (
                r#"{"output":{"choices":[{"message":{"content":"","reasoning_content":"Hm","role":"assistant"},"index":0,"finish_reason":"null"}]},
                    "usage":{"total_tokens":11,"output_tokens":1,"input_tokens":10,"output_tokens_details":{"reasoning_tokens":1}},"request_id":"r"}"#,
                "reasoning 2, input 10, output 1, reasoned 1",
            ),
            (
                r#"{"output":{"choices":[{"message":{"content":[{"text":"Yes"}],"reasoning_content":""},"index":0,"finish_reason":"null"}]},"usage":{"output_tokens":2,"input_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}}"#,
                "answer 3, input 10, cached 4, output 2",
            ),
            (
                r#"{"output":{"choices":[{"message":{"content":[]},"index":0,"finish_reason":"stop"}]},"usage":{"output_tokens":2,"input_tokens":10}}"#,
                "ends as stop, input 10, output 2",
            ),
        ],
    );
    let failed = r#"{"code":"InvalidParameter","message":"no","request_id":"r"}"#;
    assert_events(&DASHSCOPE, &[(failed, "error")]);
}

#[test]
fn the_end_of_the_reasoning_shows_nothing() {
    let event = |reasoning: &str, content: &str| {
        format!(
            r#"{{"output":{{"choices":[{{"message":{{"content":"{content}","reasoning_content":"{reasoning}"}},"index":0,"finish_reason":"null"}}]}}}}"#
        )
    };
    let cases: [[(&str, &str, &str); 4]; 3] = [
        // All text so far.
        [
            ("Hm", "", "reasoning 2"),
            ("Hm, so", "", "reasoning 4"),
            ("Hm, so", "Yes", "answer 3"),
            ("Hm, so", "Yes, it", "answer 4"),
        ],
        [
            ("Hm", "", "reasoning 2"),
            ("Hm, so", "", "reasoning 4"),
            ("", "Yes", "answer 3"),
            ("", "Yes, it", "answer 4"),
        ],
        // New text only.
        [
            ("Hm", "", "reasoning 2"),
            (", so", "", "reasoning 4"),
            ("", "Yes", "answer 3"),
            ("", ", it", "answer 4"),
        ],
    ];
    for case in cases {
        let events = case.map(|(reasoning, content, _)| event(reasoning, content));
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let expected = case.map(|(_, _, expected)| expected);
        assert_eq!(describe_events(&DASHSCOPE, &events), expected, "{case:?}");
    }
}

#[test]
fn calls_of_tools_are_new_or_all_so_far() {
    let event = |function: &str| {
        format!(
            r#"{{"output":{{"choices":[{{"message":{{"content":"","tool_calls":[{{"index":0,"function":{function}}}]}},"index":0,"finish_reason":"null"}}]}}}}"#
        )
    };
    let check = |functions: [(&str, &str); 3]| {
        let events = functions.map(|(function, _)| event(function));
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let expected = functions.map(|(_, expected)| expected);
        assert_eq!(describe_events(&DASHSCOPE, &events), expected, "{functions:?}");
    };
    check([
        (r#"{"name":"f","arguments":"{\"city\":"}"#, "tool 8"),
        (r#"{"arguments":" \"Beijing\"}"}"#, "tool 11"),
        ("{}", ""),
    ]);
    check([
        (r#"{"name":"f","arguments":""}"#, "output"),
        (r#"{"name":"f","arguments":"{\"city\":"}"#, "tool 8"),
        (r#"{"name":"f","arguments":"{\"city\": 1}"}"#, "tool 3"),
    ]);
}

#[test]
fn other_outputs_are_parsed() {
    assert_events(
        &DASHSCOPE,
        &[(
            r#"{"output":{"text":"Hello","finish_reason":"stop"},"usage":{"input_tokens":9,"output_tokens":2},"request_id":"r"}"#,
            "answer 5, ends as stop, input 9, output 2",
        )],
    );
    // An application.
    assert_events(
        &DASHSCOPE,
        &[
            (
                r#"{"output":{"session_id":"s","finish_reason":"null","text":"Hel"},"usage":{"models":[{"model_id":"qwen","input_tokens":9,"output_tokens":1}]}}"#,
                "answer 3, engine input 9, engine output 1, model qwen",
            ),
            (
                r#"{"output":{"session_id":"s","finish_reason":"stop","text":"Hello"},"usage":{"models":[{"model_id":"qwen","input_tokens":9,"output_tokens":2},{"model_id":"b","input_tokens":1,"output_tokens":1}]}}"#,
                "answer 2, ends as stop, engine input 10, engine output 3",
            ),
        ],
    );
    // Speech, and an image.
    assert_events(
        &DASHSCOPE,
        &[
            (r#"{"output":{"finish_reason":"null","audio":{"data":"aGk=","id":"a"}}}"#, "output"),
            (
                r#"{"output":{"finish_reason":"stop","audio":{"data":"","url":"http://a"}}}"#,
                "ends as stop",
            ),
        ],
    );
    let image = r#"{"output":{"choices":[{"finish_reason":"stop","message":{"content":[{"image":"http://i"}]}}]},"usage":{"image_count":1}}"#;
    assert_events(&DASHSCOPE, &[(image, "output, ends as stop")]);
    let pooled = r#"{"output":{"embeddings":[{"embedding":[0.1],"text_index":0}]},"usage":{"total_tokens":7},"request_id":"r"}"#;
    assert_events(&POOLING, &[(pooled, "input 7")]);
}

#[test]
fn choices_are_compared_with_themselves() {
    let event = |index: u32, text: &str| {
        format!(
            r#"{{"output":{{"choices":[{{"message":{{"content":"{text}"}},"index":{index},"finish_reason":"null"}}]}}}}"#
        )
    };
    let events = [event(0, "One"), event(1, "Two"), event(0, "One,"), event(1, "Two,")];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_eq!(
        describe_events(&DASHSCOPE, &events),
        ["answer 3", "of choice 1, answer 3", "answer 1", "of choice 1, answer 1"]
    );
}
