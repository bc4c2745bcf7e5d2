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
        (r#"{"fileData":{"mimeType":"video/mp4","fileUri":"gs://v"}}"#, "output"),
        // A draft of an image.
        (r#"{"inlineData":{"mimeType":"image/png","data":"iVBO"},"thought":true}"#, "draft"),
        (r#"{"text":"Hm","thought":true},{"inlineData":{"data":"iVBO"}}"#, "reasoning 2, output"),
        // Google runs the tool.
        (
            r#"{"toolCall":{"id":"1","toolType":"GOOGLE_SEARCH_WEB","args":{"queries":["a"]}}}"#,
            "tool 17",
        ),
        (r#"{"toolCall":{"toolType":"URL_CONTEXT","args":{}}}"#, ""),
        (
            r#"{"toolResponse":{"id":"1","toolType":"GOOGLE_SEARCH_WEB","response":{"text":"found"}}}"#,
            "",
        ),
        (r#"{"functionResponse":{"name":"f","response":{"a":1}}}"#, ""),
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
            (
                r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}"#,
                "ends as PROHIBITED_CONTENT",
            ),
            (
                r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
                "error",
            ),
        ],
    );
}

/// Source: `PartialArg` of Vertex AI, and `google.protobuf.Value`.
#[test]
fn partial_arguments_of_all_types_are_counted() {
    let cases = [
        (r#""stringValue":"New""#, "tool 3"),
        (r#""stringValue":"""#, ""),
        (r#""numberValue":50"#, "tool 2"),
        (r#""numberValue":-1.5"#, "tool 4"),
        (r#""numberValue":0"#, "tool 1"),
        (r#""boolValue":true"#, "tool 4"),
        (r#""boolValue":false"#, "tool 5"),
        (r#""nullValue":"NULL_VALUE""#, "tool 4"),
        (r#""nullValue":null"#, "tool 4"),
        (r#""structValue":{"a": 1}"#, "tool 7"),
        (r#""listValue":[1, 2]"#, "tool 5"),
        (r#""jsonPath":"$.a","willContinue":true"#, ""),
    ];
    for (value, expected) in cases {
        let call =
            format!(r#"{{"functionCall":{{"partialArgs":[{{"jsonPath":"$.a",{value}}}]}}}}"#);
        assert_eq!(part(&call), expected, "{value}");
    }
}

/// The numbers are those of the enums in Google's protobuf definitions of both APIs.
#[test]
fn finish_reasons_have_names() {
    let reason = |reason: &str| {
        let event = format!(r#"{{"candidates":[{{"finishReason":{reason}}}]}}"#);
        describe_events(&WHOLE, &[&event]).remove(0)
    };
    let cases = [
        (r#""STOP""#, "ends as STOP"),
        (r#""MALFORMED_FUNCTION_CALL""#, "ends as MALFORMED_FUNCTION_CALL"),
        ("1", "ends as STOP"),
        ("2", "ends as MAX_TOKENS"),
        ("3", "ends as SAFETY"),
        (r#""4""#, "ends as RECITATION"),
        ("11", "ends as IMAGE_SAFETY"),
        // BLOCKLIST on Vertex AI, LANGUAGE on Google AI.
        ("6", "ends as 6"),
        ("0", ""),
        (r#""FINISH_REASON_UNSPECIFIED""#, ""),
        ("null", ""),
    ];
    for (value, expected) in cases {
        assert_eq!(reason(value), expected, "{value}");
    }
    let two = r#"{"candidates":[{"finishReason":"STOP","finishReason":"SAFETY"}]}"#;
    assert_eq!(describe_events(&WHOLE, &[two]), ["ends as SAFETY"]);
}

#[test]
fn a_blocked_prompt_ends_choice_0() {
    let cases = [
        (
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9}}"#,
            "ends as SAFETY, input 9",
        ),
        (r#"{"promptFeedback":{"blockReason":"OTHER"},"candidates":[]}"#, "ends as OTHER"),
        (r#"{"promptFeedback":{"blockReason":3}}"#, "ends as BLOCKLIST"),
        (r#"{"promptFeedback":{"blockReason":"BLOCKED_REASON_UNSPECIFIED"}}"#, ""),
        (r#"{"promptFeedback":{"safetyRatings":[]}}"#, ""),
        (
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
            "answer 1",
        ),
        (
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"promptFeedback":{"blockReason":"SAFETY"}}"#,
            "answer 1",
        ),
        (r#"{"response":{"promptFeedback":{"blockReason":"SAFETY"}}}"#, "ends as SAFETY"),
    ];
    for (event, expected) in cases {
        assert_eq!(describe_events(&STREAM, &[event]), [expected], "{event}");
    }
}

/// Source: `google-gemini/gemini-cli`, Code Assist's `CaGenerateContentResponse`.
#[test]
fn responses_of_code_assist_are_unwrapped() {
    assert_events(
        &STREAM,
        &[
            (
                r#"{"response":{"candidates":[{"content":{"role":"model","parts":[{"text":"Yes"}]}}],"modelVersion":"gemini-3-pro"},"traceId":"t"}"#,
                "answer 3, model gemini-3-pro",
            ),
            (
                r#"{"response":{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":3}}}"#,
                "ends as STOP, input 4, output 5, reasoned 3",
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
