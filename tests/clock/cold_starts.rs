//! Cold starts, through the real app: found, timed, labelled, and none invented.

use crate::support::cold::{TTFT, ask, assert_one, refused, reserved, wait_until_up, words};
use crate::support::sim::simulate;
use crate::support::{Gauge, Upstream, Wire, against_the_clock, chat, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use streamgauge::tap::FaultInjection;
use streamgauge_sim::model::EngineSpec;

/// A server that answers every request with a stream.
fn serve(address: SocketAddr) -> Upstream {
    let answer = chat::stream(&words());
    Upstream::at(
        address,
        move |_, wire| {
            while wire.try_message().is_some() && wire.try_send(&answer) {}
        },
    )
}

fn assert_cold(record: &Value, reason: Option<&str>) {
    assert_eq!(record["cold"], reason.is_some(), "{record}");
    assert_eq!(record["cold_reason"], json!(reason), "{record}");
}

#[test]
fn a_listener_that_is_not_there_and_then_is() {
    against_the_clock(|| {
        let address = reserved();
        let gauge = Gauge::new(address);
        let start = Instant::now();
        wait_until_up(&gauge, 0.0);
        assert_eq!(ask(&gauge, &chat::request()).status(), 502);
        std::thread::sleep(Duration::from_millis(600));
        let _server = serve(address);
        let took = start.elapsed();
        wait_until_up(&gauge, 1.0);
        ask(&gauge, &chat::request());
        let scrape = assert_one(&gauge, "boot", "m", took);
        let stage =
            |stage: &str| scrape.sum("streamgauge_boot_seconds", &[&format!("stage=\"{stage}\"")]);
        assert!((stage("port_open") - took.as_secs_f64()).abs() < 0.05);
        assert!(stage("first_token") >= stage("port_open"));
        assert_eq!(stage("healthy"), 0.0, "nobody has asked for it");
        // The one was refused, and the other did not wait.
        let records = gauge.requests_when(2);
        assert_eq!(records[0]["cold"], Value::Null);
        assert_cold(&records[1], None);
        assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), 1.0);
    });
}

#[test]
fn a_health_path_tells_when_a_server_is_ready_that_nobody_asks() {
    against_the_clock(|| {
        let address = reserved();
        let is_healthy = Arc::new(AtomicBool::new(false));
        let gauge = Gauge::with(address, &[("health_path", "/health")], FaultInjection::default());
        let start = Instant::now();
        wait_until_up(&gauge, 0.0);
        let healthy = Arc::clone(&is_healthy);
        let server = Upstream::at(address, move |_, wire| {
            while let Some(request) = wire.try_message() {
                assert!(request.head.starts_with(b"GET /health HTTP/1.1\r\n"));
                let status = if healthy.load(SeqCst) { "200 OK" } else { "503 Loading" };
                wire.try_send(chat::answer(status, "text/plain", b"-"));
            }
        });
        wait_for("a probe that fails", || (server.connections() > 0).then_some(()));
        std::thread::sleep(Duration::from_millis(400));
        is_healthy.store(true, SeqCst);
        let took = start.elapsed();
        let scrape = assert_one(&gauge, "boot", "other", took);
        let healthy = scrape.sum("streamgauge_boot_seconds", &["stage=\"healthy\""]);
        let open = scrape.sum("streamgauge_boot_seconds", &["stage=\"port_open\""]);
        assert!(open > 0.0 && open < healthy && (healthy - took.as_secs_f64()).abs() < 0.06);
        assert_eq!(scrape.sum("streamgauge_arrivals_total", &[]), 0.0, "probes are no requests");
    });
}

