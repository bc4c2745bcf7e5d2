//! Realtime sessions over a WebSocket: frames of both sides arrive, and each response is measured.

use crate::support::{Disturbance, RawConnection, ScriptedUpstream, Streamgauge};
use std::time::Duration;

/// The upgrade request of OpenAI's Realtime API.
const ASK: &str = "GET /v1/realtime?model=gpt%2Drealtime HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Accept: def\r\n\r\n";
const CREATE: &str = r#"{"type":"response.create"}"#;

/// A WebSocket frame of the server.
fn frame(opcode: u8, payload: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ ..126 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(payload.as_bytes());
    frame
}

fn text(message: &str) -> Vec<u8> {
    frame(1, message)
}

/// A masked WebSocket frame of the client, with a payload of at most 125 bytes.
fn masked(opcode: u8, payload: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend(mask);
    frame.extend(payload.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The upgrade request of Codex.
const RESPONSES: &str = "GET /v1/responses HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
                   OpenAI-Beta: responses_websockets=2026-02-06\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn response(connection: &mut RawConnection) {
    connection.read_exactly(masked(1, CREATE).len()).unwrap();
    connection.send(text(r#"{"type":"response.created","response":{"status":"in_progress"}}"#));
    std::thread::sleep(Duration::from_millis(50));
    for word in ["Good", " day"] {
        connection
            .send(text(&format!(r#"{{"type":"response.output_text.delta","delta":"{word}"}}"#)));
        std::thread::sleep(Duration::from_millis(20));
    }
    connection.send(text(
        r#"{"type":"response.done","response":{"status":"completed","usage":
            {"total_tokens":15,"input_tokens":10,"output_tokens":5,"input_token_details":{"cached_tokens":4}}}}"#,
    ));
}

#[test]
fn each_response_of_a_session_has_its_own_ttft() {
    let disturbance = Disturbance::watch();
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        let created =
            r#"{"type":"session.created","session":{"type":"realtime","model":"gpt-realtime-1"}}"#;
        connection.send([SWITCH.as_bytes(), &text(created)].concat());
        response(connection);
        response(connection);
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(ASK);
    client.read_head().unwrap();
    for _ in 0..2 {
        // The user pauses.
        std::thread::sleep(Duration::from_millis(300));
        client.send(masked(1, CREATE));
        client.read_until(b"cached_tokens\":4}}}}").unwrap();
    }
    client.send(masked(8, ""));
    drop(client);
    let record = gauge.requests_when(1).remove(0);
    let expected = serde_json::json!({
        "outcome": "ok", "status": 101, "operation": "realtime", "path": "/v1/realtime", "stream": true,
        "dialect": "openai-realtime", "model": "gpt-realtime", "response_model": "gpt-realtime-1",
        "events": 9, "output_events": 4, "chunks": 4, "answer_chars": 16, "input_tokens": 20,
        "output_tokens": 10, "output_tokens_source": "usage", "cached_tokens": 8,
        "finish_reasons": ["completed", "completed"], "ttft_s": null, "latency_s": null, "tpot_s": null,
        "unparsed": 0,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(record[key], *value, "{key}: {record}");
    }
    let scrape = gauge.scrape();
    let model = &["gen_ai_request_model=\"gpt-realtime\""];
    let sum = |name: &str| scrape.sum(name, model);
    assert_eq!(sum("gen_ai_server_time_to_first_token_seconds_count"), 2.0);
    let ttft = sum("gen_ai_server_time_to_first_token_seconds_sum");
    assert!(
        ttft >= 0.1 && ttft < disturbance.allow(0.3),
        "two waits of 50 ms, and none of 300 ms: {ttft}"
    );
    assert_eq!(sum("streamgauge_inter_token_latency_seconds_count"), 2.0, "one gap a response");
    assert_eq!(sum("streamgauge_tokens_total"), 30.0);
    assert_eq!(sum("streamgauge_latency_seconds_count"), 0.0);
    assert_eq!(sum("gen_ai_server_request_duration_seconds_count"), 1.0);
    scrape.assert_balanced();
}

/// The model is in the client's messages, not in the URL.
#[test]
fn a_session_of_the_responses_api_is_measured() {
    let create =
        r#"{"type":"response.create","model":"gpt-5.6","previous_response_id":"r","input":"x"}"#;
    let disturbance = Disturbance::watch();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        for _ in 0..3 {
            connection.read_exactly(masked(1, create).len()).unwrap();
            connection.send(text(
                r#"{"type":"response.created","response":{"status":"in_progress","output":[]}}"#,
            ));
            std::thread::sleep(Duration::from_millis(50));
            for word in ["Good", " day"] {
                connection.send(text(&format!(
                    r#"{{"type":"response.output_text.delta","output_index":0,"delta":"{word}"}}"#
                )));
                std::thread::sleep(Duration::from_millis(20));
            }
            connection.send(text(
                r#"{"type":"response.completed","response":{"status":"completed","model":"gpt-5.6-1","output":[],
                    "usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}}"#,
            ));
        }
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(RESPONSES);
    client.read_head().unwrap();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        client.send(masked(1, create));
        client.read_until(b"total_tokens\":15}}}").unwrap();
    }
    client.send(masked(8, ""));
    drop(client);
    let record = gauge.requests_when(1).remove(0);
    let expected = serde_json::json!({
        "outcome": "ok", "status": 101, "operation": "realtime", "path": "/v1/responses", "stream": true,
        "dialect": "openai-responses", "model": "gpt-5.6", "response_model": "gpt-5.6-1",
        "events": 12, "output_events": 6, "answer_chars": 24, "input_tokens": 30, "output_tokens": 15,
        "output_tokens_source": "usage", "ttft_s": null, "latency_s": null, "unparsed": 0,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(record[key], *value, "{key}: {record}");
    }
    let scrape = gauge.scrape();
    let sum = |name: &str| scrape.sum(name, &["gen_ai_request_model=\"gpt-5.6\""]);
    assert_eq!(sum("gen_ai_server_time_to_first_token_seconds_count"), 3.0);
    let ttft = sum("gen_ai_server_time_to_first_token_seconds_sum");
    assert!(ttft >= 0.15 && ttft < disturbance.allow(0.4), "three waits of 50 ms: {ttft}");
    assert_eq!(sum("streamgauge_requests_total"), 1.0);
    assert_eq!(sum("streamgauge_tokens_total"), 45.0);
    scrape.assert_balanced();
}

/// A server that answers a request for a WebSocket like any other.
#[test]
fn a_refused_session_is_a_client_error() {
    let refused = crate::support::chat::response("426 Upgrade Required", "text/plain", b"no");
    let upstream = ScriptedUpstream::responding_with(refused);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(RESPONSES);
    assert_eq!(client.read_message().status(), 426);
    let record = gauge.assert_single_request("client_error");
    assert_eq!(
        (&record["operation"], &record["model"]),
        (&"realtime".into(), &serde_json::Value::Null)
    );
}
