//! Tests of the APIs of the engines: Ollama, TGI, llama.cpp, SGLang, vLLM, Triton.

use super::test_server::*;
use crate::server::*;
use crate::truth::{ReportedValues, TruthEnd};

fn near(reported: Option<f64>, truth: Option<f64>) -> bool {
    reported.zip(truth).is_some_and(|(reported, truth)| (reported - truth).abs() < 1e-6)
}

/// A server with one slot, taken for 60 ms, and an initial model load of 80 ms.
async fn busy_server() -> TestServer {
    start(EngineSpec { slots: 1, load_time: ms(80), ..quick() }).await
}

/// Returns the time to the response headers and to the first body byte, for a request that waits for a load and then
/// for a slot, with its record.
async fn head_and_first(
    path: &str,
    body: Value,
) -> (Duration, Duration, crate::truth::TruthRecord) {
    let server = busy_server().await;
    let ahead = json!({"prompt": "x", "max_tokens": 9});
    let (_, (head, first)) = tokio::join!(server.see("POST", "/v1/completions", ahead), async {
        sleep(ms(5)).await;
        let began = Instant::now();
        let response = server.send("POST", path, &body).await;
        let head = began.elapsed();
        let mut body = response.into_body();
        let mut first = None;
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            frame.unwrap();
            first.get_or_insert(began.elapsed());
        }
        (head, first.unwrap())
    });
    let find = || server.truth.snapshot().into_iter().find(|record| record.path == path);
    while find().is_none() {
        sleep(ms(5)).await;
    }
    (head, first, find().unwrap())
}

#[tokio::test]
async fn headers_are_sent_when_the_real_server_sends_them() {
    let sim = json!({"output_tokens": 3});
    // The load takes 80 ms, the earlier request 60 ms, its own prefill 20 ms.
    for (path, more, expected) in [
        ("/generate_stream", json!({"inputs": "x"}), 0..40),
        ("/v1/messages", json!({}), 0..40),
        ("/completion", json!({}), 125..160),
        ("/api/chat", json!({}), 145..200),
        ("/v2/models/m/generate_stream", json!({}), 145..200),
    ] {
        let mut body = json!({"stream": true, "sim": sim});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (head, first, record) = head_and_first(path, body).await;
        assert!(expected.contains(&(head.as_millis() as u64)), "{path}: head after {head:?}");
        assert!(first >= head && record.ttft_s.unwrap() > 0.14, "{path}: {first:?} {record:?}");
    }
}

#[tokio::test]
async fn ollama_reports_nanoseconds_and_the_load_but_not_the_queue() {
    let (_, _, record) = head_and_first("/api/chat", json!({"sim": {"output_tokens": 3}})).await;
    let reported = record.reported;
    assert!(record.queue_s.unwrap() > 0.03 && record.load_s.unwrap() > 0.05, "{record:?}");
    assert!(near(reported.load_s, record.load_s.map(|load| load + 0.001)), "{record:?}");
    assert!(
        near(reported.prefill_s, Some(0.019)) && near(reported.decode_s, Some(0.010)),
        "{record:?}"
    );
    assert_eq!((reported.queue_s, reported.output_tokens), (None, Some(3)));
    assert!(reported.total_s.unwrap() >= record.latency_s.unwrap() - 0.002, "{record:?}");

    let server = start(quick()).await;
    let (response, _) = server.post("/api/generate", json!({"sim": {"output_tokens": 3}})).await;
    assert_eq!(response.header("content-type"), "application/x-ndjson");
    let lines = response.lines();
    assert_eq!((lines.len(), response.frames.len()), (4, 4), "streamed unless told otherwise");
    for line in &lines {
        let at = line["created_at"].as_str().unwrap();
        assert!(at.len() == "2026-08-17T08:22:52.061545Z".len() && at.ends_with('Z'), "{at}");
    }
    let last = &lines[3];
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!((&last["eval_count"], &last["eval_duration"]), (&json!(3), &json!(10_000_000)));
    assert_eq!(last["load_duration"], 1_000_000, "never quite zero");
}