#[test]
fn a_server_that_refuses_while_it_loads() {
    against_the_clock(|| {
        let load_time = Duration::from_millis(800);
        let (server, _) =
            simulate(EngineSpec { load_time, refuse_while_loading: true, ..EngineSpec::new("m") });
        let gauge = Gauge::new(server);
        let start = Instant::now();
        let mut asked = 0;
        loop {
            asked += 1;
            if ask(&gauge, &chat::request()).status() == 200 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(asked > 3);
        let records = gauge.requests_when(asked);
        let last = records.last().unwrap();
        // It came when nobody said any more that the model loads.
        assert_cold(last, None);
        assert_eq!(records[0]["outcome"], "rejected");
        assert_eq!(records[0]["cold"], Value::Null);
        // From the first request to the first output.
        let after_output = last["duration_s"].as_f64().unwrap() - last["ttft_s"].as_f64().unwrap();
        let took = start.elapsed().saturating_sub(Duration::from_secs_f64(after_output));
        assert_one(&gauge, "loading", "m", took);
        ask(&gauge, &chat::request());
        assert_cold(&gauge.requests_when(asked + 1)[asked], None);
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
        assert_eq!(durations, asked as f64 + 1.0);
    });
}

#[test]
fn a_load_that_ollama_tells_at_the_end() {
    against_the_clock(|| {
        let spec = EngineSpec { load_time: Duration::from_millis(900), ..EngineSpec::new("m") };
        let (server, _) = simulate(spec);
        let gauge = Gauge::new(server);
        let body = json!({"model": "m", "messages": [], "sim": {"output_tokens": 8}}).to_string();
        let request = chat::post("/api/chat", "", body.as_bytes());
        let mut clients: Vec<Wire> = (0..2).map(|_| Wire::connect(gauge.proxy)).collect();
        for client in &mut clients {
            client.send(&request);
            std::thread::sleep(Duration::from_millis(100));
        }
        clients.iter_mut().for_each(|client| assert_eq!(client.message().status(), 200));
        let records = gauge.requests_when(2);
        records.iter().for_each(|record| assert_cold(record, Some("reported_load")));
        let ttft = records.iter().filter_map(|record| record["ttft_s"].as_f64());
        let took = Duration::from_secs_f64(ttft.fold(0.0, f64::max));
        assert!(took > Duration::from_millis(500), "the first of them waited for the load");
        assert_one(&gauge, "reported_load", "m", took);
        ask(&gauge, &request);
        assert_cold(&gauge.requests_when(3)[2], None);
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 2.0);
        assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), 1.0);
        assert_eq!(scrape.sum("streamgauge_time_to_first_answer_seconds_count", &[]), 1.0);
        assert_eq!(scrape.sum("streamgauge_cold_starts_total", &[]), 1.0);
    });
}

#[test]
fn a_restart_under_load() {
    against_the_clock(|| {
        let address = reserved();
        let (crash, crashing) = mpsc::channel::<()>();
        let crashing = std::sync::Mutex::new(crashing);
        let server = Upstream::at(address, move |_, wire| {
            wire.message();
            wire.send(
                [chat::STREAM.as_bytes(), &crate::support::wire::chunk(chat::word("Hi"))].concat(),
            );
            let _ = crashing.lock().unwrap().recv();
        });
        let gauge = Gauge::new(address);
        wait_until_up(&gauge, 1.0);
        let mut client = Wire::connect(gauge.proxy);
        client.send(chat::request());
        client.head().unwrap();
        drop(server);
        wait_for("the listener's end", || std::net::TcpStream::connect(address).err());
        let start = Instant::now();
        drop(crash);
        client.rest();
        wait_until_up(&gauge, 0.0);
        assert_eq!(ask(&gauge, &chat::request()).status(), 502);
        std::thread::sleep(Duration::from_millis(500));
        let _server = serve(address);
        let took = start.elapsed();
        wait_until_up(&gauge, 1.0);
        ask(&gauge, &chat::request());
        let scrape = assert_one(&gauge, "restarted", "m", took);
        let records = gauge.requests_when(3);
        assert_eq!(records[0]["outcome"], "truncated");
        assert_cold(&records[2], None);
        assert!(!scrape.has("streamgauge_boot_seconds"), "the server was there before us");
    });
}

#[test]
fn scaled_to_zero_and_back() {
    against_the_clock(|| {
        let address = reserved();
        let server = serve(address);
        let gauge = Gauge::new(address);
        wait_until_up(&gauge, 1.0);
        ask(&gauge, &chat::request());
        drop(server);
        wait_for("the listener's end", || std::net::TcpStream::connect(address).err());
        assert_eq!(gauge.scrape().sum("streamgauge_upstream_up", &[]), 1.0, "nobody has asked");
        let start = refused(&gauge);
        wait_until_up(&gauge, 0.0);
        std::thread::sleep(Duration::from_millis(500));
        let _server = serve(address);
        let took = start.elapsed();
        wait_until_up(&gauge, 1.0);
        ask(&gauge, &chat::request());
        assert_one(&gauge, "unreachable", "m", took);
    });
}

