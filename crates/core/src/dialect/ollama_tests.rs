//! Lines of Ollama (`api/types.go`, `server/routes.go`), reduced to the fields that are parsed.

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

fn facts(dialect: &'static Dialect, line: &str) -> EventFacts {
    let mut reader = ResponseReader::new(dialect);
    reader.push(br#"{"model":"left","message":{"content":"left"},"done":true,"eval_count":"#);
    reader.finish_event(b"");
    reader.clear_event();
    line.as_bytes().chunks(5).for_each(|part| reader.push(part));
    let facts = reader.finish_event(b"");
    assert_eq!(facts.unparsed, None, "{line}");
    EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts }
}

/// Characters of answer, reasoning and tool arguments, and whether there is an answer; zeros without a choice.
fn output(facts: &EventFacts) -> (u64, u64, u64, bool) {
    let [choice] = facts.choices.as_slice() else {
        assert!(facts.choices.is_empty(), "{facts:?}");
        return (0, 0, 0, false);
    };
    (choice.answer_chars, choice.reasoning_chars, choice.tool_chars, choice.has_answer)
}

#[test]
fn the_output_of_a_line_is_counted() {
    let chat = [
        (r#"{"role":"assistant","content":"Hi"}"#, (2, 0, 0, true)),
        (r#"{"role":"assistant","content":""}"#, (0, 0, 0, false)),
        (r#"{"role":"assistant","content":"","thinking":"Hm"}"#, (0, 2, 0, false)),
        // Arguments are an object; its length without whitespace counts.
        (
            r#"{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"city": "Rome"}}}]}"#,
            (0, 0, 15, true),
        ),
        (
            r#"{"content":"","tool_calls":[{"id":"c","function":{"index":1,"name":"f","arguments":{}}}]}"#,
            (0, 0, 0, true),
        ),
        (r#"{"content":"","images":["aGk="]}"#, (0, 0, 0, true)),
        (r#"{"content":"","images":null,"tool_calls":[]}"#, (0, 0, 0, false)),
    ];
    for (message, expected) in chat {
        let line = format!(
            r#"{{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{message},"done":false}}"#
        );
        let found = facts(&CHAT, &line);
        assert_eq!(output(&found), expected, "{message}");
        assert!(!found.done && found.engine_counts.is_none() && found.timings.is_none());
        assert_eq!(found.model.as_deref(), Some("m"));
    }
    let generate = [
        (r#""response":"Hi""#, (2, 0, 0, true)),
        (r#""response":"","thinking":"Hm""#, (0, 2, 0, false)),
        (r#""response":"The","thinking":null,"context":null,"eval_count":null"#, (3, 0, 0, true)),
        (r#""response":"","image":"iVBORw0KGgo=""#, (0, 0, 0, true)),
        // Progress of an image.
        (r#""response":"","completed":3,"total":9"#, (0, 0, 0, false)),
    ];
    for (fields, expected) in generate {
        let found = facts(&GENERATE, &format!(r#"{{"model":"m",{fields},"done":false}}"#));
        assert_eq!(output(&found), expected, "{fields}");
        assert_eq!(found.engine_counts.and_then(|counts| counts.output), None);
    }
}

#[test]
fn the_last_line_has_counts_and_durations() {
    let last = facts(
        &CHAT,
        r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",
            "total_duration":4852334875,"load_duration":55301250,"prompt_eval_count":39,
            "prompt_eval_duration":99508167,"eval_count":289,"eval_duration":4388903630}"#,
    );
    assert!(last.done && !last.error);
    assert_eq!(last.choices[0].finish.as_deref(), Some("stop"));
    assert!(!last.choices[0].has_output());
    let counts = TokenCounts { input: Some(39), output: Some(289), ..TokenCounts::default() };
    assert_eq!((last.engine_counts, last.usage), (Some(counts), None));
    let timings = last.timings.unwrap();
    assert_eq!(
        (timings.load, timings.prefill, timings.decode, timings.total),
        (Some(0.05530125), Some(0.099508167), Some(4.38890363), Some(4.852334875))
    );
    assert!((timings.time_to_first_token().unwrap() - 0.154809417).abs() < 1e-9);
    assert_eq!(last.detected_engine, Some(Engine::Ollama));
    // A request that only loads the model, and a cached prompt: fields that are 0 are omitted.
    let load = facts(&GENERATE, r#"{"model":"m","response":"","done":true,"done_reason":"load"}"#);
    assert!(load.done && load.engine_counts.is_none() && load.timings.is_none());
    assert_eq!(load.choices[0].finish.as_deref(), Some("load"));
    let cached = facts(&GENERATE, r#"{"response":"","done":true,"eval_count":5}"#);
    assert_eq!(cached.engine_counts.unwrap().input, None);
}

#[test]
fn documents_are_parsed() {
    let chat = facts(
        &CHAT,
        r#"{"model":"m","message":{"role":"assistant","content":"Hello","thinking":"Hm."},"done":true,"eval_count":9}"#,
    );
    assert_eq!(output(&chat), (5, 3, 0, true));
    let embed = facts(
        &EMBED,
        r#"{"model":"all-minilm","embeddings":[[0.1,-0.2]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#,
    );
    assert_eq!(embed.engine_counts.unwrap().input, Some(8));
    assert_eq!((embed.model.as_deref(), embed.choices.len()), (Some("all-minilm"), 0));
    assert_eq!(embed.timings.unwrap().total, Some(0.014143917));
}

#[test]
fn errors_are_lines_of_a_stream() {
    for dialect in [&CHAT, &GENERATE] {
        assert!(facts(dialect, r#"{"error":"llama runner process has terminated"}"#).error);
    }
}

/// KoboldCpp writes 1 for each duration.
#[test]
fn durations_that_nobody_measured_are_not_read() {
    let found = facts(
        &CHAT,
        r#"{"model":"m","message":{"role":"assistant","content":"Hi"},"done":true,"done_reason":"stop","total_duration":1,
            "load_duration":1,"prompt_eval_count":7,"prompt_eval_duration":1,"eval_count":2,"eval_duration":1}"#,
    );
    assert_eq!((found.timings, found.detected_engine), (None, Some(Engine::KoboldCpp)));
    assert_eq!(found.engine_counts.unwrap().output, Some(2));
}

#[test]
fn cached_tokens_are_part_of_the_input() {
    for (dialect, output) in
        [(&CHAT, r#""message":{"content":""}"#), (&GENERATE, r#""response":"""#)]
    {
        let line = format!(
            r#"{{{output},"done":true,"prompt_eval_count":21,"prompt_eval_cached_count":16,"eval_count":9}}"#
        );
        let counts = facts(dialect, &line).engine_counts.unwrap();
        assert_eq!((counts.total_input(), counts.cached), (Some(21), Some(16)), "{line}");
    }
}
