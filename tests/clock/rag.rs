//! Calls that share a trace (embed, rerank, generate), and the time from the first call to the first token.

use crate::support::clock::assert_within;
use crate::support::connection::chunk;
use crate::support::upstream::EventReceiver;
use crate::support::{Bracket, Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const TRACE_TTFT: &str = "streamgauge_trace_time_to_first_token_seconds";
const GENERATE: &str = "/v1/chat/completions";
const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
const OTHER: &str = "traceparent: 00-00000000000000000000000000000001-00f067aa0ba902b7-01\r\n";

/// A server of all three operations. It reports when it sends the first output of each generation.
fn server() -> (ScriptedUpstream, EventReceiver<Bracket>) {
    let (report, first) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            std::thread::sleep(Duration::from_millis(30));
            if request.text().contains(GENERATE) {
                connection.send(chat::STREAM_HEAD);
                std::thread::sleep(Duration::from_millis(20));
                let event = chunk(chat::content_event("Hi"));
                report(Bracket::around(|| connection.send(event)).1);
                std::thread::sleep(Duration::from_millis(20));
                let rest = chat::finish_event() + chat::DONE;
                connection.send([chunk(rest), chat::LAST_CHUNK.into()].concat());
            } else {
                let body =
                    br#"{"object":"list","data":[],"results":[],"usage":{"total_tokens":3}}"#;
                connection.send(chat::response("200 OK", "application/json", body));
            }
        }
    });
    (upstream, first)
}

/// Sends one request, reads the response, and returns when the request was sent.
fn call(proxy: SocketAddr, path: &str, trace: &str) -> Bracket {
    let stream = path == GENERATE;
    let body = json!({"model": "m", "stream": stream, "input": "x", "query": "x", "documents": []});
    let mut client = RawConnection::connect(proxy);
    let request = chat::post(path, trace, body.to_string().as_bytes());
    let ((), sent) = Bracket::around(|| client.send(request));
    assert_eq!(client.read_message().status(), 200, "{path}");
    sent
}

fn trace_ttft(line: &Value) -> f64 {
    line["trace_ttft_s"].as_f64().unwrap_or_else(|| panic!("none in {line}"))
}

/// Runs the pipeline through these proxies of one Streamgauge.
fn assert_joined(
    gauge: &Streamgauge,
    [embed, rerank, generate]: [SocketAddr; 3],
    first: &EventReceiver<Bracket>,
    disturbance: &Disturbance,
) {
    let began = call(embed, "/v1/embeddings", TRACE);
    call(rerank, "/v1/rerank", TRACE);
    call(generate, GENERATE, TRACE);
    let truth = first.wait().since(began);
    let lines = gauge.requests_when(3);
    assert_within("trace TTFT", trace_ttft(&lines[2]), truth, disturbance.allow(0.002));
    let ttft = lines[2]["ttft_s"].as_f64().unwrap();
    assert!(
        trace_ttft(&lines[2]) > ttft + 0.06,
        "the two earlier calls took 30 ms each: {lines:?}"
    );
    assert!(lines[..2].iter().all(|line| line["trace_ttft_s"].is_null()), "{lines:?}");
    assert!(lines.iter().all(|line| line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"));
    let scrape = gauge.scrape();
    let labels = ["gen_ai_operation_name=\"chat\"", "gen_ai_request_model=\"m\""];
    assert_eq!(scrape.sum(&format!("{TRACE_TTFT}_count"), &labels), 1.0);
    let sum = scrape.sum(&format!("{TRACE_TTFT}_sum"), &[]);
    assert!((sum - trace_ttft(&lines[2])).abs() < 1e-6, "{sum}: {lines:?}");
}

#[test]
fn trace_ttft_starts_with_the_first_call() {
    let disturbance = Disturbance::watch();
    let (upstream, first) = server();
    let gauge = Streamgauge::new(upstream.address);
    assert_joined(&gauge, [gauge.proxy; 3], &first, &disturbance);
}

#[test]
fn trace_ttft_spans_two_proxies() {
    let disturbance = Disturbance::watch();
    let (models, _) = server();
    let (llm, first) = server();
    let proxy = |name: &str, upstream: &ScriptedUpstream| {
        let address = upstream.address;
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'http://{address}'\n"
        )
    };
    let gauge = Streamgauge::with_file(&(proxy("models", &models) + &proxy("llm", &llm)));
    let [models, llm] = *gauge.proxies else { panic!("not two proxies") };
    assert_joined(&gauge, [models, models, llm], &first, &disturbance);
    let count = format!("{TRACE_TTFT}_count");
    assert_eq!(gauge.scrape().sum(&count, &["upstream=\"llm\""]), 1.0);
}

#[test]
fn only_later_generations_of_a_trace_have_a_trace_ttft() {
    let disturbance = Disturbance::watch();
    let (upstream, first) = server();
    let gauge = Streamgauge::new(upstream.address);
    let began = call(gauge.proxy, GENERATE, TRACE);
    first.wait();
    // Requests that are not inference, or have another trace or none, do not belong to the trace.
    call(gauge.proxy, "/health", OTHER);
    let mut truth = Vec::new();
    for trace in [OTHER, "", TRACE, TRACE] {
        call(gauge.proxy, GENERATE, trace);
        truth.push(first.wait().since(began));
    }
    let lines = gauge.requests_when(6);
    for line in [&lines[0], &lines[2], &lines[3]] {
        assert!(line["trace_ttft_s"].is_null(), "{line}");
    }
    assert_within("second generation", trace_ttft(&lines[4]), truth[2], disturbance.allow(0.002));
    assert_within("third generation", trace_ttft(&lines[5]), truth[3], disturbance.allow(0.002));
    assert_eq!(gauge.scrape().sum(&format!("{TRACE_TTFT}_count"), &[]), 2.0);
}

/// A realtime session neither starts a trace nor ends one: its user is present all the time.
#[test]
fn a_realtime_session_has_no_trace_ttft() {
    let ask = format!(
        "GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n{TRACE}\r\n"
    );
    let event = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
    let delta = [&[0x81, u8::try_from(event.len()).unwrap()], event.as_bytes()].concat();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            if request.text().contains("websocket") {
                connection.send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: def\r\n\r\n",
                );
                connection.send(&delta);
                return;
            }
            connection.send(chat::stream_response(&[
                chat::content_event("Hi"),
                chat::finish_event(),
                chat::DONE.into(),
            ]));
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let session = |count: usize| {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(&ask);
        client.read_to_end();
        drop(client);
        gauge.requests_when(count)
    };
    session(1);
    call(gauge.proxy, GENERATE, TRACE);
    let lines = session(3);
    assert_eq!((&lines[0]["operation"], &lines[0]["status"]), (&json!("realtime"), &json!(101)));
    assert!(lines.iter().all(|line| line["trace_ttft_s"].is_null()), "{lines:?}");
    assert!(!gauge.scrape().has(&format!("{TRACE_TTFT}_count")));
}
