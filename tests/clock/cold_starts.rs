//! Cold starts are detected, timed and labelled, and nothing else counts as one.

use crate::support::cold_start::{
    TTFT, answer_events, assert_one_cold_start, reserve_address, send, wait_until_refused,
    wait_until_up,
};
use crate::support::sim::simulate;
use crate::support::{Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;
use streamgauge_sim::model::EngineSpec;

/// A server that responds to every request with a stream.
fn serve(address: SocketAddr) -> ScriptedUpstream {
    let answer = chat::stream_response(&answer_events());
    ScriptedUpstream::at(address, move |_, connection| {
        while connection.try_read_message().is_some() && connection.try_send(&answer) {}
    })
}

fn assert_cold(record: &Value, reason: Option<&str>) {
    assert_eq!(record["cold"], reason.is_some(), "{record}");
    assert_eq!(record["cold_reason"], json!(reason), "{record}");
    let confidence = reason.map(|reason| if reason == "idle" { "likely" } else { "certain" });
    assert_eq!(record["cold_confidence"], json!(confidence), "{record}");
    if reason.is_some() {
        // The wait for the load is not a wait for a slot.
        for key in ["queue_s", "queue_source", "queue_estimate_s"] {
            assert_eq!(record[key], Value::Null, "{key}: {record}");
        }
    }
}

#[test]
fn a_boot_is_timed_until_the_port_opens() {
    let disturbance = Disturbance::watch();
    let address = reserve_address();
    let gauge = Streamgauge::new(address);
    let start = Instant::now();
    wait_until_up(&gauge, 0.0);
    assert_eq!(send(&gauge, &chat::request()).status(), 503);
    std::thread::sleep(Duration::from_millis(600));
    let _server = serve(address);
    let took = start.elapsed();
    wait_until_up(&gauge, 1.0);
    send(&gauge, &chat::request());
    let scrape = assert_one_cold_start(&gauge, "boot", "m", took, &disturbance);
    let stage =
        |stage: &str| scrape.sum("streamgauge_boot_seconds", &[&format!("stage=\"{stage}\"")]);
    assert!((stage("port_open") - took.as_secs_f64()).abs() < disturbance.allow(0.05));
    assert!(stage("first_token") >= stage("port_open"));
    assert_eq!(stage("healthy"), 0.0, "nothing has requested it");
    // The first request was refused, and the second did not wait.
    let records = gauge.requests_when(2);
    assert_eq!(records[0]["cold"], Value::Null);
    assert_cold(&records[1], None);
    assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), 1.0);
}

#[test]
fn a_health_path_times_a_boot_without_requests() {
    let disturbance = Disturbance::watch();
    let address = reserve_address();
    let is_healthy = Arc::new(AtomicBool::new(false));
    let gauge =
        Streamgauge::with(address, &[("health_path", "/health")], FaultInjection::default());
    let start = Instant::now();
    wait_until_up(&gauge, 0.0);
    let healthy = Arc::clone(&is_healthy);
    let server = ScriptedUpstream::at(address, move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            assert!(request.head.starts_with(b"GET /health HTTP/1.1\r\n"));
            let status = if healthy.load(SeqCst) { "200 OK" } else { "503 Loading" };
            connection.try_send(chat::response(status, "text/plain", b"-"));
        }
    });
    wait_for("a probe that fails", || (server.connections() > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(400));
    is_healthy.store(true, SeqCst);
    let took = start.elapsed();
    let scrape = assert_one_cold_start(&gauge, "boot", "other", took, &disturbance);
    let healthy = scrape.sum("streamgauge_boot_seconds", &["stage=\"healthy\""]);
    let open = scrape.sum("streamgauge_boot_seconds", &["stage=\"port_open\""]);
    assert!(open > 0.0 && open < healthy);
    assert!((healthy - took.as_secs_f64()).abs() < disturbance.allow(0.06));
    assert_eq!(scrape.sum("streamgauge_arrivals_total", &[]), 0.0, "probes are no requests");
}

#[test]
fn refusals_while_a_model_loads_are_one_cold_start() {
    let disturbance = Disturbance::watch();
    let load_time = Duration::from_millis(800);
    let (server, _) =
        simulate(EngineSpec { load_time, reject_while_loading: true, ..EngineSpec::new("m") });
    let gauge = Streamgauge::new(server);
    let start = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        if send(&gauge, &chat::request()).status() == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(attempts > 3);
    let records = gauge.requests_when(attempts);
    let last = records.last().unwrap();
    // By then the server no longer reported that the model loads.
    assert_cold(last, None);
    assert_eq!(records[0]["outcome"], "rejected");
    assert_eq!(records[0]["cold"], Value::Null);
    // A cold start lasts from the first request to the first output.
    let after_output = last["duration_s"].as_f64().unwrap() - last["ttft_s"].as_f64().unwrap();
    let took = start.elapsed().saturating_sub(Duration::from_secs_f64(after_output));
    assert_one_cold_start(&gauge, "loading", "m", took, &disturbance);
    send(&gauge, &chat::request());
    assert_cold(&gauge.requests_when(attempts + 1)[attempts], None);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 0.0);
    assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), 2.0);
    for warm_only in [
        "streamgauge_time_to_first_answer_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
        "streamgauge_latency_seconds_count",
        "streamgauge_normalized_time_per_output_token_seconds_count",
        "streamgauge_output_characters_per_second_count",
    ] {
        assert_eq!(scrape.sum(warm_only, &[]), 2.0, "{warm_only}");
    }
    let durations = scrape.sum("gen_ai_server_request_duration_seconds_count", &[]);
    assert_eq!(durations, attempts as f64 + 1.0);
}

