//! Hundreds of requests with faults on both sides: every request is counted once.

use crate::support::connection::chunk;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, one_to, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use streamgauge::testing::FaultInjection;
use streamgauge_sim::rng::SplitMix64;

const CLIENTS: u64 = 12;
const REQUESTS: u64 = 40;

/// One of many behaviors of a server. Returns `false` if the connection is over.
fn respond_or_misbehave(connection: &mut RawConnection, rng: &mut SplitMix64) -> bool {
    let words: Vec<String> =
        (0..one_to(rng, 6)).map(|i| chat::content_event(&format!("w{i}"))).collect();
    let count = words.len() as u64;
    let whole = [
        words.clone(),
        vec![chat::finish_event(), chat::usage_event(count + 3), chat::DONE.into()],
    ]
    .concat();
    let cut = one_to(rng, whole.len()) - 1;
    let part: Vec<u8> = whole[..cut].iter().flat_map(chunk).collect();
    let (answer, is_kept) = match one_to(rng, 12) {
        1 => (Vec::new(), false),
        2 => (b"HTTP/1.1 200 OK\r\nConte".to_vec(), false),
        3 => (b"no HTTP at all\r\n\r\n".to_vec(), false),
        4 => ([chat::STREAM_HEAD.as_bytes(), &part].concat(), false),
        5 => (chat::response("429 Too Many Requests", "application/json", b"{}"), true),
        6 => (chat::response("500 Internal Server Error", "text/plain", b"oops"), true),
        7 => (chat::stream_response(&whole[..cut]), true),
        8 => {
            let error = "data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned();
            (chat::stream_response(&[words, vec![error]].concat()), true)
        }
        9 => ([chat::STREAM_HEAD.as_bytes(), &part, b"zz\r\nbroken chunk"].concat(), false),
        _ => (chat::stream_response(&whole), true),
    };
    let (first, rest) = answer.split_at(one_to(rng, answer.len() + 1) - 1);
    let first = connection.try_send(first);
    std::thread::sleep(Duration::from_micros(one_to(rng, 2000) as u64));
    first && connection.try_send(rest) && is_kept
}

/// One of many behaviors of a client. Returns `false` if it needs another connection.
fn send_or_misbehave(connection: &mut RawConnection, rng: &mut SplitMix64) -> bool {
    let request = chat::request_for(["a", "b"][one_to(rng, 2) - 1]);
    match one_to(rng, 8) {
        1 => {
            connection.try_send(&request[..one_to(rng, request.len()) - 1]);
            false
        }
        2 => {
            connection.try_send(&request);
            std::thread::sleep(Duration::from_micros(one_to(rng, 3000) as u64));
            false
        }
        3 => {
            connection.try_send(&request);
            connection.read_head();
            false
        }
        4 => {
            let head =
                "POST /v1/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            connection.try_send(format!("{head}zz\r\n"));
            connection.read_head();
            false
        }
        _ => {
            connection.try_send(&request)
                && connection
                    .try_read_message()
                    .is_some_and(|answer| answer.header("connection").is_empty())
        }
    }
}

#[test]
fn counters_and_log_agree_under_random_faults() {
    let upstream = ScriptedUpstream::with_script(|number, connection| {
        let mut rng = SplitMix64::new(1_000_000 + number as u64);
        while connection.try_read_message().is_some() && respond_or_misbehave(connection, &mut rng)
        {
        }
        if one_to(&mut rng, 2) == 1
            && let Ok(socket) = connection.socket.try_clone()
        {
            RawConnection::from_socket(socket).reset();
        }
    });
    let gauge = Streamgauge::with(upstream.address, &[], FaultInjection::default());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let proxy = gauge.proxy;
                scope.spawn(move || {
                    let mut rng = SplitMix64::new(client);
                    let mut connection = RawConnection::connect(proxy);
                    for _ in 0..REQUESTS {
                        if !send_or_misbehave(&mut connection, &mut rng) {
                            let old =
                                std::mem::replace(&mut connection, RawConnection::connect(proxy));
                            if one_to(&mut rng, 2) == 1 {
                                old.reset();
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut before = gauge.scrape();
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let now = gauge.scrape();
                now.assert_not_below(&before);
                before = now;
            }
        });
        let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(results.iter().all(Result::is_ok), "a client panicked");
    });
    let scrape = wait_for("the end of every request", || {
        let scrape = gauge.scrape();
        (scrape.sum("streamgauge_in_flight_requests", &[]) == 0.0).then_some(scrape)
    });
    scrape.assert_balanced();
    let records = gauge.requests_when(scrape.ended() as usize);
    let mut outcomes = BTreeMap::<&str, usize>::new();
    for record in &records {
        *outcomes.entry(record["outcome"].as_str().unwrap()).or_default() += 1;
    }
    println!("{} requests: {outcomes:?}", records.len());
    assert!(records.len() as f64 == scrape.ended() && records.len() > 200);
    for (outcome, count) in &outcomes {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(scrape.sum("streamgauge_requests_total", &[&label]) as usize, *count, "{label}");
    }
    for expected in ["ok", "truncated", "stream_error", "rejected", "server_error", "client_error"]
    {
        assert!(outcomes.contains_key(expected), "no request was {expected}");
    }
    assert!(!outcomes.contains_key("internal"));
    let logged = |key: &str| records.iter().filter_map(|record| record[key].as_u64()).sum::<u64>();
    let counted = |labels: &[&str]| scrape.sum("streamgauge_tokens_total", labels) as u64;
    assert_eq!(counted(&["type=\"output\""]), logged("output_tokens"));
    assert_eq!(counted(&["type=\"input\""]), logged("input_tokens"));
    let bytes = |direction: &str| scrape.sum("streamgauge_bytes_total", &[direction]) as u64;
    assert_eq!(bytes("direction=\"down\""), logged("bytes_down"));
    let ttft = scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]) as usize;
    assert_eq!(ttft, records.iter().filter(|record| record["ttft_s"] != Value::Null).count());
}
