//! The calls of one trace: embed, rerank and generate, and what the user at the end of them waits.

use crate::support::upstream::Moment;
use crate::support::wire::chunk;
use crate::support::{Gauge, Upstream, Wire, against_the_clock, chat};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use streamgauge::config::Sources;
use streamgauge::tap::FaultInjection;

const TRACE_TTFT: &str = "streamgauge_trace_time_to_first_token_seconds";
const GENERATE: &str = "/v1/chat/completions";
const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
const OTHER: &str = "traceparent: 00-00000000000000000000000000000001-00f067aa0ba902b7-01\r\n";

/// A server of all three; it tells when it sent the first word of each generation.
fn server() -> (Upstream, Moment) {
    let (tell, first) = Moment::pair();
    let upstream = Upstream::each(move |_, wire| {
        while let Some(request) = wire.try_message() {
            std::thread::sleep(Duration::from_millis(30));
            if request.text().contains(GENERATE) {
                wire.send(chat::STREAM);
                std::thread::sleep(Duration::from_millis(20));
                tell(Instant::now());
                wire.send(chunk(chat::word("Hi")));
                std::thread::sleep(Duration::from_millis(20));
                let rest = chat::finish() + chat::DONE;
                wire.send([chunk(rest), chat::LAST.into()].concat());
            } else {
                let body =
                    br#"{"object":"list","data":[],"results":[],"usage":{"total_tokens":3}}"#;
                wire.send(chat::answer("200 OK", "application/json", body));
            }
        }
    });
    (upstream, first)
}

/// Sends one request and reads its answer; says when it was sent.
fn call(proxy: SocketAddr, path: &str, trace: &str) -> Instant {
    let stream = path == GENERATE;
    let body = json!({"model": "m", "stream": stream, "input": "x", "query": "x", "documents": []});
    let mut client = Wire::connect(proxy);
    let sent = Instant::now();
    client.send(chat::post(path, trace, body.to_string().as_bytes()));
    assert_eq!(client.message().status(), 200, "{path}");
    sent
}

fn trace_ttft(line: &Value) -> f64 {
    line["trace_ttft_s"].as_f64().unwrap_or_else(|| panic!("none in {line}"))
}

fn assert_near(told: f64, truth: Duration) {
    let truth = truth.as_secs_f64();
    println!("told {:.2} ms, true {:.2} ms", told * 1e3, truth * 1e3);
    assert!((told - truth).abs() < 0.003, "told {told}, true {truth}");
}

/// Runs the pipeline over these proxies, which must be of one process.
fn assert_joined(gauge: &Gauge, [embed, rerank, generate]: [SocketAddr; 3], first: &Moment) {
    let began = call(embed, "/v1/embeddings", TRACE);
    call(rerank, "/v1/rerank", TRACE);
    call(generate, GENERATE, TRACE);
    let truth = first.wait() - began;
    let lines = gauge.requests_when(3);
    assert_near(trace_ttft(&lines[2]), truth);
    let ttft = lines[2]["ttft_s"].as_f64().unwrap();
    assert!(trace_ttft(&lines[2]) > ttft + 0.06, "the two calls before took 30 ms each: {lines:?}");
    assert!(lines[..2].iter().all(|line| line["trace_ttft_s"].is_null()), "{lines:?}");
    assert!(lines.iter().all(|line| line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"));
    let scrape = gauge.scrape();
    let labels = ["gen_ai_operation_name=\"chat\"", "gen_ai_request_model=\"m\""];
    assert_eq!(scrape.sum(&format!("{TRACE_TTFT}_count"), &labels), 1.0);
    let sum = scrape.sum(&format!("{TRACE_TTFT}_sum"), &[]);
    assert!((sum - trace_ttft(&lines[2])).abs() < 1e-6, "{sum}: {lines:?}");
}

#[test]
fn from_the_first_call_to_the_first_token() {
    against_the_clock(|| {
        let (upstream, first) = server();
        let gauge = Gauge::new(upstream.address);
        assert_joined(&gauge, [gauge.proxy; 3], &first);
    });
}

#[test]
fn through_two_proxies() {
    against_the_clock(|| {
        let (models, _) = server();
        let (llm, first) = server();
        let file =
            std::env::temp_dir().join(format!("streamgauge-{}-rag.toml", std::process::id()));
        let proxy = |name: &str, upstream: &Upstream| {
            let address = upstream.address;
            format!(
                "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'http://{address}'\n"
            )
        };
        std::fs::write(&file, proxy("models", &models) + &proxy("llm", &llm)).unwrap();
        let flags = vec![("admin", "127.0.0.1:0".into())];
        let sources = Sources { file: Some(file.clone()), flags, ..Sources::default() };
        let gauge = Gauge::start(&sources, FaultInjection::default());
        std::fs::remove_file(file).unwrap();
        let [models, llm] = *gauge.proxies else { panic!("not two proxies") };
        assert_joined(&gauge, [models, models, llm], &first);
        let count = format!("{TRACE_TTFT}_count");
        assert_eq!(gauge.scrape().sum(&count, &["upstream=\"llm\""]), 1.0);
    });
}

#[test]
fn each_later_generation_and_no_other() {
    against_the_clock(|| {
        let (upstream, first) = server();
        let gauge = Gauge::new(upstream.address);
        let began = call(gauge.proxy, GENERATE, TRACE);
        first.wait();
        // What is no inference, and what is of another trace or of none, is no call of it.
        call(gauge.proxy, "/health", OTHER);
        let mut truth = Vec::new();
        for trace in [OTHER, "", TRACE, TRACE] {
            call(gauge.proxy, GENERATE, trace);
            truth.push(first.wait() - began);
        }
        let lines = gauge.requests_when(6);
        for line in [&lines[0], &lines[2], &lines[3]] {
            assert!(line["trace_ttft_s"].is_null(), "{line}");
        }
        assert_near(trace_ttft(&lines[4]), truth[2]);
        assert_near(trace_ttft(&lines[5]), truth[3]);
        assert_eq!(gauge.scrape().sum(&format!("{TRACE_TTFT}_count"), &[]), 2.0);
    });
}

/// A session's user is there all the time: it begins no trace, and is no end of one.
#[test]
fn no_session() {
    let ask = format!(
        "GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n{TRACE}\r\n"
    );
    let event = r#"{"type":"response.output_text.delta","delta":"Hi"}"#;
    let delta = [&[0x81, u8::try_from(event.len()).unwrap()], event.as_bytes()].concat();
    let upstream = Upstream::each(move |_, wire| {
        while let Some(request) = wire.try_message() {
            if request.text().contains("websocket") {
                wire.send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: def\r\n\r\n",
                );
                wire.send(&delta);
                return;
            }
            wire.send(chat::stream(&[chat::word("Hi"), chat::finish(), chat::DONE.into()]));
        }
    });
    let gauge = Gauge::new(upstream.address);
    let session = |count: usize| {
        let mut client = Wire::connect(gauge.proxy);
        client.send(&ask);
        client.rest();
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
