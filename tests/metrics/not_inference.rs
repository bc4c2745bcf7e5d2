//! Requests that are not inference: replays of earlier streams, and tokenization. They are counted and logged, and are in no
//! metric of inference.

use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};

const REPLAY: &str = r#"data: {"type":"response.created","response":{"model":"m-1","output":[]}}

data: {"type":"response.output_text.delta","output_index":0,"delta":"Hi"}

data: {"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":9}}}

"#;

/// The only metrics with the operation of a request that is not inference.
const ALLOWED: [&str; 3] =
    ["streamgauge_requests_total", "streamgauge_arrivals_total", "streamgauge_in_flight_requests"];

/// Sends a request that gets this response. Returns its line of the request log, and fails if it is in a metric of
/// inference.
fn line(request: Vec<u8>, response: Vec<u8>, outcome: &str) -> Value {
    let is_cut = !response.ends_with(chat::LAST_CHUNK.as_bytes());
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.try_read_message();
        connection.send(&response);
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(request);
    if is_cut {
        client.read_to_end();
    } else {
        client.read_message();
    }
    let record = gauge.requests_when(1).remove(0);
    assert_eq!(record["outcome"], outcome, "{record}");
    let operation = format!("gen_ai_operation_name={}", record["operation"]);
    let scrape = gauge.scrape();
    for (series, value) in &scrape.0 {
        let is_allowed = ALLOWED.iter().any(|name| series.starts_with(name));
        assert!(is_allowed || !series.contains(&operation), "{series} {value}");
    }
    assert_eq!(scrape.sum("streamgauge_requests_total", &[&operation]), 1.0);
    for name in ["gen_ai_server_request_duration_seconds_count", "streamgauge_slo_requests_total"] {
        assert_eq!(scrape.sum(name, &[]), 0.0, "{name}");
    }
    record
}

fn assert_line(record: &Value, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&record[key], value, "{key}: {record}");
    }
}

#[test]
fn a_replay_has_counts_and_an_outcome_and_no_times() {
    let counts = json!({"operation": "replay", "path": "/v1/responses/*", "stream": true, "events": 3,
        "output_events": 1, "first_output_event": 1, "input_tokens": 5, "output_tokens": 9, "answer_chars": 2,
        "response_model": "m-1", "finish_reasons": ["completed"], "slo": {}, "cold": null});
    let no_times = json!({"ttft_s": null, "answer_s": null, "latency_s": null, "tpot_s": null,
        "characters_per_second": null, "max_gap_s": null, "burst_ratio": null, "queue_s": null,
        "queue_estimate_s": null});
    let get = b"GET /v1/responses/resp_1?stream=true HTTP/1.1\r\nHost: test\r\n\r\n".to_vec();
    let response = chat::stream_response(&[REPLAY.to_owned()]);
    let record = line(get.clone(), response.clone(), "ok");
    assert_line(&record, &counts);
    assert_line(&record, &no_times);
    let cut = response[..response.len() / 2].to_vec();
    assert_line(&line(get, cut, "truncated"), &no_times);
    // llama.cpp, from the middle of an event on. Its headers would be a queue wait.
    let events = [
        "ent\":\"lost\"}}]}\n\n".to_owned(),
        chat::content_event("Hi"),
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"system_fingerprint":"b10499-6d05498"}"#
            .to_owned()
            + "\n\n",
        chat::DONE.to_owned(),
    ];
    let get = b"GET /v1/stream/conversation-1?from=17 HTTP/1.1\r\nHost: test\r\n\r\n".to_vec();
    let record = line(get, chat::stream_response(&events), "ok");
    let counts = json!({"operation": "replay", "path": "/v1/stream/*", "answer_chars": 2, "unparsed": 0,
        "engine": "llama.cpp"});
    assert_line(&record, &counts);
    assert_line(&record, &no_times);
}

#[test]
fn tokenization_is_not_inference() {
    let response = chat::response("200 OK", "application/json", b"{\"count\":3}");
    for path in
        ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/responses/input_tokens"]
    {
        let request = chat::post(path, "Connection: close\r\n", b"{\"model\":\"m\"}");
        let record = line(request, response.clone(), "ok");
        let expected = json!({"operation": "tokenize", "path": path, "model": "m", "stream": false,
            "cold": null, "queue_s": null, "slo": {}});
        assert_line(&record, &expected);
    }
}
