//! Chats in the manner of other servers: what each is known by, and that all of them keep to the truth.

use super::rig::*;
use crate::server::*;
use crate::truth::TruthRecord;

async fn chat(rig: &TestServer, flavor: &str, body: Value) -> (ObservedResponse, TruthRecord) {
    let mut body = body;
    let sim = json!({
        "flavor": flavor, "prompt_tokens": 40, "cached_tokens": 7, "output_tokens": 4, "reasoning_tokens": 2,
    });
    for (key, value) in sim.as_object().unwrap() {
        let sim = body["sim"].as_object_mut().unwrap();
        sim.entry(key.clone()).or_insert(value.clone());
    }
    rig.post("/v1/chat/completions", body).await
}

fn ask(usage: bool) -> Value {
    json!({"stream": true, "stream_options": {"include_usage": usage}, "sim": {}})
}

/// Everything that is said in the deltas, whatever the key and the form.
fn said(events: &[Value]) -> (String, String) {
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
async fn all_of_them_say_what_the_truth_says() {
    let rig = rig(quick()).await;
    for flavor in FLAVORS {
        let (seen, record) = chat(&rig, flavor, ask(true)).await;
        assert!(seen.complete, "{flavor}");
        assert_eq!(seen.text.ends_with("data: [DONE]\n\n"), flavor != "transformers");
        let (answer, reasoning) = said(&seen.data());
        assert_eq!(record.answer_chars, chars(&answer), "{flavor}: {}", seen.text);
        assert_eq!(record.reasoning_chars, chars(&reasoning), "{flavor}: {}", seen.text);
        assert_eq!((record.output_tokens, record.output_events), (6, 6), "{flavor}");
        let told = record.reported;
        assert_eq!((told.input_tokens, told.output_tokens), (Some(40), Some(6)), "{flavor}");
        if let Some(prefill) = told.prefill_s {
            assert!((prefill - 0.02).abs() < 1e-9, "{flavor}: {prefill}");
        }
        let body = json!({"stream": false, "sim": {}});
        let (seen, record) = chat(&rig, flavor, body).await;
        let message = &seen.json()["choices"][0]["message"];
        let content = &message["content"];
        let text = content.as_str().or_else(|| content[1]["text"].as_str()).unwrap();
        assert_eq!(record.answer_chars, chars(text), "{flavor}: {}", seen.text);
        assert_eq!(record.reported.output_tokens, Some(6), "{flavor}");
    }
}

#[tokio::test]
async fn each_calls_a_tool_with_arguments_that_are_json() {
    let rig = rig(quick()).await;
    for flavor in FLAVORS {
        let mut body = ask(false);
        body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        let (seen, record) = chat(&rig, flavor, body).await;
        let call = "/choices/0/delta/tool_calls/0/function";
        let events = seen.data();
        let arguments = joined(&events, &format!("{call}/arguments"));
        assert_eq!(joined(&events, &format!("{call}/name")), "f", "{flavor}");
        assert!(serde_json::from_str::<Value>(&arguments).is_ok(), "{flavor}: {arguments}");
        assert_eq!(record.tool_chars, chars(&arguments), "{flavor}");
        assert_eq!(record.output_events, 6, "{flavor}: the name is output too");
    }
}

/// Shapes that are easily taken for something else, as recorded of each server.
#[tokio::test]
async fn each_is_known_by_its_ways() {
    let rig = rig(quick()).await;
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
        let (seen, _) = chat(&rig, flavor, ask(true)).await;
        assert!(seen.text.contains(needle), "{flavor}: {needle}: {}", seen.text);
    }
    let (seen, record) = chat(&rig, "llamacpp", ask(false)).await;
    assert!(seen.text.contains(r#""timings":{"cache_n":7,"prompt_n":33,"prompt_ms":20.000000"#));
    assert_eq!(record.reported.output_tokens, Some(6), "timings, though nobody asked");
    assert_eq!(seen.frames[0].as_ref().windows(6).filter(|w| w == b"data: ").count(), 2, "packed");
    let (seen, record) = chat(&rig, "azure", ask(false)).await;
    assert_eq!(
        (seen.data()[0]["choices"].as_array().unwrap().len(), record.reported.output_tokens),
        (0, None)
    );
    let mut body = ask(true);
    body["sim"] = json!({"keep_alives": 3});
    let (seen, _) = chat(&rig, "deepseek", body.clone()).await;
    assert!(seen.text.starts_with(": keep-alive\n\n: keep-alive\n\n: keep-alive\n\ndata: "));
    body["stream"] = json!(false);
    let (seen, _) = chat(&rig, "deepseek", body).await;
    assert!(seen.text.starts_with("\n\n\n{"), "blank lines before the body");
}

#[tokio::test]
async fn usage_of_several_choices_is_put_together() {
    let rig = rig(quick()).await;
    let mut body = ask(true);
    body["n"] = json!(2);
    let (seen, record) = chat(&rig, "llamacpp", body).await;
    let events = seen.data();
    let usages: Vec<u64> =
        events.iter().filter_map(|event| event["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!((usages, record.output_tokens), (vec![6, 6], 12), "once per choice");
    assert_eq!(record.reported.output_tokens, Some(12));
}

#[tokio::test]
async fn a_role_may_come_long_before_the_first_token() {
    let rig = rig(quick()).await;
    let (seen, record) = chat(&rig, "transformers", ask(false)).await;
    assert_eq!(seen.data()[0]["choices"][0]["delta"], json!({"role": "assistant"}));
    assert!(seen.events[1].0 - seen.events[0].0 >= ms(12), "before the prefill");
    assert!(record.ttft_s.unwrap() >= 0.02);
    assert_eq!(record.reported.output_tokens, Some(6), "with the end of the choice");
}

#[tokio::test]
async fn vllm_tells_its_times_if_asked_and_nobody_speaks_in_tongues() {
    let rig = rig(quick()).await;
    let mut body = ask(true);
    body["sim"] = json!({"metrics": true});
    let (seen, record) = chat(&rig, "vllm", body).await;
    let events = seen.data();
    let metrics = &events.last().unwrap()["metrics"];
    assert_eq!(
        (&metrics["time_to_first_token_ms"], &metrics["mean_itl_ms"]),
        (&json!(20.0), &json!(5.0))
    );
    assert_eq!((record.reported.queue_s, record.reported.decode_s), (Some(0.0), Some(0.025)));
    let (seen, _) = chat(&rig, "klingon", ask(true)).await;
    assert_eq!(seen.status, 400);
}
