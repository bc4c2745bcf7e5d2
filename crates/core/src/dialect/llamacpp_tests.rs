//! Events of llama.cpp (`tools/server/server-task.cpp`), reduced to the fields that are parsed.

use super::*;
use crate::dialect::{EventFacts, ResponseReader, TokenCounts};

fn stream(dialect: &'static Dialect, events: &[&str]) -> (Vec<EventFacts>, &'static str) {
    let mut reader = ResponseReader::new(dialect);
    let read = |event: &&str| {
        event.as_bytes().chunks(9).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        assert_eq!(facts.unparsed, None, "{event}");
        let facts =
            EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts };
        reader.clear_event();
        facts
    };
    (events.iter().map(read).collect(), reader.dialect_name().unwrap())
}

const STREAM: [&str; 4] = [
    r#"{"index":0,"content":"","tokens":[],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":5,"prompt_progress":{"total":5,"cache":2,"processed":5,"time_ms":3}}"#,
    r#"{"index":0,"content":" shall","tokens":[1326],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":5}"#,
    r#"{"index":0,"content":"","tokens":[2],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":5}"#,
    r#"{"index":0,"content":"","tokens":[],"id_slot":1,"stop":true,"model":"tiny-chat","tokens_predicted":2,"tokens_evaluated":5,"generation_settings":{"stop":["x"],"seed":1,"stream":true},"prompt":"no output","truncated":false,"stop_type":"eos","stopping_word":"","tokens_cached":20,"timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.5,"predicted_n":2,"predicted_ms":3.8}}"#,
];

#[test]
fn a_stream_has_text_counts_and_timings() {
    let (events, _) = stream(&LLAMACPP, &STREAM);
    let output: Vec<_> =
        events.iter().map(|e| e.choices.first().is_some_and(|c| c.has_output())).collect();
    assert_eq!(output, [false, true, false, false]);
    assert_eq!(events[1].choices[0].answer_chars, 6);
    let output: Vec<_> = events.iter().filter_map(|event| event.engine_counts?.output).collect();
    assert_eq!(output, [1, 2, 2], "nothing is counted while the prompt is read");
    let last = &events[3];
    let counts =
        TokenCounts { input: Some(5), output: Some(2), cached: Some(2), ..TokenCounts::default() };
    assert_eq!(last.engine_counts, Some(counts));
    assert_eq!(last.engine_counts.unwrap().total_input(), Some(5));
    assert_eq!(last.choices[0].finish.as_deref(), Some("eos"));
    assert_eq!(
        (last.model.as_deref(), last.detected_engine),
        (Some("tiny-chat"), Some(Engine::LlamaCpp))
    );
    let timings = last.timings.unwrap();
    assert_eq!((timings.prefill, timings.decode), (Some(0.0035), Some(0.0038)));
    // Builds before 2025.
    let (old, _) = stream(
        &LLAMACPP,
        &[
            r#"{"content":"","stop":true,"stopped_eos":true,"tokens_evaluated":4,"tokens_predicted":2}"#,
        ],
    );
    assert!(old[0].done);
}

#[test]
fn counts_of_several_prompts_are_summed() {
    let event = |index: u64, rest: &str| {
        format!(r#"{{"index":{index},"content":"x","tokens":[1],{rest},"tokens_evaluated":5}}"#)
    };
    let events = [
        event(1, r#""stop":false,"tokens_predicted":1"#),
        event(0, r#""stop":false,"tokens_predicted":1"#),
        event(1, r#""stop":true,"stop_type":"limit","tokens_predicted":2"#),
    ];
    let (events, _) = stream(&LLAMACPP, &events.each_ref().map(String::as_str));
    assert!(!events[2].done, "the other prompt still runs");
    let found: Vec<_> =
        events.iter().map(|e| (e.choices[0].index, e.engine_counts.unwrap().output)).collect();
    assert_eq!(found, [(1, Some(1)), (0, Some(2)), (1, Some(3))]);
    assert_eq!(events[2].engine_counts.unwrap().input, Some(10));
    let (documents, _) = stream(
        &LLAMACPP,
        &[
            r#"[{"index":0,"content":"ab","tokens":[],"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":3,"stop_type":"limit","timings":{"cache_n":1,"prompt_n":2}},
              {"index":1,"content":"cde","tokens":[],"stop":true,"model":"m","tokens_predicted":3,"tokens_evaluated":4,"stop_type":"word","timings":{"cache_n":0,"prompt_n":4}}]"#,
        ],
    );
    let chars: Vec<_> = documents[0].choices.iter().map(|c| (c.index, c.answer_chars)).collect();
    assert_eq!(chars, [(0, 2), (1, 3)]);
    let counts = documents[0].engine_counts.unwrap();
    assert_eq!((counts.total_input(), counts.output, counts.cached), (Some(7), Some(5), Some(1)));
}

#[test]
fn completions_are_in_either_format() {
    let (events, name) = stream(&OPENAI_OR_LLAMACPP, &STREAM);
    assert_eq!((events[1].choices[0].answer_chars, name), (6, "llamacpp"));
    assert_eq!(events[3].engine_counts.unwrap().output, Some(2));
    let (events, name) = stream(
        &OPENAI_OR_LLAMACPP,
        &[
            "null",
            r#"{"choices":[{"text":" a","index":1,"logprobs":null,"finish_reason":null}],"model":"m","object":"text_completion","system_fingerprint":"b1-0c1e570"}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":10},"timings":{"prompt_n":3,"predicted_n":10,"prompt_ms":1.39}}"#,
            r#"{"error":{"message":"boom"}}"#,
        ],
    );
    assert_eq!(name, "openai-completions");
    assert_eq!((events[1].choices[0].index, events[1].choices[0].answer_chars), (1, 2));
    assert_eq!(events[2].usage.unwrap().output, Some(10));
    assert!(events[3].error);
}

/// Counts and durations in OpenAI's format, on the route that llama.cpp shares.
#[test]
fn completions_have_counts_and_durations() {
    let (facts, name) = stream(
        &OPENAI_OR_LLAMACPP,
        &[
            r#"{"choices":[{"text":"","index":0,"finish_reason":"stop"}],"timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.5,"predicted_n":8,"predicted_ms":9}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":8},"metrics":{"queue_time_ms":4,"time_to_first_token_ms":6}}"#,
        ],
    );
    let [llama, vllm] = facts.as_slice() else { panic!("{facts:?}") };
    let counts = llama.engine_counts.unwrap();
    assert_eq!(
        (counts.total_input(), counts.total_output(), counts.cached),
        (Some(5), Some(8), Some(2))
    );
    let timings = vllm.timings.unwrap();
    assert_eq!((timings.queue, timings.prefill), (Some(0.004), Some(0.006)));
    assert_eq!(name, "openai-completions");
}

/// dev.writer.com, "Stream responses from the API".
#[test]
fn completions_of_writer_are_values() {
    let (facts, name) = stream(&OPENAI_OR_LLAMACPP, &[r#"{"value":""}"#, r#"{"value":"Hello"}"#]);
    let [empty, text] = facts.as_slice() else { panic!("{facts:?}") };
    assert!(empty.choices.is_empty());
    assert_eq!((text.choices[0].answer_chars, text.done), (5, true));
    assert_eq!(name, "writer");
}
