//! Queue waits that a server reports, or shows by when it sends the response headers, compared with the
//! simulated server's own record.

use crate::support::clock::assert_within;
use crate::support::connection::chunk;
use crate::support::sim::simulate;
use crate::support::{
    Disturbance, MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use streamgauge_sim::model::EngineSpec;
use streamgauge_sim::{TruthEnd, TruthRecord};

/// Number of concurrent requests to a server with one slot.
const AT_ONCE: usize = 4;

fn post(proxy: SocketAddr, path: &str, body: &Value) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::post(path, "", body.to_string().as_bytes()));
    assert_eq!(client.read_message().status(), 200, "{path}");
}

/// Sends concurrent requests. Returns the log lines and the true records, both ordered by queue wait.
fn queued(path: &'static str, body: &Value) -> (Vec<Value>, Vec<TruthRecord>, MetricsScrape) {
    let (server, truth) = simulate(EngineSpec { slots: 1, ..EngineSpec::new("sim") });
    let gauge = Streamgauge::new(server);
    if path == "/completion" {
        // The engine is detected from its response on another endpoint.
        post(gauge.proxy, "/v1/chat/completions", &streamed(json!({"flavor": "llamacpp"})));
        wait_for("the record", || truth.take().pop());
    }
    let before = gauge.requests().len();
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (proxy, body) = (gauge.proxy, body.clone());
            std::thread::spawn(move || post(proxy, path, &body))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let mut lines = gauge.requests_when(before + AT_ONCE).split_off(before);
    let mut truth = wait_for("the truth", || {
        let truth = truth.snapshot();
        (truth.len() == AT_ONCE).then_some(truth)
    });
    assert!(truth.iter().all(|one| one.end == TruthEnd::Finished), "{path}");
    lines.sort_by(|a, b| queue(a).total_cmp(&queue(b)));
    truth.sort_by(|a, b| a.queue_s.unwrap().total_cmp(&b.queue_s.unwrap()));
    (lines, truth, gauge.scrape())
}

fn streamed(sim: Value) -> Value {
    let mut sim = sim;
    sim["output_tokens"] = json!(6);
    json!({"model": "sim", "stream": true, "stream_options": {"include_usage": true}, "sim": sim})
}

