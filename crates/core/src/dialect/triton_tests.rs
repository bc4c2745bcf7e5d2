//! Events of Triton (`src/http_server.cc`, `extension_generate.md`).

use super::*;
use crate::dialect::{EventFacts, ResponseReader};

fn facts(event: &str) -> EventFacts {
    let mut reader = ResponseReader::new(&TRITON);
    reader.push(event.as_bytes());
    let facts = reader.finish_event(b"");
    assert_eq!(facts.unparsed, None, "{event}");
    EventFacts { choices: facts.choices.clone(), model: facts.model.clone(), ..*facts }
}

#[test]
fn text_output_is_the_answer() {
    let cases = [
        // triton_cli #86.
        (
            r#"{"batch_index":0,"cum_log_probs":0.0,"model_name":"gpt2","model_version":"1","output_log_probs":[0.0,0.0],"text_output":" very"}"#,
            5,
        ),
        // tensorrtllm_backend #632: the first event.
        (
            r#"{"context_logits":0.0,"model_name":"gpt2","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":""}"#,
            0,
        ),
        (r#"{"model_name":"gpt2","text_output":["ab","c"]}"#, 3),
        (r#"{"model_name":"gpt2","model_version":"1","OUTPUT":[1,2]}"#, 0),
    ];
    for (event, expected) in cases {
        let found = facts(event);
        assert_eq!(
            found.choices.first().map_or(0, |choice| choice.answer_chars),
            expected,
            "{event}"
        );
        assert_eq!(
            (found.model.as_deref(), found.detected_engine),
            (Some("gpt2"), Some(Engine::Triton))
        );
    }
    let error = facts(r#"{"error":"in ensemble 'ensemble', Encountered error"}"#);
    assert!(error.error && error.choices.is_empty());
}
