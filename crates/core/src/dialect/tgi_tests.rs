//! Events of TGI (`StreamResponse` in its router) and of LightLLM (`api_lightllm.py`).

use super::*;
use crate::dialect::{ChoiceFacts, EventFacts, ResponseReader, TokenCounts};

/// Facts of each event of a stream.
fn stream(events: &[&str]) -> Vec<EventFacts> {
    let mut reader = ResponseReader::new(&TGI);
    let read = |event: &&str| {
        event.as_bytes().chunks(5).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        let facts = EventFacts { choices: facts.choices.clone(), model: None, ..*facts };
        reader.clear_event();
        facts
    };
    events.iter().map(read).collect()
}

fn counts(input: Option<u64>, output: Option<u64>) -> Option<TokenCounts> {
    Some(TokenCounts { input, output, ..TokenCounts::default() })
}

fn chars(facts: &EventFacts) -> Vec<(u64, u64)> {
    facts.choices.iter().map(|choice| (choice.answer_chars, choice.token_ids)).collect()
}

#[test]
fn an_event_is_a_token() {
    let events = stream(&[
        r#"{"index":1,"token":{"id":330,"text":" A","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
        // A character that consists of two tokens.
        r#"{"index":2,"token":{"id":29871,"text":"","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
        r#"{"index":3,"token":{"id":28723,"text":".","logprob":-0.6,"special":false},"top_tokens":[{"id":5,"text":"no","logprob":-1.0,"special":false}],"generated_text":null,"details":null}"#,
        r#"{"index":4,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":" A.","details":{"finish_reason":"eos_token","generated_tokens":4,"seed":null,"input_length":12}}"#,
    ]);
    let found: Vec<_> = events.iter().map(chars).collect();
    assert_eq!(found, [[(2, 1)], [(0, 1)], [(1, 1)], [(0, 1)]]);
    let output: Vec<_> = events.iter().map(|event| event.choices[0].has_output()).collect();
    assert_eq!(output, [true, false, true, false]);
    assert!(events.iter().all(|event| event.choices[0].index == 0));
    let last = &events[3];
    assert_eq!(last.choices[0].finish.as_deref(), Some("eos_token"));
    assert_eq!((last.engine_counts, last.done), (counts(Some(12), Some(4)), true));
    assert!(events[..3].iter().all(|event| event.engine_counts.is_none() && !event.done));
}

#[test]
fn the_last_token_may_have_text() {
    let events = stream(&[
        r#"{"token":{"id":1,"text":"Hi","special":false},"generated_text":null,"details":null}"#,
        r#"{"token":{"id":2,"text":"!","special":false},"generated_text":"Hi!","details":{"finish_reason":"length","generated_tokens":2,"seed":7}}"#,
    ]);
    assert_eq!(events.iter().map(chars).collect::<Vec<_>>(), [[(2, 1)], [(1, 1)]]);
    // A single event with a token counts its text once too.
    let only = stream(&[
        r#"{"token":{"id":2,"text":"!","special":false},"generated_text":"!","details":null}"#,
    ]);
    assert_eq!(chars(&only[0]), [(1, 1)]);
}

#[test]
fn documents_are_parsed() {
    let plain = &stream(&[r#"{"generated_text":" A."}"#])[0];
    assert_eq!(
        plain.choices,
        [ChoiceFacts { answer_chars: 3, has_answer: true, ..Default::default() }]
    );
    let detailed = &stream(&[
        r#"{"generated_text":" A.","details":{"finish_reason":"length","generated_tokens":2,"seed":null,"prefill":[],
            "tokens":[{"id":330,"text":" A","logprob":-0.5,"special":false},{"id":5,"text":".","logprob":-0.5,"special":false}],
            "best_of_sequences":[{"generated_text":"longer text","finish_reason":"length","generated_tokens":9}]}}"#,
    ])[0];
    assert_eq!(chars(detailed), [(3, 0)]);
    assert_eq!(
        (detailed.engine_counts, detailed.choices[0].finish.as_deref()),
        (counts(None, Some(2)), Some("length"))
    );
    // Route `/`.
    let list = &stream(&[
        r#"[{"generated_text":"ab","details":{"finish_reason":"length","generated_tokens":2}}]"#,
    ])[0];
    assert_eq!((chars(list), list.engine_counts), (vec![(2, 0)], counts(None, Some(2))));
}

#[test]
fn errors_are_detected() {
    let facts = &stream(&[r#"{"error":"Model is overloaded","error_type":"overloaded"}"#])[0];
    assert!(facts.error && facts.choices.is_empty());
}

#[test]
fn events_of_lightllm_are_parsed() {
    let events = stream(&[
        r#"{"token":{"id":7,"text":"a","logprob":-0.1,"special":false,"count_output_tokens":1,"prompt_tokens":4},"generated_text":null,"finished":false,"finish_reason":null,"details":null}"#,
        r#"{"token":{"id":2,"text":"b","logprob":-0.1,"special":false,"count_output_tokens":2,"prompt_tokens":4},"generated_text":null,"finished":true,"finish_reason":"length","details":null}"#,
    ]);
    assert_eq!(events[0].engine_counts, counts(Some(4), Some(1)));
    assert!(!events[0].done && events[1].done);
    assert_eq!(events[1].choices[0].finish.as_deref(), Some("length"));
    let document = &stream(&[
        r#"{"generated_text":["ab"],"count_output_tokens":2,"finish_reason":"length","prompt_tokens":4}"#,
    ])[0];
    assert_eq!((chars(document), document.engine_counts), (vec![(2, 0)], counts(Some(4), Some(2))));
}