#[tokio::test]
async fn ollama_holds_a_tool_call_back_until_it_is_complete() {
    let server = start(quick()).await;
    let tools = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    let sim = json!({"output_tokens": 6, "reasoning_tokens": 2});
    let (response, record) = server.post("/api/chat", json!({"tools": tools, "sim": sim})).await;
    let lines = response.lines();
    assert_eq!(lines.len(), 2 + 1 + 1, "thoughts, the call, the end");
    let call = &lines[2]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "get_weather");
    assert_eq!(record.tool_chars, chars(&call["arguments"].to_string()));
    assert_eq!((record.output_tokens, record.output_events, record.answer_chars), (8, 3, 0));
}

#[tokio::test]
async fn tgi_ends_with_the_text_and_has_its_times_in_headers() {
    let server = start(quick()).await;
    let sim = json!({"prompt_tokens": 9, "output_tokens": 3, "keep_alives": 2, "no_blank": true});
    let body = json!({"inputs": "abcde", "parameters": {"details": true}, "sim": sim});
    let (response, record) = server.post("/generate_stream", body.clone()).await;
    assert!(
        response.text.starts_with(":\n\n:\n\ndata:{\"index\":1,\"token\":{\"id\":"),
        "{}",
        response.text
    );
    assert!(!response.done());
    assert_eq!(
        (response.header("x-compute-characters"), response.header("x-queue-time")),
        ("5", "")
    );
    let events = response.data();
    assert_eq!(events.len(), 3, "one a token");
    assert!(events[1]["generated_text"].is_null());
    assert_eq!(events[2]["generated_text"], joined(&events, "/token/text"));
    let details = json!({"finish_reason": "eos_token", "generated_tokens": 3, "input_length": 9, "seed": null});
    assert_eq!(events[2]["details"], details);
    assert_eq!((record.output_events, record.reported.output_tokens), (3, Some(3)));

    let (response, record) = server.post("/generate", body.clone()).await;
    let number = |name| response.header(name).parse::<f64>().unwrap();
    assert_eq!((number("x-inference-time"), number("x-time-per-token")), (30.0, 10.0));
    assert_eq!((number("x-prompt-tokens"), number("x-generated-tokens")), (9.0, 3.0));
    assert!(number("x-total-time") >= 30.0 && number("x-compute-time") >= 0.030);
    assert_eq!(record.reported.queue_s, Some(0.0));
    let mut body = body;
    body["stream"] = json!(false);
    let (response, _) = server.post("/", body).await;
    assert!(response.json()[0]["generated_text"].is_string(), "`/` answers with an array");
}

#[tokio::test]
async fn llama_cpp_reports_progress_and_timings() {
    let server = start(quick()).await;
    let sim = json!({"prompt_tokens": 9, "cached_tokens": 4, "output_tokens": 3});
    let request = |path| {
        let body = json!({
            "stream": true, "return_progress": true, "timings_per_token": true, "sim": sim,
        });
        server.post(path, body)
    };
    for path in ["/completion", "/infill"] {
        let (response, record) = request(path).await;
        assert_eq!(response.header("server"), "llama.cpp");
        let events = response.data();
        assert_eq!(events.len(), 2 + 3 + 1);
        assert_eq!(events[0]["prompt_progress"]["processed"], 0);
        assert_eq!(
            events[1]["prompt_progress"],
            json!({"total": 9, "cache": 0, "processed": 9, "time_ms": 20})
        );
        assert_eq!(events[3]["timings"]["predicted_n"], 2);
        let last = &events[5];
        assert_eq!((&last["stop"], &last["stop_type"]), (&json!(true), &json!("eos")));
        assert_eq!((&last["tokens_predicted"], &last["tokens_evaluated"]), (&json!(3), &json!(9)));
        let timings = &last["timings"];
        assert_eq!((&timings["cache_n"], &timings["prompt_n"]), (&json!(4), &json!(5)));
        assert_eq!((&timings["prompt_ms"], &timings["predicted_ms"]), (&json!(20.0), &json!(10.0)));
        assert_eq!(timings["predicted_per_token_ms"], 5.0, "over n - 1");
        assert_eq!((record.output_events, record.reported.cached_tokens), (3, Some(4)));
    }
}