#[test]
fn a_load_that_llama_swap_shows_in_the_stream() {
    against_the_clock(|| {
        let (stop, stopped) = mpsc::channel::<()>();
        let stopped = std::sync::Mutex::new(stopped);
        let server = Upstream::each(move |_, wire| {
            wire.message();
            let shown =
                "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"loading model\"}}]}\n\n";
            wire.send([chat::STREAM.as_bytes(), &crate::support::wire::chunk(shown)].concat());
            let _ = stopped.lock().unwrap().recv();
            let chunks: Vec<u8> = words().iter().flat_map(crate::support::wire::chunk).collect();
            wire.send([&chunks, chat::LAST.as_bytes()].concat());
        });
        let gauge = Gauge::new(server.address);
        wait_until_up(&gauge, 1.0);
        let mut client = Wire::connect(gauge.proxy);
        let start = Instant::now();
        client.send(chat::request());
        client.head().unwrap();
        client.until(b"loading model").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let took = start.elapsed();
        drop(stop);
        client.until(chat::LAST.as_bytes()).unwrap();
        let record = gauge.requests_when(1).remove(0);
        assert_cold(&record, Some("loading"));
        assert_eq!(record["reasoning_chars"], 0);
        assert_one(&gauge, "loading", "m", took);
    });
}

#[test]
fn overload_is_no_cold_start() {
    let answers = [
        chat::answer("429 Too Many Requests", "application/json", b"{\"error\":\"slow down\"}"),
        chat::answer("503 Busy", "application/json", b"{\"error\":\"the queue is full\"}"),
        Vec::new(),
        [chat::STREAM.as_bytes(), &crate::support::wire::chunk(chat::word("Hi"))].concat(),
        chat::stream(&words()),
    ];
    let count = answers.len();
    // One request for each connection: those that are not whole end with theirs.
    let upstream = Upstream::each(move |number, wire| {
        if wire.try_message().is_some() {
            wire.try_send(&answers[number % count]);
        }
    });
    let gauge = Gauge::new(upstream.address);
    wait_until_up(&gauge, 1.0);
    wait_for("the probe of our start", || (upstream.probes() == 1).then_some(()));
    for number in 0..count {
        if number == count - 1 {
            // What broke is looked into, unless a success shows first that nothing is wrong.
            wait_for("probes", || (upstream.probes() > 1).then_some(()));
        }
        let mut client = Wire::connect(gauge.proxy);
        let request = String::from_utf8(chat::request()).unwrap();
        client.send(request.replace("Host: test", "Host: test\r\nConnection: close"));
        client.rest();
        gauge.requests_when(number + 1);
    }
    let scrape = gauge.scrape();
    assert!(!scrape.has("streamgauge_cold_starts_total"));
    assert_eq!(scrape.sum("streamgauge_upstream_up", &[]), 1.0);
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 0.0);
}

#[test]
fn a_model_that_was_unloaded_while_idle() {
    against_the_clock(|| {
        let load_time = Duration::from_millis(900);
        let spec = EngineSpec {
            load_time,
            idle_unload: Some(Duration::from_millis(700)),
            prefill_base: Duration::from_millis(15),
            ..EngineSpec::new("m")
        };
        let (server, _) = simulate(spec);
        let gauge = Gauge::with(server, &[("cold_idle_seconds", "1")], FaultInjection::default());
        wait_for("the model", || {
            let health = ask(&gauge, b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n");
            (health.status() == 200).then_some(())
        });
        let body =
            json!({"model": "m", "messages": [], "stream": true, "sim": {"output_tokens": 2}});
        let request = chat::post("/v1/chat/completions", "", body.to_string().as_bytes());
        // The estimator of the queue learns from these what a request takes.
        const WARM: usize = 40;
        (0..WARM).for_each(|_| assert_eq!(ask(&gauge, &request).status(), 200));
        std::thread::sleep(Duration::from_millis(1300));
        ask(&gauge, &request);
        ask(&gauge, &request);
        let records = wait_for("requests in the log", || {
            let mut records = gauge.requests();
            records.retain(|record| record["operation"] == "chat");
            (records.len() == WARM + 2).then_some(records)
        });
        assert_cold(&records[WARM], Some("idle"));
        assert_cold(&records[WARM + 1], None);
        let took = load_time + Duration::from_millis(15);
        let scrape = assert_one(&gauge, "idle", "m", took);
        assert_eq!(scrape.sum(TTFT, &["start=\"warm\""]), WARM as f64 + 1.0);
    });
}