#[test]
fn a_load_time_that_ollama_reports_is_a_cold_start() {
    let disturbance = Disturbance::watch();
    let spec = EngineSpec { load_time: Duration::from_millis(900), ..EngineSpec::new("m") };
    let (server, _) = simulate(spec);
    let gauge = Streamgauge::new(server);
    let body = json!({"model": "m", "messages": [], "sim": {"output_tokens": 8}}).to_string();
    let request = chat::post("/api/chat", "", body.as_bytes());
    let mut clients: Vec<RawConnection> =
        (0..2).map(|_| RawConnection::connect(gauge.proxy)).collect();
    for client in &mut clients {
        client.send(&request);
        std::thread::sleep(Duration::from_millis(100));
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.read_message().status(), 200));
    let records = gauge.requests_when(2);
    records.iter().for_each(|record| assert_cold(record, Some("reported_load")));
    let ttft = records.iter().filter_map(|record| record["ttft_s"].as_f64());
    let took = Duration::from_secs_f64(ttft.fold(0.0, f64::max));
    assert!(took > Duration::from_millis(500), "the first request waited for the load");
    assert_one_cold_start(&gauge, "reported_load", "m", took, &disturbance);
    send(&gauge, &request);
    let warm = &gauge.requests_when(3)[2];
    assert_cold(warm, None);
    assert_eq!(warm["queue_source"], "reported", "{warm}");
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 2.0);
    assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), 1.0);
    assert_eq!(scrape.sum("streamgauge_time_to_first_answer_seconds_count", &[]), 1.0);
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &[]), 1.0);
}

#[test]
fn a_restart_under_load_is_a_cold_start() {
    let disturbance = Disturbance::watch();
    let address = reserve_address();
    let (crash, crashing) = mpsc::channel::<()>();
    let crashing = std::sync::Mutex::new(crashing);
    let server = ScriptedUpstream::at(address, move |_, connection| {
        connection.read_message();
        connection.send(
            [
                chat::STREAM_HEAD.as_bytes(),
                &crate::support::connection::chunk(chat::content_event("Hi")),
            ]
            .concat(),
        );
        let _ = crashing.lock().unwrap().recv();
    });
    let gauge = Streamgauge::new(address);
    wait_until_up(&gauge, 1.0);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    client.read_head().unwrap();
    drop(server);
    wait_for("the listener's end", || std::net::TcpStream::connect(address).err());
    let start = Instant::now();
    drop(crash);
    client.read_to_end();
    wait_until_up(&gauge, 0.0);
    assert_eq!(send(&gauge, &chat::request()).status(), 503);
    std::thread::sleep(Duration::from_millis(500));
    let _server = serve(address);
    let took = start.elapsed();
    wait_until_up(&gauge, 1.0);
    send(&gauge, &chat::request());
    let scrape = assert_one_cold_start(&gauge, "restarted", "m", took, &disturbance);
    let records = gauge.requests_when(3);
    assert_eq!(records[0]["outcome"], "truncated");
    assert_cold(&records[2], None);
    assert!(!scrape.has("streamgauge_boot_seconds"), "the server was there before us");
}

#[test]
fn a_server_scaled_to_zero_and_back_is_a_cold_start() {
    let disturbance = Disturbance::watch();
    let address = reserve_address();
    let server = serve(address);
    let gauge = Streamgauge::new(address);
    wait_until_up(&gauge, 1.0);
    send(&gauge, &chat::request());
    drop(server);
    wait_for("the listener's end", || std::net::TcpStream::connect(address).err());
    assert_eq!(
        gauge.scrape().sum("streamgauge_upstream_up", &[]),
        1.0,
        "no request has failed yet"
    );
    let start = wait_until_refused(&gauge);
    wait_until_up(&gauge, 0.0);
    std::thread::sleep(Duration::from_millis(500));
    let _server = serve(address);
    let took = start.elapsed();
    wait_until_up(&gauge, 1.0);
    send(&gauge, &chat::request());
    assert_one_cold_start(&gauge, "unreachable", "m", took, &disturbance);
}

