//! Times stay exact while the program is kept from running. It is stopped for 50 ms of every 100 ms, and its
//! measurements are compared with the clocks of client and server.

use crate::support::clock::distance;
use crate::support::connection::chunk;
use crate::support::process::StreamgaugeProcess;
use crate::support::{
    Bracket, Disturbance, RawConnection, ScriptedUpstream, TemporaryFile, chat, scrape, wait_for,
};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 20;
/// Number of consecutive streams of each client.
const STREAMS: usize = 8;

/// When the client sent a request, and the server its first and last output and its last byte.
#[derive(Clone, Copy, Default)]
struct StreamTimes {
    request: Option<Bracket>,
    first: Option<Bracket>,
    last: Option<Bracket>,
    end: Option<Bracket>,
}

type StreamTimesById = Arc<Mutex<HashMap<usize, StreamTimes>>>;

/// A server that sends the first output after 10 to 90 ms, and five more every 23 ms.
fn server(truths: &StreamTimesById) -> ScriptedUpstream {
    let truths = Arc::clone(truths);
    ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            let trace = request.header("traceparent").remove(0);
            let id = usize::from_str_radix(trace.split('-').nth(1).unwrap(), 16).unwrap();
            thread::sleep(Duration::from_millis(10 + id as u64 * 37 % 80));
            connection.send(chat::STREAM_HEAD);
            for word in 0..6 {
                let event = chunk(chat::content_event("word"));
                let ((), sent) = Bracket::around(|| connection.send(event));
                let mut truths = truths.lock().unwrap();
                let truth = truths.entry(id).or_default();
                truth.first.get_or_insert(sent);
                truth.last = Some(sent);
                drop(truths);
                if word < 5 {
                    thread::sleep(Duration::from_millis(23));
                }
            }
            let end = [chunk(chat::finish_event()), chunk(chat::DONE), chat::LAST_CHUNK.into()];
            let ((), sent) = Bracket::around(|| connection.send(end.concat()));
            truths.lock().unwrap().entry(id).or_default().end = Some(sent);
        }
    })
}

fn client(proxy: SocketAddr, client: usize, truths: &StreamTimesById) {
    let body = br#"{"model": "m", "stream": true, "messages": []}"#;
    for stream in 1..=STREAMS {
        let id = client * STREAMS + stream;
        let trace = format!("traceparent: 00-{id:032x}-00000000000000ff-01\r\n");
        let mut connection = RawConnection::connect(proxy);
        let request = chat::post("/v1/chat/completions", &trace, body);
        let ((), sent) = Bracket::around(|| connection.send(request));
        truths.lock().unwrap().entry(id).or_default().request = Some(sent);
        assert!(connection.read_message().text().ends_with(chat::LAST_CHUNK));
        thread::sleep(Duration::from_millis(id as u64 * 13 % 30));
    }
}

/// Errors of TTFT, latency and request duration in milliseconds, ascending, with the number of degraded lines and the timestamp
/// source.
struct ClockErrors {
    errors: Vec<f64>,
    degraded: usize,
    clock: String,
}

impl ClockErrors {
    fn quantile(&self, q: f64) -> f64 {
        let at = (self.errors.len() as f64 * q).ceil() as usize;
        self.errors[at.max(1) - 1]
    }
}

/// Runs all clients through the program with this clock, stopped half of the time or not.
fn run(clock: &str, stopped: bool) -> ClockErrors {
    let truths = StreamTimesById::default();
    let upstream = server(&truths);
    let file = TemporaryFile::new("toml", &format!("clock = '{clock}'\n"));
    let process = StreamgaugeProcess::start(upstream.address, &["--config", file.path()]);
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
        let since = |at: Option<Bracket>| at.unwrap().since(truth.request.unwrap());
        let true_values =
            [("ttft_s", truth.first), ("latency_s", truth.last), ("duration_s", truth.end)];
        for (key, true_value) in true_values.map(|(key, at)| (key, since(at))) {
            errors.push(distance(line[key].as_f64().unwrap(), true_value) * 1e3);
        }
    }
    errors.sort_by(f64::total_cmp);
    let degraded = lines.iter().filter(|line| line["degraded"] == true).count();
    let clock = lines[0]["clock"].as_str().unwrap().to_owned();
    let found = ClockErrors { errors, degraded, clock };
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
    let disturbance = Disturbance::watch_alone();
    run("kernel", false);
    let kernel = run("kernel", true);
    if kernel.clock != "kernel" {
        crate::support::skip("kernel timestamps of received packets");
        return;
    }
    // Lines whose first or last output was read together with something later are marked. The end of each stream
    // follows its last output at once, so these are more than half. A disturbed machine adds to them.
    let unmarked = (CLIENTS * STREAMS).saturating_sub(kernel.degraded);
    let is_quiet = disturbance.worst() < Duration::from_millis(10);
    assert!(!is_quiet || unmarked > CLIENTS * STREAMS / 4, "{} lines degraded", kernel.degraded);
    assert!(unmarked > 0, "all lines are degraded");
    // The kernel stamps a packet while its sender is in the system call that sends it, so the stamp lies between the
    // sender's readings of the clock, on a disturbed machine too.
    assert!(kernel.quantile(0.9) <= 1.0, "p90 of the error is {} ms", kernel.quantile(0.9));
    // The comparison is meaningful: a clock that the program reads itself is wrong by tens of milliseconds.
    let program = run("program", true);
    assert!(program.quantile(0.9) > 10.0, "p90 of the error is {} ms", program.quantile(0.9));
    assert!(program.degraded > CLIENTS * STREAMS / 2, "{} lines degraded", program.degraded);
}