fn whole(sim: Value) -> Value {
    let mut body = streamed(sim);
    body["stream"] = json!(false);
    body
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn queue(line: &Value) -> f64 {
    line["queue_s"].as_f64().unwrap_or(f64::NAN)
}

fn samples(scrape: &MetricsScrape, source: &str) -> f64 {
    let source = format!("source=\"{source}\"");
    scrape.sum("streamgauge_queue_wait_seconds_count", &[&source])
}

#[test]
fn reported_queue_waits_are_logged() {
    let chat = "/v1/chat/completions";
    let metrics = || json!({"metrics": true});
    let flavor = |name: &str| json!({"flavor": name});
    let cases = [
        ("vLLM", chat, streamed(metrics())),
        ("vLLM, not streamed", chat, whole(metrics())),
        ("vLLM", "/v1/completions", streamed(metrics())),
        ("vLLM", "/v1/responses", streamed(metrics())),
        ("vLLM, not streamed", "/v1/responses", whole(metrics())),
        ("SGLang", "/generate", with(streamed(metrics()), "text", json!("Hi"))),
        ("SGLang, not streamed", "/generate", with(whole(metrics()), "text", json!("Hi"))),
        ("TGI, not streamed", "/generate", with(whole(json!({})), "inputs", json!("Hi"))),
        ("Groq", chat, streamed(flavor("groq"))),
        ("Groq, not streamed", chat, whole(flavor("groq"))),
        ("Cerebras", chat, streamed(flavor("cerebras"))),
        ("Cerebras, not streamed", chat, whole(flavor("cerebras"))),
    ];
    for (server, path, body) in cases {
        let (lines, truth, scrape) = queued(path, &body);
        for (line, one) in lines.iter().zip(&truth) {
            let reported = one.reported.queue_s.unwrap_or_else(|| panic!("{server}: {one:?}"));
            assert!((queue(line) - reported).abs() < 1e-6, "{server}: {reported}, {line}");
            assert_eq!(line["queue_source"], "reported", "{server}");
        }
        assert!(queue(&lines[AT_ONCE - 1]) > 0.1, "{server}: no request had to wait");
        assert_eq!(samples(&scrape, "reported"), AT_ONCE as f64, "{server}");
        assert_eq!(samples(&scrape, ""), 0.0, "{server}");
    }
}

/// Fails if a queue wait in the log differs from the truth by more than the timers of the two programs do.
fn assert_waits_are_true(server: &str, source: &str, path: &'static str, body: &Value) {
    let disturbance = Disturbance::watch();
    let (lines, truth, scrape) = queued(path, body);
    for (line, one) in lines.iter().zip(&truth) {
        let (measured, wait) = (queue(line), one.queue_s.unwrap());
        // Durations that do not fit the arrival times give no value, and delays cause that.
        if line["queue_s"].is_null() && disturbance.worst() > Duration::from_millis(3) {
            return;
        }
        assert_within(server, measured, (wait, wait), disturbance.allow_in_sequence(0.005));
        assert_eq!(line["queue_source"], source, "{server}");
    }
    assert!(queue(&lines[AT_ONCE - 1]) > 0.1, "{server}: no request had to wait");
    let requests = AT_ONCE + usize::from(path == "/completion");
    assert_eq!(samples(&scrape, source), requests as f64, "{server}");
    assert_eq!(scrape.sum("streamgauge_queue_wait_seconds_count", &[]), samples(&scrape, source));
}

#[test]
fn ollamas_queue_wait_is_derived_from_its_durations() {
    for path in ["/api/chat", "/api/generate"] {
        assert_waits_are_true("Ollama", "reported", path, &streamed(json!({})));
    }
    // Without a stream the rest of the total duration also holds a part of the decoding.
    let (lines, _, scrape) = queued("/api/chat", &whole(json!({})));
    assert!(lines.iter().all(|line| line["queue_source"] != "header"), "{lines:?}");
    assert_eq!(["reported", "header"].map(|source| samples(&scrape, source)), [0.0, 0.0]);
}

/// Ollama sends a tool call as one line, once it is complete, so the time of its first token is unknown.
#[test]
fn an_ollama_tool_call_has_no_queue_wait() {
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let (lines, _, _) = queued("/api/chat", &with(streamed(json!({})), "tools", tools));
    assert!(lines.iter().all(|line| line["ttft_s"].is_f64()), "{lines:?}");
    assert!(lines.iter().all(|line| line["queue_source"] != "header"), "{lines:?}");
}

#[test]
fn llama_cpps_queue_wait_is_the_wait_for_its_headers() {
    let body = streamed(json!({"flavor": "llamacpp"}));
    assert_waits_are_true("llama.cpp", "header", "/v1/chat/completions", &body);
    let body = with(streamed(json!({})), "prompt", json!("Hi"));
    assert_waits_are_true("llama.cpp, its own", "header", "/completion", &body);
    // A response that is not a stream sends its headers last.
    let (lines, _, _) = queued("/v1/chat/completions", &whole(json!({"flavor": "llamacpp"})));
    assert!(lines.iter().all(|line| line["queue_source"] != "header"), "{lines:?}");
}

/// An event with one word and this fingerprint.
fn event(fingerprint: &str) -> Vec<u8> {
    let event = json!({"system_fingerprint": fingerprint, "choices": [{"index": 0,
        "delta": {"content": "Hi"}, "finish_reason": "stop"}]});
    chunk(format!("data: {event}\n\n"))
}

#[test]
fn only_some_llama_cpp_builds_show_the_wait_in_their_headers() {
    let fingerprints = ["b9417-b5f52280f", "vllm-0.24.0-tp4-6d31f84d", "fp_de604bd877"];
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nServer: llama.cpp\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let own = r#"data: {"index":0,"content":"Hi","stop":true,"stop_type":"eos","timings":{}}"#;
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            let text = request.text();
            let is_held = text.contains("held");
            let event = match fingerprints.iter().find(|known| text.contains(**known)) {
                Some(fingerprint) => event(fingerprint),
                None if text.contains("/completion ") => chunk(format!("{own}\n\n")),
                None => event("b10499-6d05498"),
            };
            let rest = [event, chat::LAST_CHUNK.into()].concat();
            if is_held {
                connection.send([head.as_bytes(), &rest].concat());
            } else {
                connection.send(head);
                // The duration of the prefill.
                std::thread::sleep(Duration::from_millis(20));
                connection.send(rest);
            }
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let chat = "/v1/chat/completions";
    let cases = [
        // The build is unknown.
        ("/completion", "", false),
        (chat, "", true),
        ("/completion", "", true),
        (chat, "held", false),
        (chat, "vllm-0.24.0-tp4-6d31f84d", false),
        (chat, "fp_de604bd877", true),
        // An older build has replaced the server.
        (chat, "b9417-b5f52280f", false),
        ("/completion", "", false),
    ];
    for (number, (path, prompt, is_reported)) in cases.into_iter().enumerate() {
        post(gauge.proxy, path, &json!({"stream": true, "prompt": prompt}));
        let line = gauge.requests_when(number + 1).remove(number);
        assert_eq!(line["outcome"], "ok", "case {number}: {line}");
        assert_eq!(line["queue_source"] == "header", is_reported, "case {number}: {line}");
        if is_reported {
            let wait = line["queue_s"].as_f64().unwrap();
            let (head, sent) = (line["head_s"].as_f64().unwrap(), line["sent_s"].as_f64().unwrap());
            assert!((wait - (head - sent).max(0.0)).abs() < 1e-6, "case {number}: {line}");
        }
    }
}