#[tokio::test]
async fn sglang_repeats_the_whole_text() {
    let server = start(quick()).await;
    let sim = json!({"output_tokens": 5, "tokens_per_event": 2, "metrics": true});
    let body = json!({"text": "abcdefgh", "stream": true, "sim": sim});
    let (response, record) = server.post("/generate", body).await;
    assert!(response.done());
    let events = response.data();
    let count = |event: &Value| event["meta_info"]["completion_tokens"].as_u64().unwrap();
    assert_eq!(events.iter().map(count).collect::<Vec<_>>(), [2, 4, 5]);
    let texts: Vec<&str> = events.iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert!(texts[1].starts_with(texts[0]) && texts[2].starts_with(texts[1]));
    assert_eq!(record.answer_chars, chars(texts[2]), "what is repeated is said once");
    assert_eq!(events[2]["output_ids"].as_array().unwrap().len(), 5);
    assert!(events[1]["meta_info"]["finish_reason"].is_null());
    let meta = &events[2]["meta_info"];
    assert_eq!(meta["finish_reason"]["type"], "stop");
    assert_eq!((&meta["queue_time"], &meta["first_token_latency"]), (&json!(0.0), &json!(0.02)));
    assert!(meta["e2e_latency"].as_f64().unwrap() >= 0.04);
    assert_eq!((record.reported.queue_s, record.reported.ttft_s), (Some(0.0), Some(0.02)));
    assert_eq!((record.output_events, record.prompt_tokens), (3, 2));
}

#[tokio::test]
async fn token_ids_are_tokens_but_not_output() {
    let server = start(quick()).await;
    let body = json!({
        "token_ids": [1, 2, 3], "stream": true, "sampling_params": {"max_tokens": 4, "n": 2},
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    });
    let (response, record) = server.post("/inference/v1/generate", body).await;
    assert!(response.done());
    let events = response.data();
    assert_eq!(events.len(), 2 * 4 + 1);
    assert_eq!(events[6]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[6]["usage"]["completion_tokens"], 4, "of its own choice");
    assert_eq!(
        events[8]["usage"],
        json!({"prompt_tokens": 3, "total_tokens": 11, "completion_tokens": 8})
    );
    assert_eq!((record.output_tokens, record.output_events, record.answer_chars), (8, 0, 0));
    assert_eq!((record.ttft_s, record.end), (None, TruthEnd::Finished));
    let reported = ReportedValues {
        input_tokens: Some(3),
        output_tokens: Some(8),
        ..ReportedValues::default()
    };
    assert_eq!(record.reported, reported);
}

#[tokio::test]
async fn first_vllm_server_repeats_the_prompt_without_a_content_type() {
    let server = start(quick()).await;
    for (nul, end) in [(true, '\0'), (false, '\n')] {
        let sim = json!({"output_tokens": 3, "nul": nul});
        let body = json!({"prompt": "Once \"", "stream": true, "sim": sim});
        let (response, record) = server.post("/generate", body).await;
        assert_eq!(response.header("content-type"), "");
        let parts: Vec<&str> = response.text.split_terminator(end).collect();
        assert_eq!((parts.len(), record.output_events), (3, 3));
        let last: Value = serde_json::from_str(parts[2]).unwrap();
        let text = last["text"][0].as_str().unwrap().strip_prefix("Once \"").unwrap();
        assert_eq!(record.answer_chars, chars(text));
    }
}

#[tokio::test]
async fn triton_can_send_an_empty_first_event() {
    let server = start(quick()).await;
    let body = json!({"text_input": "x", "sim": {"output_tokens": 2, "empty_first": true}});
    let (response, record) = server.post("/v2/models/m/versions/1/generate_stream", body).await;
    let first = r#"data: {"model_name":"m","model_version":"1","text_output":""}"#;
    assert!(response.text.starts_with(first), "{}", response.text);
    assert_eq!((response.data().len(), record.output_events), (3, 2));
    assert_eq!((record.model.as_str(), record.reported), ("m", ReportedValues::default()));
}
