//! Estimated queue waits, in front of a simulated server that reports none. The cells are those of the table
//! in `docs/queue-wait.md`, on faster servers and in real time.

#[path = "../../crates/core/benches/queue_wait/cell.rs"]
#[allow(dead_code, reason = "the evaluation uses all of it")]
mod cell;

use crate::support::chat::{DONE, LAST_CHUNK, STREAM_HEAD, content_event, finish_event, post};
use crate::support::connection::{RawConnection, chunk};
use crate::support::sim::{send_chat, simulate as serve};
use crate::support::upstream::ScriptedUpstream;
use crate::support::{Disturbance, Streamgauge, wait_for};
use cell::{
    EngineBehaviour, EvalCell, EvalRequest, EvalWaits, WARM_UP, capacity, simulate, summary,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;
use streamgauge_sim::model::EngineSpec;

/// Number of requests of a cell.
const REQUESTS: usize = WARM_UP + 150;

/// An engine with about 15, 35 and 120 ms of service time for 1, 4 and 16 slots, and less at low utilisation.
fn engine(cell: &EvalCell) -> EngineSpec {
    let decode = match cell.slots {
        1 if cell.utilisation < 0.5 => Duration::from_micros(400),
        1 => Duration::from_millis(1),
        4 => Duration::from_millis(3),
        _ => Duration::from_millis(12),
    };
    let plain = cell.engine();
    let steals = !plain.decode_per_prefilling.is_zero();
    EngineSpec {
        prefill_base: Duration::from_millis(3),
        prefill_per_token: Duration::from_micros(5),
        decode_base: decode,
        decode_per_running: Duration::ZERO,
        decode_per_prefilling: if steals { decode / 2 } else { Duration::ZERO },
        ..plain
    }
}

/// The same requests with answers of a few events.
fn short(requests: &[EvalRequest]) -> Vec<EvalRequest> {
    let short = |request: &EvalRequest| EvalRequest { output: request.output / 8 + 1, ..*request };
    requests.iter().map(short).collect()
}

fn body(cell: &EvalCell, request: &EvalRequest) -> Value {
    let mut body = json!({
        "model": "sim", "stream": true,
        "messages": [{"role": "user", "content": "x".repeat(request.bytes as usize)}],
        "sim": {"prompt_tokens": request.prompt, "output_tokens": request.output},
    });
    if cell.reports_usage {
        body["stream_options"] = json!({"include_usage": true});
    } else {
        body["sim"]["usage"] = "none".into();
    }
    body
}

/// Runs the cell in real time. Returns the true and the estimated waits of all requests after the warm-up.
fn through_the_app(cell: EvalCell) -> EvalWaits {
    let spec = engine(&cell);
    let capacity = capacity(|all| simulate(&spec, &short(all)), cell.seed);
    let requests = short(&cell.traffic(capacity));
    let (server, truth) = serve(spec);
    let gauge = Streamgauge::with(server, &[("workers", "1")], FaultInjection::default());
    let proxy = gauge.proxy;
    let start = Instant::now();
    let clients: Vec<_> = requests[..REQUESTS]
        .iter()
        .map(|request| {
            let body = body(&cell, request);
            let due = Duration::from_secs_f64(request.at);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let client = std::thread::Builder::new().stack_size(128 * 1024);
            client.spawn(move || send_chat(proxy, &body)).unwrap()
        })
        .collect();
    clients.into_iter().for_each(|client| drop(client.join().unwrap()));
    let mut lines = gauge.requests_when(REQUESTS);
    let mut truth = wait_for("the truth", || {
        let truth = truth.snapshot();
        (truth.len() == REQUESTS).then_some(truth)
    });
    lines.sort_by_key(|line| line["time"].as_str().unwrap().to_owned());
    truth.sort_by(|a, b| a.received.total_cmp(&b.received));
    let scrape = gauge.scrape();
    let is_estimated = |line: &Value| {
        ["slots", "baseline", "lower_bound"].iter().any(|source| line["queue_source"] == *source)
    };
    let count = scrape.sum("streamgauge_queue_wait_seconds_count", &[]);
    let known = lines.iter().filter(|line| is_estimated(line)).count();
    assert_eq!(count, known as f64, "one value for each request that has an estimate");
    assert!(scrape.sum("streamgauge_queue_baseline_samples", &[r#"upstream="#]) >= 5.0);
    let slots = scrape.sum("streamgauge_queue_slots", &[]);
    let is_withdrawn = |line: &Value| line["queue_source"] == "lower_bound";
    let both = || lines.iter().zip(&truth).skip(WARM_UP);
    let judged = || both().filter(|(line, _)| !is_withdrawn(line));
    EvalWaits {
        withdrawn: both().filter(|(line, _)| is_withdrawn(line)).count(),
        truth: judged().map(|(_, one)| one.queue_s.unwrap()).collect(),
        estimate: judged().map(|(line, _)| line["queue_s"].as_f64().unwrap_or(0.0)).collect(),
        missing: judged().filter(|(line, _)| !is_estimated(line)).count(),
        slots: (slots > 0.0).then_some(slots as usize),
    }
}

/// Runs the cells side by side. Fails unless each estimate is as close to the truth as the evaluation on virtual time
/// demands. A disturbed machine widens the bounds.
fn assert_cells_within(cells: &[EvalCell]) {
    let disturbance = Disturbance::watch_alone();
    let cells: Vec<_> = cells
        .iter()
        .map(|cell| {
            let cell = *cell;
            (cell, std::thread::spawn(move || through_the_app(cell)))
        })
        .collect();
    let mut wrong = Vec::new();
    for (cell, waits) in cells {
        let waits = waits.join().unwrap();
        let ((mean, p95), (estimate, estimate_p95)) =
            (summary(&waits.truth), summary(&waits.estimate));
        println!(
            "{cell:?}: mean {:.1} ms for {:.1}, p95 {:.1} for {:.1}, {} missing, {} withdrawn, slots {:?}",
            estimate * 1e3,
            mean * 1e3,
            estimate_p95 * 1e3,
            p95 * 1e3,
            waits.missing,
            waits.withdrawn,
            waits.slots,
        );
        let starved = disturbance.waits_during(estimate_p95);
        let mean_error = (estimate - mean).abs();
        let p95_error = (estimate_p95 - p95).abs();
        // Delays of the machine can contradict the slots. Estimates are then withdrawn.
        let is_known =
            waits.withdrawn < waits.truth.len() || disturbance.worst() > Duration::from_millis(3);
        let is_within = waits.missing == 0
            && is_known
            && mean_error <= disturbance.allow_in_mean((mean * 0.1).max(0.005)) + starved
            && p95_error <= disturbance.allow((p95 * 0.15).max(0.01)) + starved;
        if !is_within {
            wrong.push(cell);
        }
    }
    assert!(wrong.is_empty(), "not within the tolerance: {wrong:?}");
}

fn cell(slots: usize, utilisation: f64, is_bursty: bool, behaviour: EngineBehaviour) -> EvalCell {
    // The server reports token counts in every other cell.
    let reports_usage = is_bursty == (slots == 4);
    EvalCell { slots, utilisation, is_bursty, behaviour, reports_usage, seed: 5 }
}

#[test]
fn estimates_are_close_under_light_load() {
    assert_cells_within(&[
        cell(1, 0.2, false, EngineBehaviour::Plain),
        cell(4, 0.5, true, EngineBehaviour::Cache),
        cell(16, 0.2, false, EngineBehaviour::All),
        cell(16, 0.5, false, EngineBehaviour::Chunked),
    ]);
}

#[test]
fn estimates_are_close_under_heavy_load() {
    assert_cells_within(&[
        cell(1, 0.8, true, EngineBehaviour::Cache),
        cell(1, 0.95, false, EngineBehaviour::All),
        cell(4, 0.9, false, EngineBehaviour::Chunked),
        cell(16, 0.9, true, EngineBehaviour::Plain),
    ]);
}

/// Sends a chat request and reads the response. With `is_early`, the last byte of the request follows the
/// first output.
fn ask_for_words(proxy: SocketAddr, is_early: bool) {
    let header = if is_early { "X-Early: yes\r\n" } else { "" };
    let request = post("/v1/chat/completions", header, br#"{"model": "m", "stream": true}"#);
    let (last, all_but_last) = request.split_last().unwrap();
    let mut client = RawConnection::connect(proxy);
    if is_early {
        client.send(all_but_last);
        client.read_until(b"early").unwrap();
        client.send([*last]);
    } else {
        client.send(&request);
    }
    client.read_until(LAST_CHUNK.as_bytes()).unwrap();
}

/// With a known number of slots, a request that finds a free slot has waited 0 s. That does not hold for a
/// request whose response starts before the request is complete.
#[test]
fn a_response_before_the_end_of_its_request_has_no_estimate() {
    let slot = Mutex::new(());
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(head) = connection.read_head() {
            let early = [STREAM_HEAD.as_bytes(), &chunk(content_event("early"))].concat();
            if !head.header("x-early").is_empty() {
                connection.send(early);
                connection.read_until(b"}").unwrap();
            } else {
                connection.read_until(b"}").unwrap();
                let _slot = slot.lock().unwrap();
                std::thread::sleep(Duration::from_millis(10));
                connection.send(early);
                std::thread::sleep(Duration::from_millis(20));
            }
            connection
                .send([&chunk(finish_event())[..], &chunk(DONE), LAST_CHUNK.as_bytes()].concat());
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let proxy = gauge.proxy;
    let mut sent = 0;
    wait_for("the slot to be found", || {
        let other = std::thread::spawn(move || ask_for_words(proxy, false));
        ask_for_words(proxy, false);
        other.join().unwrap();
        sent += 2;
        (gauge.scrape().sum("streamgauge_queue_slots", &[]) == 1.0).then_some(())
    });
    ask_for_words(proxy, false);
    ask_for_words(proxy, true);
    let lines = gauge.requests_when(sent + 2);
    let early: Vec<_> = lines.iter().skip(sent).map(|line| &line["queue_estimate_s"]).collect();
    assert!(early[0].is_number() && early[1].is_null(), "{early:?}");
}
