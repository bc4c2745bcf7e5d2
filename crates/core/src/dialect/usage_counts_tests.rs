//! Usage reports of chat completions and messages in unusual places or with unusual numbers.

use super::super::test_support::describe_events;
use super::super::{anthropic, openai_chat};
use super::*;

#[test]
fn usage_is_found_in_nested_objects() {
    let usage = r#""usage":{"prompt_tokens":19,"completion_tokens":13,"total_tokens":32}"#;
    let cases = [
        // Kimi.
        format!(r#"{{"choices":[{{"index":0,"delta":{{}},{usage}}}]}}"#),
        format!(r#"{{"choices":[{{"index":0,"delta":{{{usage}}}}}]}}"#),
        format!(r#"{{"choices":[{{"index":0,"message":{{{usage}}}}}]}}"#),
        format!(r#"{{"choices":null,{usage}}}"#),
        format!(r#"{{"x_groq":{{{usage}}}}}"#),
        format!("{{{usage}}}"),
    ];
    for data in &cases {
        assert_eq!(describe_events(&openai_chat::CHAT, &[data]), ["input 19, output 13"], "{data}");
    }
    let other_names = r#"{"usage":{"input_tokens":19,"output_tokens":13}}"#;
    let found = describe_events(&openai_chat::CHAT, &[other_names]);
    assert_eq!(found, ["engine input 19, engine output 13"]);
}

#[test]
fn a_0_does_not_replace_a_count() {
    let start = TokenCounts {
        input: Some(25),
        cached: Some(100),
        input_excludes_cache: true,
        ..TokenCounts::default()
    };
    let end = TokenCounts {
        input: Some(0),
        output: Some(15),
        cached: Some(0),
        cache_written: Some(0),
        ..TokenCounts::default()
    };
    let mut counts = start;
    counts.update(end);
    assert_eq!((counts.total_input(), counts.total_output()), (Some(125), Some(15)));
    assert_eq!((counts.cached, counts.cache_written), (Some(100), Some(0)));
    for (before, after, expected) in [
        (None, None, None),
        (None, Some(0), Some(0)),
        (Some(3), Some(0), Some(3)),
        (Some(3), None, Some(3)),
        (Some(3), Some(2), Some(2)),
        (Some(0), Some(2), Some(2)),
    ] {
        assert_eq!(later(before, after), expected, "{before:?} {after:?}");
    }
    // Two fields of one report.
    let twice = r#"{"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":7},"cached_tokens":0}}"#;
    let found = describe_events(&openai_chat::CHAT, &[twice]);
    assert_eq!(found, ["input 9, cached 7, output 4"]);
    let delta = r#"{"type":"message_delta","usage":{"input_tokens":0,"output_tokens":0}}"#;
    assert_eq!(describe_events(&anthropic::MESSAGES, &[delta]), [""]);
}

/// Input, output, reasoning and total of a report; the output with reasoning, and whether it was adjusted.
#[test]
fn contradictory_totals_are_resolved() {
    let cases = [
        // Consistent: reasoning is part of the output.
        ([10, 20, 5, 30], 20, false),
        // xAI: reasoning is apart.
        ([10, 20, 5, 35], 25, false),
        ([10, 20, 50, 80], 70, false),
        // Reasoning exceeds the output, which the total confirms.
        ([10, 20, 50, 30], 20, false),
        // Nothing confirms the output, so reasoning is not part of it.
        ([10, 20, 50, 7], 70, true),
        ([10, 20, 50, 60], 70, true),
        // The total is below the output, or fits nothing: the parts stay.
        ([10, 20, 5, 15], 20, false),
        ([10, 20, 0, 12], 20, false),
        ([10, 20, 5, 100], 20, false),
        ([10, 20, 20, 30], 20, false),
    ];
    for ([input, output, reasoning, total], expected, is_adjusted) in cases {
        let counts = TokenCounts {
            input: Some(input),
            output: Some(output),
            reasoning: Some(reasoning),
            ..TokenCounts::default()
        };
        let counts = resolve(counts, Some(total)).unwrap();
        let found = (counts.total_output(), counts.is_adjusted());
        assert_eq!(found, (Some(expected), is_adjusted), "{input} {output} {reasoning} {total}");
    }
    assert_eq!(resolve(TokenCounts::default(), Some(9)), None);
    let zeros = TokenCounts { input: Some(0), output: Some(0), ..TokenCounts::default() };
    assert_eq!(resolve(zeros, Some(0)), None);
}
