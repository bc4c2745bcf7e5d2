//! Tests of chats as written by other servers: their characteristics, and that all equal their records.

use super::test_server::*;
use crate::server::*;
use crate::truth::TruthRecord;

async fn chat(server: &TestServer, flavor: &str, body: Value) -> (ObservedResponse, TruthRecord) {
    let mut body = body;
    let sim = json!({
        "flavor": flavor, "prompt_tokens": 40, "cached_tokens": 7, "output_tokens": 4, "reasoning_tokens": 2,
    });
    for (key, value) in sim.as_object().unwrap() {
        let sim = body["sim"].as_object_mut().unwrap();
        sim.entry(key.clone()).or_insert(value.clone());
    }
    server.post("/v1/chat/completions", body).await
}

fn request(usage: bool) -> Value {
    json!({"stream": true, "stream_options": {"include_usage": usage}, "sim": {}})
}

/// Returns the text of all deltas, for any key and format.
fn text_of(events: &[Value]) -> (String, String) {
    let delta = "/choices/0/delta";
    let at = |key: &str| joined(events, &format!("{delta}/{key}"));
    let typed = at("content/0/thinking/0/text");
    (at("content"), at("reasoning") + &at("reasoning_content") + &typed)
}

const FLAVORS: [&str; 14] = [
    "vllm",
    "sglang",
    "llamacpp",
    "tgi",
    "ollama",
    "groq",
    "cerebras",
    "deepseek",
    "mistral",
    "xai",
    "transformers",
    "mistralrs",
    "azure",
    "trtllm",
];

#[tokio::test]
async fn all_equal_their_records() {
    let server = start(quick()).await;
    for flavor in FLAVORS {
        let (response, record) = chat(&server, flavor, request(true)).await;
        assert!(response.complete, "{flavor}");
        assert_eq!(response.text.ends_with("data: [DONE]\n\n"), flavor != "transformers");
        let (answer, reasoning) = text_of(&response.data());
        assert_eq!(record.answer_chars, chars(&answer), "{flavor}: {}", response.text);
        assert_eq!(record.reasoning_chars, chars(&reasoning), "{flavor}: {}", response.text);
        assert_eq!((record.output_tokens, record.output_events), (6, 6), "{flavor}");
        let reported = record.reported;
        assert_eq!(
            (reported.input_tokens, reported.output_tokens),
            (Some(40), Some(6)),
            "{flavor}"
        );
        if let Some(prefill) = reported.prefill_s {
            assert!((prefill - 0.02).abs() < 1e-9, "{flavor}: {prefill}");
        }
        let body = json!({"stream": false, "sim": {}});
        let (response, record) = chat(&server, flavor, body).await;
        let message = &response.json()["choices"][0]["message"];
        let content = &message["content"];
        let text = content.as_str().or_else(|| content[1]["text"].as_str()).unwrap();
        assert_eq!(record.answer_chars, chars(text), "{flavor}: {}", response.text);
        assert_eq!(record.reported.output_tokens, Some(6), "{flavor}");
    }
}

#[tokio::test]
async fn tool_arguments_are_json() {
    let server = start(quick()).await;
    for flavor in FLAVORS {
        let mut body = request(false);
        body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        let (response, record) = chat(&server, flavor, body).await;
        let call = "/choices/0/delta/tool_calls/0/function";
        let events = response.data();
        let arguments = joined(&events, &format!("{call}/arguments"));
        assert_eq!(joined(&events, &format!("{call}/name")), "f", "{flavor}");
        assert!(serde_json::from_str::<Value>(&arguments).is_ok(), "{flavor}: {arguments}");
        assert_eq!(record.tool_chars, chars(&arguments), "{flavor}");
        assert_eq!(record.output_events, 6, "{flavor}: the name is output too");
    }
}