#[test]
fn a_load_that_llama_swap_streams_is_a_cold_start() {
    let disturbance = Disturbance::watch();
    let (stop, stopped) = mpsc::channel::<()>();
    let stopped = std::sync::Mutex::new(stopped);
    let server = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        let shown = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"━━━━━\\n\"}}]}\n\n";
        connection.send(
            [chat::STREAM_HEAD.as_bytes(), &crate::support::connection::chunk(shown)].concat(),
        );
        let _ = stopped.lock().unwrap().recv();
        let chunks: Vec<u8> =
            answer_events().iter().flat_map(crate::support::connection::chunk).collect();
        connection.send([&chunks, chat::LAST_CHUNK.as_bytes()].concat());
    });
    let gauge = Streamgauge::new(server.address);
    wait_until_up(&gauge, 1.0);
    let mut client = RawConnection::connect(gauge.proxy);
    let start = Instant::now();
    client.send(chat::request());
    client.read_head().unwrap();
    client.read_until("━━━━━".as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let took = start.elapsed();
    drop(stop);
    client.read_until(chat::LAST_CHUNK.as_bytes()).unwrap();
    let record = gauge.requests_when(1).remove(0);
    assert_cold(&record, Some("loading"));
    assert_eq!(record["reasoning_chars"], 0);
    assert_one_cold_start(&gauge, "loading", "m", took, &disturbance);
}

#[test]
fn overload_is_not_a_cold_start() {
    let answers = [
        chat::response("429 Too Many Requests", "application/json", b"{\"error\":\"slow down\"}"),
        chat::response("503 Busy", "application/json", b"{\"error\":\"the queue is full\"}"),
        Vec::new(),
        [
            chat::STREAM_HEAD.as_bytes(),
            &crate::support::connection::chunk(chat::content_event("Hi")),
        ]
        .concat(),
        chat::stream_response(&answer_events()),
    ];
    let count = answers.len();
    // One request per connection: a broken response ends its connection.
    let upstream = ScriptedUpstream::with_script(move |number, connection| {
        if connection.try_read_message().is_some() {
            connection.try_send(&answers[number % count]);
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    wait_until_up(&gauge, 1.0);
    wait_for("the probe at the start of the proxy", || (upstream.probes() == 1).then_some(()));
    for number in 0..count {
        if number == count - 1 {
            // A broken response starts probes, unless a success follows at once.
            wait_for("probes", || (upstream.probes() > 1).then_some(()));
        }
        let mut client = RawConnection::connect(gauge.proxy);
        let request = String::from_utf8(chat::request()).unwrap();
        client.send(request.replace("Host: test", "Host: test\r\nConnection: close"));
        client.read_to_end();
        gauge.requests_when(number + 1);
    }
    let scrape = gauge.scrape();
    assert!(!scrape.has("streamgauge_cold_starts_total"));
    assert_eq!(scrape.sum("streamgauge_upstream_up", &[]), 1.0);
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 0.0);
}

#[test]
fn a_model_unloaded_while_idle_is_a_cold_start() {
    let Some((gauge, took, disturbance)) = unload_while_idle("all") else { return };
    assert_one_cold_start(&gauge, "idle", "m", took, &disturbance);
}

#[test]
fn likely_cold_starts_are_not_counted_if_only_certain_ones_are_wanted() {
    let Some((gauge, ..)) = unload_while_idle("certain") else { return };
    assert!(!gauge.scrape().has("streamgauge_cold_starts_total"));
}

/// A model that is unloaded while it is idle. Returns the true length of the load; `None` if the machine is too busy.
fn unload_while_idle(counted: &str) -> Option<(Streamgauge, Duration, Disturbance)> {
    let disturbance = Disturbance::watch();
    let load_time = Duration::from_millis(900);
    let spec = EngineSpec {
        load_time,
        idle_unload: Some(Duration::from_millis(700)),
        prefill_base: Duration::from_millis(15),
        ..EngineSpec::new("m")
    };
    let (server, _) = simulate(spec);
    let keys = [("cold_idle_seconds", "1"), ("cold_starts_counted", counted)];
    let gauge = Streamgauge::with(server, &keys, FaultInjection::default());
    wait_for("the model", || {
        let health = send(&gauge, b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n");
        (health.status() == 200).then_some(())
    });
    let body = json!({"model": "m", "messages": [], "stream": true, "sim": {"output_tokens": 2}});
    let request = chat::post("/v1/chat/completions", "", body.to_string().as_bytes());
    // These show how long a warm request takes.
    const WARM: usize = 40;
    (0..WARM).for_each(|_| assert_eq!(send(&gauge, &request).status(), 200));
    std::thread::sleep(Duration::from_millis(1300));
    send(&gauge, &request);
    send(&gauge, &request);
    let records = wait_for("requests in the log", || {
        let mut records = gauge.requests();
        records.retain(|record| record["operation"] == "chat");
        (records.len() == WARM + 2).then_some(records)
    });
    // Idle cold starts are detected from what warm requests take.
    if disturbance.worst() > Duration::from_millis(20) {
        crate::support::skip("a machine on which threads wake within 20 ms");
        return None;
    }
    assert_cold(&records[WARM], Some("idle"));
    assert_cold(&records[WARM + 1], None);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), WARM as f64 + 1.0);
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 1.0);
    assert_eq!(scrape.sum("streamgauge_cold_judgement_suspended", &[]), 0.0);
    Some((gauge, load_time + Duration::from_millis(15), disturbance))
}
