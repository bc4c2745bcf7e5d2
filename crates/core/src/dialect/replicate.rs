//! Replicate's streams of a prediction's output. Each event is plain text, and `done` ends the stream.

use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{JsonShape, Tag};
use super::{Dialect, StreamEnd, finish_reason};

/// Streams of predictions.
pub static STREAM: Dialect = Dialect::text("replicate", &ROOT, finish_event, StreamEnd::Event);

/// The `done` event is JSON, with a reason only if the prediction was canceled or failed.
static ROOT: JsonShape = JsonShape::path(&[("reason", &JsonShape::text(Tag::FinishReason))]);

fn finish_event(event: &mut EventBuilder, _: &mut StreamState, name: &[u8]) {
    let reason = event.choice.finish.take();
    match name {
        b"output" => event.choice.output().answer = event.text,
        b"done" => {
            event.facts.done = true;
            event.facts.error |= reason.as_deref() == Some("error");
            event.choice.finish = Some(reason.unwrap_or(finish_reason(name)));
        }
        _ => {}
    }
    event.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ResponseReader;

    /// Characters of the answer, finish reason, done, error.
    type PredictionEvent = (u64, Option<&'static str>, bool, bool);

    /// Source: replicate.com/docs/topics/predictions/streaming.
    #[test]
    fn events_have_output_errors_and_ends() {
        let cases: [(&str, &[&str], PredictionEvent); 8] = [
            ("output", &["Why", "\n", " \u{e9}"], (6, None, false, false)),
            ("output", &[], (0, None, false, false)),
            // JSON in an output event is text.
            ("output", &[r#"{"reason":"x"}"#], (14, None, false, false)),
            ("done", &["{}"], (0, Some("done"), true, false)),
            ("done", &[r#"{"reason":"canceled"}"#], (0, Some("canceled"), true, false)),
            ("done", &[r#"{"reason":"error"}"#], (0, Some("error"), true, true)),
            ("error", &["CUDA out of memory"], (0, None, false, true)),
            ("logs", &["loading"], (0, None, false, false)),
        ];
        let mut reader = ResponseReader::new(&STREAM);
        for (name, data, expected) in cases {
            data.iter().for_each(|part| reader.push(part.as_bytes()));
            let facts = reader.finish_event(name.as_bytes());
            assert_eq!(facts.unparsed, None, "{name} {data:?}");
            let choice = facts.choices.first();
            let found = (
                choice.map_or(0, |choice| choice.answer_chars),
                choice.and_then(|choice| choice.finish.as_deref()),
                facts.done,
                facts.error,
            );
            assert_eq!(found, expected, "{name} {data:?}");
            reader.clear_event();
        }
    }
}
