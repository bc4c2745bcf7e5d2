//! Events of vLLM (`entrypoints/serve/disagg`, and the former `entrypoints/api_server.py`).

use super::*;
use crate::dialect::{EventFacts, ResponseReader};

fn stream(events: &[&str]) -> Vec<EventFacts> {
    let mut reader = ResponseReader::new(&VLLM_GENERATE);
    let read = |event: &&str| {
        reader.push(event.as_bytes());
        let facts = reader.finish_event(b"");
        let facts = EventFacts { choices: facts.choices.clone(), model: None, ..*facts };
        reader.clear_event();
        facts
    };
    events.iter().map(read).collect()
}

#[test]
fn token_ids_are_the_output() {
    let events = stream(&[
        r#"{"request_id":"generate-tokens-1","choices":[{"index":0,"logprobs":null,"finish_reason":null,"token_ids":[9906]}],"usage":null}"#,
        r#"{"request_id":"generate-tokens-1","choices":[{"index":0,"logprobs":null,"finish_reason":"length","token_ids":[11,30]}]}"#,
        r#"{"request_id":"generate-tokens-1","choices":[],"usage":{"prompt_tokens":4,"total_tokens":7,"completion_tokens":3}}"#,
    ]);
    let found = |facts: &EventFacts| facts.choices.first().map(|c| (c.token_ids, c.has_output()));
    assert_eq!(
        events.iter().map(found).collect::<Vec<_>>(),
        [Some((1, true)), Some((2, true)), None]
    );
    assert_eq!(events[1].choices[0].finish.as_deref(), Some("length"));
    assert_eq!(events[2].usage.unwrap().output, Some(3));
    assert_eq!(events[0].detected_engine, Some(Engine::Vllm));
    let none = &stream(&[r#"{"choices":[{"index":0,"finish_reason":"stop","token_ids":[]}]}"#])[0];
    assert!(!none.choices[0].has_output());
}

#[test]
fn repeated_prompt_and_text_count_once() {
    let events = stream(&[
        r#"{"text": ["Once upon a"]}"#,
        r#"{"text": ["Once upon a time"]}"#,
        r#"{"text": ["Once upon a time"]}"#,
        r#"{"text": ["Once upon a time, \u00e9"]}"#,
    ]);
    let found = |facts: &EventFacts| {
        facts.choices.first().filter(|c| c.has_output()).map(|choice| choice.answer_chars)
    };
    assert_eq!(events.iter().map(found).collect::<Vec<_>>(), [Some(0), Some(5), None, Some(3)]);
    // FastChat's worker.
    let worker = stream(&[
        r#"{"text":"ab","error_code":0,"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
        r#"{"text":"abc","error_code":0,"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#,
    ]);
    assert_eq!((found(&worker[1]), worker[1].usage.unwrap().output), (Some(1), Some(2)));
    assert!(!worker[1].error);
}
