//! Messages of a session, reduced to the fields that are parsed.
//!
//! Sources: OpenAI's API reference, "Realtime server events" and "Realtime client events", with the names of the beta
//! and the present ones; vLLM's `vllm/entrypoints/openai/realtime/protocol.py`; SGLang's realtime transcription, in
//! OpenAI's format.

use super::*;
use crate::dialect::{EventFacts, ResponseReader};

/// Facts of each of these messages.
fn session(messages: &[&str]) -> Vec<EventFacts> {
    let mut reader = ResponseReader::without_recognition(&REALTIME);
    let read = |message: &&str| {
        message.as_bytes().chunks(9).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        assert_eq!(facts.unparsed, None, "{message}");
        let facts =
            EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts };
        reader.clear_event();
        facts
    };
    messages.iter().map(read).collect()
}

/// Characters of answer and tool arguments, and whether there is an answer, in the last of these messages.
fn last_output(messages: &[&str]) -> (u64, u64, bool) {
    match session(messages).last().unwrap().choices.as_slice() {
        [] => (0, 0, false),
        [one] => (one.answer_chars, one.tool_chars, one.has_answer),
        more => panic!("{messages:?}: {more:?}"),
    }
}

#[test]
fn deltas_are_output() {
    let cases = [
        (r#"{"type":"session.created","session":{"type":"realtime","model":"m"}}"#, (0, 0, false)),
        (
            r#"{"type":"response.created","response":{"id":"r","status":"in_progress"}}"#,
            (0, 0, false),
        ),
        (r#"{"type":"response.output_text.delta","response_id":"r","delta":"Hi"}"#, (2, 0, true)),
        (r#"{"type":"response.text.delta","delta":"Hi!"}"#, (3, 0, true)),
        (r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#, (0, 0, true)),
        (r#"{"type":"response.audio.delta","delta":"AAAA"}"#, (0, 0, true)),
        (r#"{"type":"response.audio.delta","delta":""}"#, (0, 0, false)),
        (r#"{"type":"response.output_audio_transcript.delta","delta":"Hé"}"#, (2, 0, true)),
        (r#"{"type":"response.audio_transcript.delta","delta":"Hé"}"#, (2, 0, true)),
        (r#"{"type":"response.function_call_arguments.delta","delta":"{\"a"}"#, (0, 3, true)),
        (r#"{"type":"response.mcp_call_arguments.delta","delta":"{"}"#, (0, 1, true)),
        (
            r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f"}}"#,
            (0, 0, true),
        ),
        (r#"{"type":"response.output_item.added","item":{"type":"message"}}"#, (0, 0, false)),
        (r#"{"type":"response.output_item.done","item":{"name":"f"}}"#, (0, 0, false)),
        // Without deltas before.
        (r#"{"type":"response.output_text.done","text":"Hi"}"#, (2, 0, true)),
        (r#"{"type":"response.output_audio_transcript.done","transcript":"Hi"}"#, (2, 0, true)),
        // The user's words, in a session that is not for transcription.
        (
            r#"{"type":"conversation.item.input_audio_transcription.delta","delta":"what"}"#,
            (0, 0, false),
        ),
        (r#"{"type":"rate_limits.updated","rate_limits":[]}"#, (0, 0, false)),
        // vLLM.
        (r#"{"type":"transcription.delta","delta":" word"}"#, (5, 0, true)),
        (r#"{"type":"transcription.delta","delta":""}"#, (0, 0, false)),
        (r#"{"type":"transcription.done","text":" word","usage":null}"#, (0, 0, false)),
    ];
    for (message, expected) in cases {
        assert_eq!(last_output(&[message]), expected, "{message}");
    }
}

/// Completed text, arguments and items repeat the deltas before them, and count where there were none.
#[test]
fn completed_output_counts_once() {
    let created = r#"{"type":"response.created","response":{"status":"in_progress"}}"#;
    let added = r#"{"type":"response.output_item.added","item":{"type":"message"}}"#;
    let delta = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
    let text = r#"{"type":"response.output_text.done","text":"Hi"}"#;
    let arguments = r#"{"type":"response.function_call_arguments.delta","delta":"{}"}"#;
    let call = r#"{"type":"response.function_call_arguments.done","name":"f","arguments":"{}"}"#;
    let sound = r#"{"type":"response.output_audio.delta","delta":"AAAA"}"#;
    let done = r#"{"type":"response.done","response":{"status":"completed","output":[
        {"type":"message","content":[{"type":"output_text","text":"Hi"}]},
        {"type":"function_call","name":"f","arguments":"{}"}]}}"#;
    let none = (0, 0, false);
    type Case<'a> = (&'a [&'a str], (u64, u64, bool));
    let cases: [Case<'_>; 9] = [
        (&[created, added, delta, text], none),
        (&[created, added, text], (2, 0, true)),
        (&[created, added, delta, text, added, text], (2, 0, true)),
        (&[created, added, arguments, call], none),
        (&[created, added, call], (0, 2, true)),
        (&[created, added, delta, text, done], none),
        (&[created, added, sound, done], none),
        (&[created, done], (2, 2, true)),
        // A later response.
        (&[created, delta, done, created, done], (2, 2, true)),
    ];
    for (messages, expected) in cases {
        assert_eq!(last_output(messages), expected, "{messages:?}");
    }
}

#[test]
fn a_response_starts_and_ends() {
    let facts = session(&[
        r#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime"}}"#,
        r#"{"type":"response.created","response":{"status":"in_progress","usage":null}}"#,
        r#"{"type":"response.done","response":{"status":"completed","usage":{"total_tokens":30,
            "input_tokens":20,"output_tokens":10,"input_token_details":{"cached_tokens":4}}}}"#,
        r#"{"type":"response.done","response":{"status":"failed","status_details":{"type":"failed"}}}"#,
        r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
        r#"{"type":"transcription.done","text":"a","usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
    ]);
    let events: Vec<_> = facts
        .iter()
        .map(|facts| {
            let finish = facts.choices.first().and_then(|choice| choice.finish.as_deref());
            let usage = facts.usage.map(|usage| (usage.input, usage.output, usage.cached));
            (facts.response_started, facts.done, facts.error, finish, usage)
        })
        .collect();
    let counts = |input, output, cached| Some((Some(input), Some(output), cached));
    assert_eq!(
        events,
        [
            (false, false, false, None, None),
            (true, false, false, None, None),
            (false, true, false, Some("completed"), counts(20, 10, Some(4))),
            (false, true, true, Some("failed"), None),
            (false, false, true, None, None),
            (false, true, false, None, counts(5, 7, None)),
        ]
    );
    assert_eq!(facts[0].model.as_deref(), Some("gpt-realtime"));
}

#[test]
fn the_transcript_is_the_output_of_a_transcription_session() {
    let delta = r#"{"type":"conversation.item.input_audio_transcription.delta","delta":"word"}"#;
    let completed = r#"{"type":"conversation.item.input_audio_transcription.completed",
        "transcript":"whole","usage":{"type":"tokens","input_tokens":9,"output_tokens":3}}"#;
    let failed = r#"{"type":"conversation.item.input_audio_transcription.failed","error":{}}"#;
    let created = r#"{"session":{"type":"transcription"},"type":"session.created"}"#;
    for created in [created, r#"{"type":"transcription_session.created"}"#] {
        assert_eq!(last_output(&[created, delta]), (4, 0, true));
        assert_eq!(
            last_output(&[created, delta, completed]),
            (0, 0, false),
            "it repeats the deltas"
        );
        assert_eq!(last_output(&[created, delta, completed, completed]), (5, 0, true), "Whisper's");
        let facts = session(&[created, delta, failed, completed]);
        assert!(facts[2].error && facts[2].done && facts[3].done);
        assert_eq!(facts[3].choices[0].answer_chars, 5, "a new item");
        assert_eq!(facts[3].usage.map(|usage| usage.output), Some(Some(3)));
    }
    let other = &session(&[completed])[0];
    assert_eq!((other.usage, other.done), (None, false), "what the user said costs no response");
}

#[test]
fn client_messages_that_request_a_response_are_detected() {
    let mut messages = ClientMessageReader::default();
    let mut requests_response = |message: &str| {
        message.as_bytes().chunks(3).for_each(|part| messages.push(part));
        messages.finish_message()
    };
    assert!(requests_response(r#"{"type":"response.create","response":{"type":"x"}}"#));
    assert!(requests_response(r#"{"event_id":"e","type":"input_audio_buffer.commit"}"#));
    assert!(!requests_response(r#"{"final":true,"type":"input_audio_buffer.commit"}"#));
    assert!(requests_response(r#"{"type":"input_audio_buffer.commit","final":false}"#));
    assert!(!requests_response(r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#));
    assert!(!requests_response(r#"{"type":"response.create""#));
    assert!(!requests_response(""));
    assert!(!requests_response("AAAA"));
    assert!(requests_response(r#"{"type":"response.create"}"#));
}
