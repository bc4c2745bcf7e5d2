//! Tests of the vendors' APIs: Anthropic, Cohere, Gemini, Bedrock.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::test_server::*;
use crate::server::*;
use crate::truth::TruthEnd;

/// Returns the names of all server-sent events.
fn names(response: &ObservedResponse) -> Vec<&str> {
    response.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[tokio::test]
async fn anthropic_opens_and_closes_blocks() {
    let server = start(quick()).await;
    let sim = json!({
        "prompt_tokens": 40, "cached_tokens": 7, "cache_written_tokens": 5, "output_tokens": 3,
        "reasoning_tokens": 1, "keep_alives": 1,
    });
    let body = json!({"stream": true, "tools": [{"name": "get_weather"}], "sim": sim});
    let (response, record) = server.post("/v1/messages", body).await;
    let expected = [
        "message_start",
        "ping",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names(&response), expected);
    let events = response.data();
    for (name, event) in expected.iter().zip(&events) {
        assert_eq!(event["type"], **name);
    }
    let start = &events[0]["message"]["usage"];
    assert_eq!(start["output_tokens"], 3, "small, and no count");
    assert_eq!(
        (&start["input_tokens"], &start["cache_read_input_tokens"]),
        (&json!(28), &json!(7))
    );
    assert_eq!(events[5]["delta"]["type"], "signature_delta");
    assert_eq!(events[7]["content_block"]["name"], "get_weather");
    assert_eq!(events[8]["delta"]["partial_json"], "", "the first piece is empty");
    let arguments = joined(&events, "/delta/partial_json");
    assert!(serde_json::from_str::<Value>(&arguments).unwrap()["query"].is_string());
    assert_eq!(events[12]["delta"]["stop_reason"], "tool_use");
    assert_eq!(events[12]["usage"]["output_tokens"], 4);
    assert!(response.text.contains("  }\n"), "padded: {}", response.text);
    // A thought, the name, and two parts of the arguments.
    assert_eq!((record.output_tokens, record.output_events), (4, 4));
    assert_eq!((record.tool_chars, record.answer_chars), (chars(&arguments), 0));
}

#[tokio::test]
async fn anthropic_error_reports_no_output() {
    let server = start(quick()).await;
    let sim = json!({"output_tokens": 9, "error_after": 2});
    let (response, record) = server.post("/v1/messages", json!({"stream": true, "sim": sim})).await;
    assert_eq!(names(&response).last(), Some(&"error"));
    assert_eq!(record.end, TruthEnd::Errored);
    assert_eq!((record.reported.input_tokens, record.reported.output_tokens), (Some(1), None));
    let sim = json!({"output_tokens": 2, "no_done": true});
    let (response, _) = server.post("/v1/messages", json!({"stream": true, "sim": sim})).await;
    assert_eq!(names(&response).last(), Some(&"message_delta"));
}

#[tokio::test]
async fn older_anthropic_api_ends_with_a_reason() {
    let server = start(quick()).await;
    let body = json!({"stream": true, "prompt": "x", "max_tokens_to_sample": 2});
    let (response, _) = server.post("/v1/complete", body).await;
    assert_eq!(names(&response), ["completion", "ping", "completion", "completion"]);
    let events = response.data();
    assert!(events[2]["stop_reason"].is_null());
    assert_eq!(
        (&events[3]["completion"], &events[3]["stop_reason"]),
        (&json!(""), &json!("max_tokens"))
    );
}

#[tokio::test]
async fn cohere_bills_other_tokens_than_it_generates() {
    let server = start(quick()).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let sim = json!({"prompt_tokens": 40, "output_tokens": 3, "reasoning_tokens": 1});
    let (response, record) =
        server.post("/v2/chat", json!({"stream": true, "tools": tools, "sim": sim})).await;
    let expected = [
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-delta",
        "tool-call-end",
        "message-end",
    ];
    assert_eq!(names(&response), expected);
    assert!(response.done());
    let usage = &response.data()[8]["delta"]["usage"];
    assert_eq!(usage["billed_units"], json!({"input_tokens": 20, "output_tokens": 3}));
    let tokens = json!({"input_tokens": 40, "output_tokens": 4, "reasoning_tokens": 1});
    assert_eq!(usage["tokens"], tokens);
    assert_eq!((record.output_events, record.reported.output_tokens), (4, Some(4)));

    let (response, record) = server.post("/v1/chat", json!({"message": "x", "stream": true})).await;
    let lines = response.lines();
    let last = lines.last().unwrap();
    assert_eq!((&last["is_finished"], lines.len()), (&json!(true), 1 + 64 + 1));
    assert_eq!(last["response"]["text"], joined(&lines, "/text"), "the whole text again");
    assert_eq!(record.answer_chars, chars(&joined(&lines, "/text")));
}

#[tokio::test]
async fn gemini_ends_lines_with_crlf_and_counts_thoughts_separately() {
    let server = start(quick()).await;
    let body = json!({
        "contents": [{"role": "user", "parts": [{"text": "12345678"}]}],
        "generationConfig": {"maxOutputTokens": 3},
        "sim": {"reasoning_tokens": 2, "tokens_per_event": 2},
    });
    let path = "/v1beta/models/m:streamGenerateContent";
    let (response, record) = server.post(&format!("{path}?alt=sse"), body.clone()).await;
    assert_eq!(response.text.matches("}\r\n\r\n").count(), 1 + 2 + 1);
    assert_eq!(record.path, path);
    let events = response.data();
    let running: Vec<(u64, u64)> = events
        .iter()
        .map(|event| &event["usageMetadata"])
        .map(|usage| (usage["candidatesTokenCount"].as_u64(), usage["thoughtsTokenCount"].as_u64()))
        .map(|(candidates, thoughts)| (candidates.unwrap(), thoughts.unwrap()))
        .collect();
    assert_eq!(running, [(0, 2), (2, 2), (3, 2), (3, 2)]);
    assert_eq!(events[3]["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!((record.prompt_tokens, record.output_events), (2, 3));

    let (response, _) = server.post(path, body.clone()).await;
    assert_eq!(response.header("content-type"), "application/json; charset=UTF-8");
    assert!(response.text.starts_with("[{\n  \"candidates\": ["), "{}", response.text);
    assert!(
        response.text.contains("}\n,\r\n{") && response.text.ends_with("}\n]"),
        "{}",
        response.text
    );

    let mut body = body;
    body["tools"] = json!([{"functionDeclarations": [{"name": "f"}]}]);
    let (response, record) = server.post(&format!("{path}?alt=sse"), body).await;
    let call = &response.data()[1]["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!((&call["name"], record.output_events), (&json!("f"), 2));
    assert_eq!(record.tool_chars, chars(&call["args"].to_string()));
}

#[tokio::test]
async fn bedrock_reports_its_own_counts_and_latencies() {
    let server = start(quick()).await;
    let sim = json!({"prompt_tokens": 40, "output_tokens": 4});
    let (response, record) =
        server.post("/model/m/invoke-with-response-stream", json!({"sim": sim})).await;
    assert_eq!(response.header("content-type"), "application/vnd.amazon.eventstream");
    let last = String::from_utf8_lossy(response.frames.last().unwrap()).into_owned();
    let encoded = last.split("\"bytes\":\"").nth(1).unwrap().split('"').next().unwrap();
    let inner: Value = serde_json::from_slice(&STANDARD.decode(encoded).unwrap()).unwrap();
    let metrics = &inner["amazon-bedrock-invocationMetrics"];
    assert_eq!(
        (&metrics["inputTokenCount"], &metrics["outputTokenCount"]),
        (&json!(40), &json!(4))
    );
    assert_eq!(metrics["firstByteLatency"], 20);
    assert!(metrics["invocationLatency"].as_u64().unwrap() >= 35);
    assert_eq!((record.reported.ttft_s, record.reported.output_tokens), (Some(0.02), Some(4)));

    let (response, _) = server.post("/model/m/invoke", json!({"sim": sim})).await;
    assert_eq!(response.header("x-amzn-bedrock-output-token-count"), "4");

    let sim = json!({"output_tokens": 4, "error_after": 2});
    let (response, record) = server.post("/model/m/converse-stream", json!({"sim": sim})).await;
    assert!(String::from_utf8_lossy(response.frames.last().unwrap()).contains(":exception-type"));
    assert_eq!((record.end, record.output_events), (TruthEnd::Errored, 2));
}
