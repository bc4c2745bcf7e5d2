//! The numbers stay right while the program is kept from running: it is stopped for 50 ms of every
//! 100, and what it measures is held against the clocks of those who send.

use crate::support::process::Process;
use crate::support::wire::chunk;
use crate::support::{Upstream, Wire, against_the_clock, chat, scrape, wait_for};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 20;
/// Streams of each client, one after the other.
const STREAMS: usize = 8;

/// When the client sent its request, and the server its first and last output.
#[derive(Clone, Copy, Default)]
struct Truth {
    asked: Option<Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
}

type Truths = Arc<Mutex<HashMap<usize, Truth>>>;

/// A server that writes the first output after 10 to 90 ms and five more every 23 ms.
fn server(truths: &Truths) -> Upstream {
    let truths = Arc::clone(truths);
    Upstream::each(move |_, wire| {
        while let Some(request) = wire.try_message() {
            let trace = request.header("traceparent").remove(0);
            let id = usize::from_str_radix(trace.split('-').nth(1).unwrap(), 16).unwrap();
            thread::sleep(Duration::from_millis(10 + id as u64 * 37 % 80));
            wire.send(chat::STREAM);
            for word in 0..6 {
                let at = Instant::now();
                wire.send(chunk(chat::word("word")));
                let mut truths = truths.lock().unwrap();
                let truth = truths.entry(id).or_default();
                truth.first.get_or_insert(at);
                truth.last = Some(at);
                drop(truths);
                if word < 5 {
                    thread::sleep(Duration::from_millis(23));
                }
            }
            wire.send([chunk(chat::finish()), chunk(chat::DONE), chat::LAST.into()].concat());
        }
    })
}

fn client(proxy: SocketAddr, client: usize, truths: &Truths) {
    let body = br#"{"model": "m", "stream": true, "messages": []}"#;
    for stream in 1..=STREAMS {
        let id = client * STREAMS + stream;
        let trace = format!("traceparent: 00-{id:032x}-00000000000000ff-01\r\n");
        let mut wire = Wire::connect(proxy);
        let asked = Instant::now();
        wire.send(chat::post("/v1/chat/completions", &trace, body));
        truths.lock().unwrap().entry(id).or_default().asked = Some(asked);
        assert!(wire.message().text().ends_with(chat::LAST));
        thread::sleep(Duration::from_millis(id as u64 * 13 % 30));
    }
}

/// Errors of TTFT and latency in milliseconds, ascending; how many lines were said to be degraded; and
/// the source of the instants.
struct Found {
    errors: Vec<f64>,
    degraded: usize,
    clock: String,
}

impl Found {
    fn quantile(&self, q: f64) -> f64 {
        let at = (self.errors.len() as f64 * q).ceil() as usize;
        self.errors[at.max(1) - 1]
    }
}

/// Runs all clients through the program with this clock, stopped half of the time or not.
fn run(clock: &str, stopped: bool) -> Found {
    let truths = Truths::default();
    let upstream = server(&truths);
    let file =
        std::env::temp_dir().join(format!("streamgauge-{}-{clock}.toml", std::process::id()));
    std::fs::write(&file, format!("clock = '{clock}'\n")).unwrap();
    let process = Process::start(upstream.address, &["--config", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    let proxy = process.proxy;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let truths = Arc::clone(&truths);
            thread::spawn(move || client(proxy, number, &truths))
        })
        .collect();
    while clients.iter().any(|client| !client.is_finished()) {
        if stopped {
            process.signal("STOP");
            thread::sleep(Duration::from_millis(50));
            process.signal("CONT");
        }
        thread::sleep(Duration::from_millis(50));
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let all = CLIENTS * STREAMS;
    let lines: Vec<Value> = wait_for("the requests", || {
        let text = scrape::get(process.admin, &format!("/requests?last={all}"));
        let lines: Vec<Value> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() == all).then_some(lines)
    });
    let truths = truths.lock().unwrap();
    let mut errors = Vec::new();
    for line in lines.iter().filter(|line| line["degraded"] == false || clock == "program") {
        let id = usize::from_str_radix(line["trace_id"].as_str().unwrap(), 16).unwrap();
        let truth = truths[&id];
        let since =
            |at: Option<Instant>| at.unwrap().duration_since(truth.asked.unwrap()).as_secs_f64();
        for (key, true_value) in [("ttft_s", since(truth.first)), ("latency_s", since(truth.last))]
        {
            errors.push((line[key].as_f64().unwrap() - true_value).abs() * 1e3);
        }
    }
    errors.sort_by(f64::total_cmp);
    let degraded = lines.iter().filter(|line| line["degraded"] == true).count();
    let clock = lines[0]["clock"].as_str().unwrap().to_owned();
    let found = Found { errors, degraded, clock };
    println!(
        "clock {clock}, stopped {stopped}: errors of {} numbers: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms; {degraded} of {all} lines degraded",
        found.errors.len(),
        found.quantile(0.5),
        found.quantile(0.9),
        found.quantile(0.99),
        clock = found.clock,
    );
    let text = scrape::get(process.admin, "/metrics");
    assert!(text.contains(&format!("source=\"{}\"", found.clock)), "{text}");
    found
}

#[test]
fn a_program_that_is_stopped_half_of_the_time_measures_what_it_slept_through() {
    against_the_clock(stopped_half_of_the_time);
}

fn stopped_half_of_the_time() {
    run("kernel", false);
    let kernel = run("kernel", true);
    if kernel.clock != "kernel" {
        println!("skipped: this kernel does not stamp what it receives");
        return;
    }
    // Lines whose first or last output was read together with something later are marked. The end of each
    // stream follows its last output at once, so these are more than half.
    assert!(kernel.degraded < CLIENTS * STREAMS * 3 / 4, "{} lines degraded", kernel.degraded);
    // The 99th percentile is printed: the clocks of the clients and the server, which are threads of this
    // test, are not exact enough on every machine to hold it against them.
    assert!(kernel.quantile(0.9) <= 1.0, "p90 of the error is {} ms", kernel.quantile(0.9));
    // That this shows anything: a clock that is read when the program runs errs by tens of ms.
    let program = run("program", true);
    assert!(program.quantile(0.9) > 10.0, "p90 of the error is {} ms", program.quantile(0.9));
    assert!(program.degraded > CLIENTS * STREAMS / 2, "{} lines degraded", program.degraded);
}
