//! Documents of models that do not generate, cut down to what is read of them.

use super::*;
use crate::dialect::ResponseReader;

#[test]
fn input_is_all_there_is() {
    let cases = [
        // platform.openai.com/docs/api-reference/embeddings.
        (
            r#"{"object":"list","data":[{"embedding":[-0.25,1e-3]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Some(8),
        ),
        // Voyage's and Jina's embeddings; vLLM's and Jina's ranks.
        (r#"{"data":[],"model":"e","usage":{"total_tokens":10}}"#, Some(10)),
        (
            r#"{"results":[{"index":0,"relevance_score":0.9}],"model":"e","usage":{"total_tokens":56}}"#,
            Some(56),
        ),
        // vLLM's scores: what it generated is no count.
        (
            r#"{"data":[{"score":1}],"model":"e","usage":{"prompt_tokens":14,"total_tokens":14,"completion_tokens":0,"prompt_tokens_details":null}}"#,
            Some(14),
        ),
        // OpenAI's moderations count nothing, llama.cpp's embeddings are a bare list, TEI's ranks too.
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
