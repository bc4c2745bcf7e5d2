//! Audio and images, reduced to the fields that are parsed.

use super::*;
use crate::dialect::ResponseReader;

/// For each event: characters of the answer, whether there is output, whether the stream is done.
fn outputs(dialect: &'static Dialect, events: &[&str]) -> Vec<(u64, bool, bool)> {
    let mut reader = ResponseReader::new(dialect);
    let mut parse = |data: &&str| {
        data.as_bytes().chunks(7).for_each(|part| reader.push(part));
        let facts = reader.finish_event(b"");
        assert_eq!((facts.unparsed, facts.error), (None, false), "{data}");
        let choice = facts.choices.first().cloned().unwrap_or_default();
        let found = (choice.answer_chars, choice.has_output(), facts.done);
        reader.clear_event();
        found
    };
    events.iter().map(&mut parse).collect()
}

fn usage(dialect: &'static Dialect, data: &str) -> Option<(Option<u64>, Option<u64>)> {
    let mut reader = ResponseReader::new(dialect);
    reader.push(data.as_bytes());
    reader.finish_event(b"").usage.map(|usage| (usage.input, usage.output))
}

/// Source: platform.openai.com/docs/api-reference/audio. The speakers' segments repeat the deltas.
#[test]
fn transcribed_text_counts_once() {
    let delta = r#"{"type":"transcript.text.delta","delta":"Hey"}"#;
    let segment = r#"{"type":"transcript.text.segment","id":"s","start":0,"end":1,"text":"Hey","speaker":"A"}"#;
    let done = r#"{"type":"transcript.text.done","text":"Hey","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#;
    let (hey, nothing, end) = ((3, true, false), (0, false, false), (0, false, true));
    assert_eq!(outputs(&TRANSCRIPTION, &[delta, segment, delta, done]), [hey, nothing, hey, end]);
    assert_eq!(outputs(&TRANSCRIPTION, &[segment, segment, done]), [hey, hey, end]);
    assert_eq!(outputs(&TRANSCRIPTION, &[done]), [(3, true, true)]);
    assert_eq!(usage(&TRANSCRIPTION, done), Some((Some(14), Some(45))));
    // Plain events of the transformers server (transformers/cli/serving).
    let bare = r#"{"text":"Hey"}"#;
    assert_eq!(outputs(&TRANSCRIPTION, &[bare, bare]), [hey, hey]);
    // vLLM (vllm/entrypoints/openai/speech_to_text).
    let chunk = r#"{"object":"transcription.chunk","choices":[{"delta":{"content":"Hey"},"finish_reason":null}]}"#;
    let last = r#"{"object":"transcription.chunk","choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#;
    assert_eq!(outputs(&TRANSCRIPTION, &[chunk, chunk, last, "[DONE]"]), [hey, hey, nothing, end]);
    let document = r#"{"task":"transcribe","duration":1.5,"text":"Hey","segments":[{"text":"Hey"}],"usage":{"type":"duration","seconds":2}}"#;
    assert_eq!(outputs(&TRANSCRIPTION, &[document]), [hey]);
    assert_eq!(usage(&TRANSCRIPTION, document), None);
}

/// Source: platform.openai.com/docs/api-reference/audio/speech-audio-delta-event.
#[test]
fn speech_is_output_without_text() {
    let delta = r#"{"type":"speech.audio.delta","audio":"AAAA"}"#;
    let done = r#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#;
    assert_eq!(outputs(&SPEECH, &[delta, done]), [(0, true, false), (0, false, true)]);
    assert_eq!(usage(&SPEECH, done), Some((Some(14), Some(101))));
}

/// SGLang-Omni has the sound in an object, and ends with the usage.
#[test]
fn sound_in_an_object_is_output() {
    let chunk = |audio: &str, rest: &str| {
        format!(
            r#"{{"object":"audio.speech.chunk","index":0,"audio":{audio},"finish_reason":{rest}}}"#
        )
    };
    let usage_at_end =
        r#""stop","usage":{"prompt_tokens":4,"completion_tokens":9,"total_tokens":13}"#;
    let cases = [
        (chunk(r#"{"data":"UklG","format":"wav"}"#, "null"), true),
        (chunk(r#""UklG""#, "null"), true),
        (chunk(r#""""#, "null"), false),
        (chunk("null", "null"), false),
        (chunk("null", usage_at_end), false),
    ];
    for (event, expected) in &cases {
        assert_eq!(outputs(&SPEECH, &[event]), [(0, *expected, false)], "{event}");
    }
    assert_eq!(usage(&SPEECH, &chunk("null", usage_at_end)), Some((Some(4), Some(9))));
}

/// Source: platform.openai.com/docs/api-reference/images and images-streaming.
#[test]
fn images_are_output_without_text() {
    let usage_of = r#""usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}"#;
    for kind in ["image_generation", "image_edit"] {
        let partial = format!(
            r#"{{"type":"{kind}.partial_image","b64_json":"iVBO","partial_image_index":0}}"#
        );
        let done = format!(r#"{{"type":"{kind}.completed","b64_json":"iVBP",{usage_of}}}"#);
        assert_eq!(outputs(&IMAGES, &[&partial, &done]), [(0, true, false), (0, true, true)]);
        assert_eq!(usage(&IMAGES, &done), Some((Some(50), Some(50))));
    }
    let document = format!(r#"{{"created":1,"data":[{{"b64_json":"iVBO"}}],{usage_of}}}"#);
    assert_eq!(usage(&IMAGES, &document), Some((Some(50), Some(50))));
    assert_eq!(
        outputs(&IMAGES, &[&document, r#"{"data":[{"url":"https://x/y"}]}"#]),
        [(0, true, false); 2]
    );
}

#[test]
fn errors_are_detected() {
    for dialect in [&TRANSCRIPTION, &SPEECH, &IMAGES] {
        for data in [
            r#"{"type":"error","error":{"type":"image_generation_user_error"}}"#,
            r#"{"type":"error","code":"x","message":"boom"}"#,
            r#"{"error":{"message":"boom"}}"#,
        ] {
            let mut reader = ResponseReader::new(dialect);
            reader.push(data.as_bytes());
            assert!(reader.finish_event(b"").error, "{} {data}", dialect.name);
        }
    }
}
