//! Responses of Google's documentation (ai.google.dev, "GenerateContentResponse" and the pages on thinking, function
//! calling, code execution and image generation).

use super::super::test_support::{assert_events, describe_events};
use super::*;

/// Describes one part.
fn part(part: &str) -> String {
    let event = format!(r#"{{"candidates":[{{"content":{{"role":"model","parts":[{part}]}}}}]}}"#);
    describe_events(&WHOLE, &[&event]).remove(0)
}

#[test]
fn parts_are_text_reasoning_calls_or_media() {
    let cases = [
        (r#"{"text":"Hi"}"#, "answer 2"),
        (r#"{"text":"Hm","thought":true}"#, "reasoning 2"),
        (r#"{"thought":true,"text":"Hm"},{"text":"Hi"}"#, "answer 2, reasoning 2"),
        (r#"{"text":"Hi","thought":false}"#, "answer 2"),
        (r#"{"text":"","thoughtSignature":"Eo0H"}"#, ""),
        (r#"{"functionCall":{"name":"f","args":{}},"thoughtSignature":"Eo0H"}"#, "output"),
        (r#"{"functionCall":{"name":"f","args":{"a": "b"}}}"#, "tool 9"),
        (r#"{"functionCall":{"name":"f","willContinue":true}}"#, "output"),
        (
            r#"{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"New"}],"willContinue":true}}"#,
            "tool 3",
        ),
        (r#"{"executableCode":{"language":"PYTHON","code":"print(1)\n"}}"#, "tool 9"),
        (r#"{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1\n"}}"#, ""),
        (r#"{"inlineData":{"mimeType":"image/png","data":"iVBO"}}"#, "output"),
        ("", ""),
    ];
    for (it, expected) in cases {
        assert_eq!(part(it), expected, "{it}");
    }
}

#[test]
fn a_stream_has_running_counts() {
    assert_events(
        &STREAM,
        &[
            // The first usage of Vertex AI has no counts.
            (
                r#"{"candidates":[{"content":{"role":"model"}}],"usageMetadata":{"trafficType":"ON_DEMAND"},"modelVersion":"gemini-3-pro"}"#,
                "model gemini-3-pro",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"Let","thought":true}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"totalTokenCount":109,"thoughtsTokenCount":100},"modelVersion":"gemini-3-pro"}"#,
                "reasoning 3, input 9, output 100, reasoned 100",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"There"}],"role":"model"},"index":0},{"content":{"parts":[{"text":"No"}]},"index":1}],"usageMetadata":{"promptTokenCount":9,"cachedContentTokenCount":4,"candidatesTokenCount":10,"totalTokenCount":119,"thoughtsTokenCount":100,"toolUsePromptTokenCount":770}}"#,
                "answer 5, of choice 1, answer 2, input 9, cached 4, output 110, reasoned 100",
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":29}}"#,
                "ends as STOP, input 9, output 29",
            ),
            (r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#, ""),
            (
                r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
                "error",
            ),
        ],
    );
}

/// Source: `EmbedContentResponse`.
#[test]
fn embeddings_have_input_tokens() {
    let embedding = r#"{"embedding":{"values":[0.1,-0.2]},"usageMetadata":{"promptTokenCount":3}}"#;
    assert_events(&WHOLE, &[(embedding, "input 3")]);
}
