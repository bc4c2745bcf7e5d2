//! The engines' own APIs: fields of the request log.

use crate::support::connection::chunk;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

const SSE: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// The log line of a request to this path, whose response has these header lines and this body, in small
/// pieces.
fn logged(path: &str, headers: &str, body: &str) -> Value {
    let chunks: Vec<u8> = body.as_bytes().chunks(17).flat_map(chunk).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
    let answer = [head.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat();
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, "", br#"{"inputs":"Hi"}"#));
    assert_eq!(String::from_utf8_lossy(&client.read_message().data()), body, "{path}");
    gauge.requests_when(1).remove(0)
}

#[test]
fn fields_of_the_request_log_match_the_responses() {
    let cases = [
        (
            "/api/chat",
            LINES,
            concat!(
                r#"{"model":"qwen3","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
                "\n",
                r#"{"model":"qwen3","message":{"role":"assistant","content":"Hi"},"done":false}"#,
                "\n",
                r#"{"model":"qwen3","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":4000000000,"load_duration":1000000000,"prompt_eval_count":18,"prompt_eval_duration":500000000,"eval_count":7,"eval_duration":2000000000}"#,
                "\n",
            ),
            json!({"dialect": "ollama-chat", "operation": "chat", "engine": "ollama", "stream": true,
                "outcome": "ok", "events": 3, "first_output_event": 0, "last_output_event": 1,
                "answer_chars": 2, "reasoning_chars": 2, "input_tokens": 18, "output_tokens": 7,
                "output_tokens_source": "engine", "response_model": "qwen3", "finish_reasons": ["stop"],
                "engine_ttft_s": 1.5, "engine_load_s": 1.0, "engine_decode_s": 2.0, "engine_total_s": 4.0}),
        ),
        (
            "/api/generate",
            LINES,
            concat!(
                r#"{"model":"m","response":"Hi","done":false}"#,
                "\n",
                r#"{"error":"an error was encountered while running the model"}"#,
                "\n",
            ),
            json!({"dialect": "ollama-generate", "outcome": "stream_error", "output_tokens": 1,
                "output_tokens_source": "events"}),
        ),
        (
            "/api/generate",
            LINES,
            concat!(r#"{"model":"m","response":"Hi","done":false}"#, "\n"),
            json!({"outcome": "truncated"}),
        ),
        (
            "/api/embed",
            JSON,
            r#"{"model":"all-minilm","embeddings":[[0.1]],"total_duration":14000000,"prompt_eval_count":8}"#,
            json!({"dialect": "ollama-embed", "operation": "embeddings", "stream": false,
                "input_tokens": 8, "output_tokens": null, "engine_total_s": 0.014}),
        ),
        (
            "/generate_stream",
            SSE,
            concat!(
                r#"data:{"index":1,"token":{"id":5,"text":" A","logprob":-0.5,"special":false},"generated_text":null,"details":null}"#,
                "\n\n",
                ":\n\n",
                r#"data:{"index":2,"token":{"id":2,"text":"</s>","logprob":-0.5,"special":true},"generated_text":" A","details":{"finish_reason":"eos_token","generated_tokens":2,"seed":null}}"#,
                "\n\n",
            ),
            json!({"dialect": "tgi", "outcome": "ok", "events": 2, "output_events": 1, "answer_chars": 2,
                "output_tokens": 2, "output_tokens_source": "engine", "finish_reasons": ["eos_token"]}),
        ),
        (
            "/generate_stream",
            SSE,
            concat!(r#"data:{"error":"Model is overloaded","error_type":"overloaded"}"#, "\n\n"),
            json!({"dialect": "tgi", "outcome": "stream_error", "output_tokens": null}),
        ),
        (
            "/generate",
            SSE,
            concat!(
                r#"data: {"text":" A","output_ids":[5],"meta_info":{"id":"x","finish_reason":null,"prompt_tokens":5,"completion_tokens":1,"cached_tokens":0}}"#,
                "\n\n",
                r#"data: {"text":" A b","output_ids":[5,6,7],"meta_info":{"id":"x","finish_reason":{"type":"length","length":3},"prompt_tokens":5,"completion_tokens":3,"cached_tokens":0,"queue_time":0.25,"e2e_latency":0.5}}"#,
                "\n\n",
                "data: [DONE]\n\n",
            ),
            json!({"dialect": "sglang", "path": "/generate", "outcome": "ok", "events": 3,
                "output_events": 2, "answer_chars": 4, "input_tokens": 5, "output_tokens": 3,
                "output_tokens_source": "engine", "finish_reasons": ["length"], "queue_s": 0.25,
                "queue_source": "reported", "engine_total_s": 0.5}),
        ),
        (
            "/generate",
            "",
            concat!(r#"{"text": ["Once upon"]}"#, "\0", r#"{"text": ["Once upon a time"]}"#, "\0"),
            json!({"dialect": "vllm-generate", "outcome": "ok", "stream": true, "events": 2,
                "output_events": 2, "answer_chars": 7, "output_tokens_source": "events"}),
        ),
        (
            "/inference/v1/generate",
            SSE,
            concat!(
                r#"data: {"request_id":"r","choices":[{"index":0,"logprobs":null,"finish_reason":null,"token_ids":[5,6]}]}"#,
                "\n\n",
                r#"data: {"request_id":"r","choices":[{"index":0,"logprobs":null,"finish_reason":"stop","token_ids":[2]}]}"#,
                "\n\n",
                "data: [DONE]\n\n",
            ),
            json!({"dialect": "vllm-generate", "engine": "vllm", "outcome": "ok", "output_events": 2,
                "first_output_event": 0, "answer_chars": 0, "output_tokens": 3,
                "output_tokens_source": "engine", "finish_reasons": ["stop"]}),
        ),
        (
            "/completion",
            SSE,
            concat!(
                r#"data: {"index":0,"content":" A","tokens":[5],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":5}"#,
                "\n\n",
                r#"data: {"index":0,"content":"","tokens":[],"id_slot":0,"stop":true,"model":"m","tokens_predicted":2,"tokens_evaluated":5,"stop_type":"limit","timings":{"cache_n":2,"prompt_n":3,"prompt_ms":3.0,"predicted_n":2,"predicted_ms":4.0}}"#,
                "\n\n",
            ),
            json!({"dialect": "llamacpp", "engine": "llama.cpp", "outcome": "ok", "output_tokens": 2,
                "input_tokens": 5, "cached_tokens": 2, "finish_reasons": ["limit"],
                "engine_prefill_s": 0.003, "engine_decode_s": 0.004}),
        ),
        (
            "/completions",
            JSON,
            r#"[{"index":0,"content":"ab","stop":true,"tokens_predicted":2,"tokens_evaluated":3,"stop_type":"limit"},{"index":1,"content":"c","stop":true,"tokens_predicted":1,"tokens_evaluated":3,"stop_type":"eos"}]"#,
            json!({"dialect": "llamacpp", "path": "/v1/completions", "outcome": "ok", "answer_chars": 3,
                "input_tokens": 6, "output_tokens": 3, "finish_reasons": ["limit", "eos"]}),
        ),
        (
            "/v2/models/ensemble/generate_stream",
            SSE,
            concat!(
                r#"data: {"model_name":"ensemble","model_version":"1","text_output":""}"#,
                "\n\n",
                r#"data: {"model_name":"ensemble","model_version":"1","text_output":" very"}"#,
                "\n\n",
            ),
            json!({"dialect": "triton", "engine": "triton", "outcome": "ok", "events": 2,
                "first_output_event": 1, "answer_chars": 5, "model": "ensemble",
                "path": "/v2/models/{model}/generate_stream"}),
        ),
        (
            "/invocations",
            SSE,
            concat!(
                r#"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}"#,
                "\n\n",
                "data: [DONE]\n\n",
            ),
            json!({"dialect": "openai-chat", "operation": "infer", "outcome": "ok", "answer_chars": 2,
                "finish_reasons": ["stop"]}),
        ),
    ];
    for (path, content_type, body, expected) in cases {
        let headers = match content_type {
            "" => String::new(),
            kind => format!("Content-Type: {kind}\r\n"),
        };
        let record = logged(path, &headers, body);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&record[key], value, "{key} of {path}: {record}");
        }
        assert_eq!(record["unparsed"], 0, "{path}");
    }
}

/// TGI reports in response headers what the body of a document lacks.
#[test]
fn counts_and_times_are_read_from_response_headers() {
    let headers = "Content-Type: application/json\r\nx-compute-type: 1-nvidia-a10g\r\n\
        x-compute-time: 2.484567121\r\nx-total-time: 2484\r\nx-queue-time: 13\r\n\
        x-prompt-tokens: 16\r\nx-generated-tokens: 75\r\n";
    for path in ["/generate", "/", "/v1/chat/completions"] {
        let record = logged(path, headers, r#"{"generated_text":"Hello"}"#);
        let expected = json!({"engine": "tgi", "input_tokens": 16, "output_tokens": 75,
            "output_tokens_source": "engine", "queue_s": 0.013, "queue_source": "reported",
            "engine_total_s": 2.484567121});
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&record[key], value, "{key} of {path}: {record}");
        }
    }
    // The body has precedence.
    let body = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let record = logged("/v1/chat/completions", headers, body);
    assert_eq!(
        (&record["output_tokens"], &record["output_tokens_source"]),
        (&4.into(), &"usage".into())
    );
    // The headers of a stream come before its end, so they hold no total.
    let openai = |kind: &str| format!("Content-Type: {kind}\r\nopenai-processing-ms: 972\r\n");
    let record = logged("/v1/chat/completions", &openai(JSON), body);
    assert_eq!(record["engine_total_s"], 0.972);
    let record = logged("/v1/chat/completions", &openai(SSE), chat::DONE);
    assert_eq!(record["engine_total_s"], Value::Null);
}
