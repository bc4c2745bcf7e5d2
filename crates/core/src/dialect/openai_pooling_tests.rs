//! Documents of models that do not generate text, reduced to the fields that are parsed.

use super::*;
use crate::dialect::ResponseReader;

#[test]
fn only_input_tokens_are_counted() {
    let cases = [
        // platform.openai.com/docs/api-reference/embeddings.
        (
            r#"{"object":"list","data":[{"embedding":[-0.25,1e-3]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Some(8),
        ),
        // Embeddings of Voyage and Jina, ranks of vLLM and Jina.
        (r#"{"data":[],"model":"e","usage":{"total_tokens":10}}"#, Some(10)),
        (
            r#"{"results":[{"index":0,"relevance_score":0.9}],"model":"e","usage":{"total_tokens":56}}"#,
            Some(56),
        ),
        // Scores of vLLM: its output count does not apply.
        (
            r#"{"data":[{"score":1}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0,"prompt_tokens_details":null}}"#,
            Some(14),
        ),
        // No counts: moderation of OpenAI, embeddings of llama.cpp (a plain list), ranks of TEI (a plain list).
        (r#"{"model":"e","results":[{"flagged":false}]}"#, None),
        (r#"[{"index":0,"embedding":[[0.1,0.2]]}]"#, None),
        (r#"{"model":"e","usage":{"prompt_tokens":0,"total_tokens":0}}"#, None),
    ];
    for dialect in [&EMBEDDINGS, &POOLING] {
        for (data, expected) in cases {
            let mut reader = ResponseReader::new(dialect);
            data.as_bytes().chunks(9).for_each(|part| reader.push(part));
            let facts = reader.finish_event(b"");
            assert_eq!(facts.usage.and_then(|usage| usage.total_input()), expected, "{data}");
            assert_eq!(facts.usage.and_then(|usage| usage.total_output()), None, "{data}");
            assert_eq!((facts.unparsed, facts.choices.len()), (None, 0), "{data}");
            assert_eq!(facts.model.as_deref(), data.contains("model").then_some("e"), "{data}");
        }
    }
}
