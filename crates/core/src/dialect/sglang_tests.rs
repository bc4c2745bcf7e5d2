//! Events of SGLang (`output_processor.py`, formerly `tokenizer_manager.py`).

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

fn stream(events: &[String]) -> Vec<EventFacts> {
    let mut reader = ResponseReader::new(&SGLANG);
    let read = |event: &String| {
        event.as_bytes().chunks(7).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        assert_eq!(facts.unparsed, None, "{event}");
        let facts = EventFacts { choices: facts.choices.clone(), model: None, ..*facts };
        reader.clear_event();
        facts
    };
    events.iter().map(read).collect()
}

/// Event with these fields and this running count.
fn event(fields: &str, tokens: u64) -> String {
    let meta = format!(
        r#"{{"id":"5f","finish_reason":null,"prompt_tokens":5,"weight_version":"default","reasoning_tokens":0,"completion_tokens":{tokens},"cached_tokens":2}}"#
    );
    format!(r#"{{{fields},"meta_info":{meta}}}"#)
}

/// New characters of each event; `None` if it has no output.
fn chars(events: &[EventFacts]) -> Vec<Option<u64>> {
    let of = |facts: &EventFacts| {
        let choice = facts.choices.first()?;
        choice.has_output().then_some(choice.answer_chars)
    };
    events.iter().map(of).collect()
}

#[test]
fn ids_distinguish_cumulative_text_from_deltas() {
    let cumulative = [
        event(r#""text":"A","output_ids":[5]"#, 1),
        event(r#""text":"A b","output_ids":[5,6]"#, 2),
        // An incomplete character.
        event(r#""text":"A b","output_ids":[5,6,7]"#, 3),
        event(r#""text":"A b\u00e9","output_ids":[5,6,7,8]"#, 4),
        // Text that matched a stop string is removed at the end.
        event(r#""text":"A","output_ids":[5,6,7,8]"#, 5),
    ];
    assert_eq!(chars(&stream(&cumulative)), [Some(1), Some(2), None, Some(1), None]);
    let deltas = [
        event(r#""text":"A","output_ids":[5]"#, 1),
        event(r#""text":" longer","output_ids":[6]"#, 2),
        event(r#""text":" more of it","output_ids":[7,8]"#, 4),
        event(r#""text":"","output_ids":[9]"#, 5),
    ];
    assert_eq!(chars(&stream(&deltas)), [Some(1), Some(7), Some(11), None]);
}

#[test]
fn without_ids_a_short_text_shows_deltas() {
    let cumulative = [
        event(r#""text":" The""#, 1),
        event(r#""text":" The cat""#, 2),
        event(r#""text":" The ca""#, 3),
    ];
    assert_eq!(chars(&stream(&cumulative)), [Some(4), Some(4), None]);
    // The third event shows that all were deltas. The missed text of the second is added there.
    let deltas = [
        event(r#""text":" The""#, 1),
        event(r#""text":" quick""#, 2),
        event(r#""text":" a""#, 3),
        event(r#""text":" longest""#, 4),
    ];
    let events = stream(&deltas);
    assert_eq!(chars(&events), [Some(4), Some(2), Some(6), Some(8)]);
}

#[test]
fn ids_without_text_are_output() {
    let deltas = [event(r#""output_ids":[5]"#, 1), event(r#""output_ids":[6,7]"#, 3)];
    assert_eq!(chars(&stream(&deltas)), [Some(0), Some(0)]);
    let text = [event(r#""text":"","output_ids":[5]"#, 1)];
    assert_eq!(chars(&stream(&text)), [None]);
}

#[test]
fn counts_durations_and_finish_reasons_are_read() {
    let events = stream(&[
        event(r#""text":"","output_ids":[]"#, 0),
        event(r#""text":"A","output_ids":[5,6]"#, 2),
        r#"{"text":"A b","output_ids":[5,6,7],"meta_info":{"id":"5f","finish_reason":{"type":"stop","matched":2},"prompt_tokens":5,"completion_tokens":3,"cached_tokens":2,"reasoning_tokens":3,"queue_time":0.25,"e2e_latency":1.5}}"#.into(),
        "[DONE]".into(),
    ]);
    let counts = |output: Option<u64>| {
        Some(TokenCounts { input: Some(5), output, cached: Some(2), ..TokenCounts::default() })
    };
    assert_eq!(events[0].engine_counts, counts(None));
    assert_eq!(events[1].engine_counts, counts(Some(2)));
    assert_eq!(events[2].engine_counts, counts(Some(3)), "reasoning is not set apart");
    let timings = events[2].timings.unwrap();
    assert_eq!((timings.queue, timings.total), (Some(0.25), Some(1.5)));
    assert_eq!(events[2].choices[0].finish.as_deref(), Some("stop"));
    assert!(events[3].done);
    assert_eq!(events[0].detected_engine, Some(Engine::Sglang));
    // A full queue, reported with status 200.
    let error = stream(&[
        r#"{"error":{"message":"The request queue is full.","type":"ServiceUnavailable","code":503}}"#.into(),
    ]);
    assert!(error[0].error);
}

#[test]
fn counts_of_several_prompts_are_summed() {
    let events = stream(&[
        event(r#""index":0,"text":"A","output_ids":[5]"#, 1),
        event(r#""index":1,"text":"Q","output_ids":[6]"#, 1),
        event(r#""index":0,"text":"A b","output_ids":[5,7]"#, 2),
        event(r#""index":1,"text":"Q rs","output_ids":[6,8]"#, 2),
    ]);
    assert_eq!(chars(&events), [Some(1), Some(1), Some(2), Some(3)]);
    let indexes: Vec<_> = events.iter().map(|event| event.choices[0].index).collect();
    assert_eq!(indexes, [0, 1, 0, 1]);
    let counts: Vec<_> = events
        .iter()
        .filter_map(|event| event.engine_counts?.input.zip(event.engine_counts?.output))
        .collect();
    assert_eq!(counts, [(5, 1), (10, 2), (10, 3), (10, 4)]);
}

#[test]
fn documents_are_parsed() {
    let one = &stream(&[
        r#"{"text":" b","output_ids":[6,7],"meta_info":{"finish_reason":{"type":"length","length":2},"prompt_tokens":5,"completion_tokens":2,"e2e_latency":0.5}}"#.into(),
    ])[0];
    assert_eq!((one.choices.len(), one.choices[0].answer_chars), (1, 2));
    assert_eq!(one.choices[0].finish.as_deref(), Some("length"));
    let two = &stream(&[format!(
        "[{},{}]",
        event(r#""text":"ab","output_ids":[5,6]"#, 2),
        event(r#""text":"cde","output_ids":[5,6,7]"#, 3)
    )])[0];
    let found: Vec<_> = two.choices.iter().map(|c| (c.index, c.answer_chars)).collect();
    assert_eq!(found, [(0, 2), (1, 3)]);
    assert_eq!(
        two.engine_counts.map(|c| (c.input, c.output, c.cached)),
        Some((Some(10), Some(5), Some(4)))
    );
    let embedding = &stream(&[
        r#"{"embedding":[0.1,0.2],"meta_info":{"id":"5f","finish_reason":{"type":"stop","matched":null},"prompt_tokens":5,"e2e_latency":0.1}}"#.into(),
    ])[0];
    assert_eq!(
        embedding.engine_counts.map(|counts| (counts.input, counts.output)),
        Some((Some(5), None))
    );
}
