//! Tests of complete responses: their format, usage and times.

use super::test_server::*;
use crate::server::*;
use crate::truth::{ReportedValues, TruthEnd};

#[tokio::test]
async fn streamed_chat_equals_its_record() {
    let server = start(quick()).await;
    let response = server
        .chat(json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "0123456789abcdef"}],
            "sim": {"output_tokens": 20, "reasoning_tokens": 10},
        }))
        .await;
    let record = server.record().await;

    assert!(response.complete && response.done());
    let chunks = response.chunks();
    assert_eq!(chunks.len(), 1 + 30 + 1 + 1, "role, tokens, finish, usage");
    let delta = &chunks[0]["choices"][0]["delta"];
    assert_eq!(*delta, json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks[31]["choices"][0]["finish_reason"], "stop");
    let usage = &chunks[32]["usage"];
    assert_eq!(chunks[32]["choices"], json!([]));
    assert_eq!(usage["prompt_tokens"], 4);
    assert_eq!(usage["completion_tokens"], 30);
    assert_eq!(usage["total_tokens"], 34);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 10);

    assert_eq!(record.end, TruthEnd::Finished);
    assert_eq!(record.status, Some(200));
    assert_eq!(record.request_id.as_deref(), Some("test-1"));
    assert_eq!(record.path, "/v1/chat/completions");
    assert_eq!((record.output_tokens, record.reasoning_tokens), (30, 10));
    assert_eq!((record.prompt_tokens, record.output_events), (4, 30));
    let characters = |text: String| text.chars().count() as u64;
    assert_eq!(record.answer_chars, characters(response.text(0, "/content")));
    let reasoning = characters(response.text(0, "/reasoning_content"));
    assert_eq!(record.reasoning_chars, reasoning);

    // The client's clock and the record agree within the wake-up time of a loaded machine.
    let near = |a: f64, b: Duration| (a - b.as_secs_f64()).abs() < 0.05;
    let outputs = response.outputs();
    assert_eq!(outputs.len(), 30);
    assert!(near(record.ttft_s.unwrap(), outputs[0]), "{record:?}");
    assert!(near(record.latency_s.unwrap(), outputs[29]), "{record:?}");
    assert!(record.ttft_s.unwrap() >= 0.020, "{record:?}");
    let tpot = record.tpot_s.unwrap();
    assert!((0.0045..0.008).contains(&tpot), "5 ms a token: {tpot}");
    let sum = record.ttft_s.unwrap() + tpot * 29.0;
    assert!((sum - record.latency_s.unwrap()).abs() < 1e-9);
    assert!(record.first_sent >= record.model_first_token);
    assert!(record.last_sent >= record.model_last_token);
    assert_eq!((record.queue_s, record.load_s), (Some(0.0), Some(0.0)));
    let reported = ReportedValues {
        input_tokens: Some(4),
        output_tokens: Some(30),
        cached_tokens: Some(0),
        reasoning_tokens: Some(10),
        ..ReportedValues::default()
    };
    assert_eq!(record.reported, reported);
}

#[tokio::test]
async fn response_without_streaming_has_usage() {
    let server = start(quick()).await;
    let body = json!({"messages": [], "max_tokens": 8, "sim": {"reasoning_tokens": 2}});
    let response = server.chat(body).await;
    let (record, json) = (server.record().await, response.json());
    let choice = &json["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(json["usage"]["completion_tokens"], 10);
    let content = choice["message"]["content"].as_str().unwrap();
    assert_eq!(record.answer_chars, content.chars().count() as u64);
    assert_eq!((record.output_tokens, record.output_events), (10, 0));
    assert_eq!((record.stream, record.ttft_s, record.tpot_s), (false, None, None));
    assert!(record.latency_s.unwrap() >= 0.020 + 9.0 * 0.005);
    assert_eq!(record.end, TruthEnd::Finished);
}

#[tokio::test]
async fn completions_have_text_but_no_role() {
    let server = start(quick()).await;
    let body = json!({"prompt": "x", "stream": true, "max_tokens": 3, "sim": {"usage": "both"}});
    let response = server.see("POST", "/v1/completions", body).await;
    let chunks = response.chunks();
    assert_eq!(chunks.len(), 3 + 1 + 1);
    assert_eq!(chunks[0]["object"], "text_completion");
    assert!(!chunks[0]["choices"][0]["text"].as_str().unwrap().is_empty());
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "length");
    for chunk in &chunks[3..] {
        assert_eq!(chunk["usage"]["completion_tokens"], 3);
    }
}

#[tokio::test]
async fn tool_call_has_a_name_then_fragments_of_arguments() {
    let server = start(quick()).await;
    let tools = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    let body = json!({"stream": true, "tools": tools, "sim": {"output_tokens": 6}});
    let response = server.chat(body).await;
    let record = server.record().await;
    let name = response.text(0, "/tool_calls/0/function/name");
    let arguments = response.text(0, "/tool_calls/0/function/arguments");
    assert_eq!(name, "get_weather");
    assert!(serde_json::from_str::<Value>(&arguments).unwrap()["query"].is_string());
    assert_eq!(response.outputs().len(), 6);
    let chunks = response.chunks();
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!((record.answer_chars, record.tool_chars), (0, arguments.chars().count() as u64));
}

#[tokio::test]
async fn choices_interleave_and_their_tokens_add_up() {
    let server = start(quick()).await;
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let body = json!({"stream": true, "stream_options": options, "n": 2, "max_tokens": 5});
    let response = server.chat(body).await;
    let record = server.record().await;
    let chunks = response.chunks();
    assert_eq!(chunks.len(), 2 + 10 + 2 + 1);
    let running: Vec<u64> =
        chunks.iter().map(|chunk| chunk["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(running, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10]);
    let (first, second) = (response.text(0, "/content"), response.text(1, "/content"));
    assert_ne!(first, second);
    assert_eq!(record.answer_chars as usize, first.chars().count() + second.chars().count());
    assert_eq!((record.output_tokens, record.tpot_s), (10, None));
}

#[tokio::test]
async fn scripts_change_the_stream() {
    let server = start(quick()).await;
    let request = |sim: Value| json!({"stream": true, "sim": sim});
    let response = server
        .chat(request(json!({"output_tokens": 7, "reasoning_tokens": 3, "tokens_per_event": 2})))
        .await;
    let record = server.record().await;
    assert_eq!((record.output_tokens, record.output_events), (10, 2 + 4));
    assert_eq!(response.outputs().len(), 6, "an event never mixes reasoning and answer");

    let response = server.chat(request(json!({"output_tokens": 2, "no_done": true}))).await;
    assert!(response.complete && !response.done());
    assert_eq!(server.record().await.end, TruthEnd::Finished);

    let response = server.chat(request(json!({"output_tokens": 2, "role_first": true}))).await;
    assert!(
        response.events[1].0 - response.events[0].0 >= ms(12),
        "the role comes before the prefill"
    );
    assert_eq!(response.chunks().len(), 1 + 2 + 1);
}