/// Characteristic parts of the recordings of each server.
#[tokio::test]
async fn each_has_its_characteristics() {
    let server = start(quick()).await;
    let table = [
        ("sglang", r#""delta":{"role":null,"content":null,"reasoning_content":"#),
        ("sglang", r#""finish_reason":"stop","matched_stop":1}],"usage":null}"#),
        ("llamacpp", r#""delta":{"role":"assistant","content":null}}]"#),
        ("llamacpp", r#""choices":[],"#),
        ("tgi", r#""delta":{"role":"assistant","content":"#),
        ("ollama", r#""system_fingerprint":"fp_ollama""#),
        ("groq", r#""x_groq":{"id":"req_test-1","usage":{"queue_time":0.000000000,"#),
        ("groq", r#""choices":[],"usage":{"queue_time":0.000000000,"#),
        ("cerebras", r#""time_info":{"created":"#),
        ("deepseek", r#""delta":{"role":"assistant","content":null,"reasoning_content":""}"#),
        ("mistral", r#""content":[{"type":"thinking","thinking":[{"type":"text","text":"#),
        ("mistral", r#""p":"abc"#),
        ("xai", r#","role":"assistant"}}],"system_fingerprint""#),
        ("xai", r#""completion_tokens":4,"total_tokens":46,"#),
        ("mistralrs", r#""total_prompt_time_sec":0.020000000"#),
        (
            "azure",
            r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results""#,
        ),
        ("trtllm", "\"stop_reason\":null}]} \n\n"),
        ("trtllm", r#""content":"","reasoning_content":"#),
    ];
    for (flavor, needle) in table {
        let (response, _) = chat(&server, flavor, request(true)).await;
        assert!(response.text.contains(needle), "{flavor}: {needle}: {}", response.text);
    }
    let (response, record) = chat(&server, "llamacpp", request(false)).await;
    assert!(
        response.text.contains(r#""timings":{"cache_n":7,"prompt_n":33,"prompt_ms":20.000000"#)
    );
    assert_eq!(record.reported.output_tokens, Some(6), "timings, though nobody asked");
    assert_eq!(
        response.frames[0].as_ref().windows(6).filter(|w| w == b"data: ").count(),
        2,
        "packed"
    );
    let (response, record) = chat(&server, "azure", request(false)).await;
    assert_eq!(
        (response.data()[0]["choices"].as_array().unwrap().len(), record.reported.output_tokens),
        (0, None)
    );
    let mut body = request(true);
    body["sim"] = json!({"keep_alives": 3});
    let (response, _) = chat(&server, "deepseek", body.clone()).await;
    assert!(response.text.starts_with(": keep-alive\n\n: keep-alive\n\n: keep-alive\n\ndata: "));
    body["stream"] = json!(false);
    let (response, _) = chat(&server, "deepseek", body).await;
    assert!(response.text.starts_with("\n\n\n{"), "blank lines before the body");
}

#[tokio::test]
async fn usage_of_several_choices_adds_up() {
    let server = start(quick()).await;
    let mut body = request(true);
    body["n"] = json!(2);
    let (response, record) = chat(&server, "llamacpp", body).await;
    let events = response.data();
    let usages: Vec<u64> =
        events.iter().filter_map(|event| event["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!((usages, record.output_tokens), (vec![6, 6], 12), "once per choice");
    assert_eq!(record.reported.output_tokens, Some(12));
}

#[tokio::test]
async fn role_can_be_sent_long_before_the_first_token() {
    let server = start(quick()).await;
    let (response, record) = chat(&server, "transformers", request(false)).await;
    assert_eq!(response.data()[0]["choices"][0]["delta"], json!({"role": "assistant"}));
    assert!(response.events[1].0 - response.events[0].0 >= ms(12), "before the prefill");
    assert!(record.ttft_s.unwrap() >= 0.02);
    assert_eq!(record.reported.output_tokens, Some(6), "with the end of the choice");
}

#[tokio::test]
async fn vllm_reports_times_on_request_and_unknown_flavors_are_rejected() {
    let server = start(quick()).await;
    let mut body = request(true);
    body["sim"] = json!({"metrics": true});
    let (response, record) = chat(&server, "vllm", body).await;
    let events = response.data();
    let metrics = &events.last().unwrap()["metrics"];
    assert_eq!(
        (&metrics["time_to_first_token_ms"], &metrics["mean_itl_ms"]),
        (&json!(20.0), &json!(5.0))
    );
    assert_eq!((record.reported.queue_s, record.reported.decode_s), (Some(0.0), Some(0.025)));
    let (response, _) = chat(&server, "klingon", request(true)).await;
    assert_eq!(response.status, 400);
}
