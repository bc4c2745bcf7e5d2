//! Clients that leave, and our own shutdown.

use crate::support::wire::chunk;
use crate::support::{Ending, Gauge, Scrape, TemporaryLog, Upstream, Wire, chat, wait_for};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use streamgauge::tap::FaultInjection;

/// A stream that stands still where the test wants it to: the upstream has sent `pieces` and then
/// waits for its connection to end.
struct Still {
    gauge: Gauge,
    client: Wire,
    left: Receiver<Instant>,
    _upstream: Upstream,
}

fn tell(left: &Mutex<Sender<Instant>>, at: Instant) {
    let _ = left.lock().unwrap().send(at);
}

impl Still {
    fn after(pieces: Vec<Vec<u8>>, keys: &[(&'static str, &str)]) -> Self {
        let (sender, left) = channel();
        let sender = Mutex::new(sender);
        let expected: Vec<u8> = pieces.concat();
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            for piece in &pieces {
                // Each piece is an arrival of its own.
                std::thread::sleep(Duration::from_millis(20));
                wire.send(piece);
            }
            tell(&sender, wire.gone());
        });
        let gauge = Gauge::with(upstream.address, keys, FaultInjection::default());
        let mut client = Wire::connect(gauge.proxy);
        client.send(chat::request());
        assert_eq!(client.exactly(expected.len()).unwrap(), expected);
        Self { gauge, client, left, _upstream: upstream }
    }

    /// The client leaves; the upstream must hear of it at once. Gives the line of the log.
    fn leave(self, outcome: &str) -> (Value, Scrape) {
        let before = self.gauge.scrape();
        before.assert_balanced();
        assert_eq!(before.ended(), 0.0);
        let start = Instant::now();
        drop(self.client);
        let left = self.left.recv_timeout(Duration::from_secs(20)).unwrap() - start;
        println!("{outcome}: the upstream's connection ended after {left:?}");
        assert!(left < Duration::from_millis(500), "{left:?}");
        let record = self.gauge.assert_one(outcome);
        let after = self.gauge.scrape();
        after.assert_not_below(&before);
        (record, after)
    }
}

fn words(count: usize) -> Vec<Vec<u8>> {
    let words = (0..count).map(|i| chunk(chat::word(&format!("w{i}"))));
    std::iter::once(chat::STREAM.into()).chain(words).collect()
}

#[test]
fn a_client_that_leaves_before_the_head() {
    let still = Still::after(Vec::new(), &[]);
    wait_for("the request at the upstream", || {
        (still.gauge.scrape().in_phase("waiting") == 1.0).then_some(())
    });
    let (record, scrape) = still.leave("client_gone_before_head");
    assert_eq!((&record["status"], &record["head_s"]), (&Value::Null, &Value::Null));
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 0.0);
}

#[test]
fn a_client_that_leaves_before_the_first_token() {
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let still = Still::after(vec![chat::STREAM.into(), chunk(role), chunk(": ping\n\n")], &[]);
    assert_eq!(still.gauge.scrape().in_phase("waiting"), 1.0, "a role is no output");
    let (record, scrape) = still.leave("client_gone_before_token");
    assert_eq!((&record["status"], &record["ttft_s"]), (&200.into(), &Value::Null));
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 0.0);
}

#[test]
fn a_client_that_leaves_mid_stream_keeps_what_the_stream_earned() {
    let still = Still::after(words(4), &[]);
    let running = still.gauge.scrape();
    assert_eq!(running.in_phase("streaming"), 1.0);
    assert_eq!(running.sum("streamgauge_tokens_total", &["type=\"output\""]), 4.0, "while it runs");
    let (record, scrape) = still.leave("client_gone_mid_stream");
    assert_eq!(record["output_tokens"], 4);
    assert_eq!(record["chunks"], 4);
    for (name, count) in [
        ("gen_ai_server_time_to_first_token_seconds_count", 1.0),
        ("streamgauge_inter_token_latency_seconds_count", 3.0),
        ("streamgauge_inter_chunk_latency_seconds_count", 3.0),
        ("gen_ai_server_request_duration_seconds_count", 1.0),
        // These are of complete streams only.
        ("gen_ai_server_time_per_output_token_seconds_count", 0.0),
        ("streamgauge_latency_seconds_count", 0.0),
    ] {
        assert_eq!(scrape.sum(name, &[]), count, "{name}");
    }
    // The sum of ITL is the time from the first to the last output.
    let sum = scrape.sum("streamgauge_inter_token_latency_seconds_sum", &[]);
    let span = record["latency_s"].as_f64().unwrap() - record["ttft_s"].as_f64().unwrap();
    assert!((sum - span).abs() < 1e-6, "{sum} is not {span}");
}

#[test]
fn a_client_that_leaves_after_the_end_of_the_stream() {
    let mut pieces = words(2);
    pieces.push(chunk(chat::DONE));
    let (record, _) = Still::after(pieces, &[]).leave("ok");
    assert_eq!(record["output_tokens"], 2);
}

#[test]
fn a_client_that_resets() {
    let Still { gauge, client, left, _upstream } = Still::after(words(2), &[]);
    client.reset();
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    gauge.assert_one("client_gone_mid_stream");
}

/// As nginx does, and the other proxies: an end of the client's direction is the end of the client.
#[test]
fn a_client_that_half_closes_has_left() {
    let Still { gauge, client, left, _upstream } = Still::after(words(2), &[]);
    client.half_close();
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    gauge.assert_one("client_gone_mid_stream");
}

#[test]
fn a_client_that_leaves_while_it_sends() {
    let (sender, left) = channel();
    let sender = Mutex::new(sender);
    let upstream = Upstream::each(move |_, wire| {
        wire.head().unwrap();
        tell(&sender, wire.gone());
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Wire::connect(gauge.proxy);
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{\"model\":",
    );
    wait_for("the request", || (gauge.scrape().in_phase("sending") == 1.0).then_some(()));
    drop(client);
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    let record = gauge.assert_one("client_gone_before_head");
    assert_eq!((&record["status"], &record["bytes_up"]), (&Value::Null, &9.into()));
}

#[test]
fn our_shutdown_cuts_what_does_not_end() {
    let log = TemporaryLog::new("cut");
    let keys = [("shutdown_grace_seconds", "0.2"), ("request_log", log.path())];
    let mut still = Still::after(words(3), &keys);
    let start = Instant::now();
    let admin = still.gauge.admin;
    still.gauge.tell_to_stop();
    // Until then it runs on, and the admin port says that we drain.
    wait_for("the drain", || {
        let mut asking = Wire::connect(admin);
        asking.send("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
        (asking.message().status() == 503).then_some(())
    });
    wait_for("no new clients", || std::net::TcpStream::connect(still.gauge.proxy).err());
    let (got, _) = still.client.rest();
    assert_eq!(String::from_utf8_lossy(&got), "", "no last chunk");
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(190) && after < Duration::from_secs(3), "{after:?}");
    still.left.recv_timeout(Duration::from_secs(20)).unwrap();
    still.gauge.stop();
    let records = log.records();
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"proxy_shutdown".into()));
    assert_eq!(records[0]["output_tokens"], 3);
}

#[test]
fn a_drain_lets_a_running_stream_finish() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::each(move |_, wire| {
        wire.message();
        wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("Hi"))].concat());
        wait.lock().unwrap().recv().unwrap();
        wire.send([chunk(chat::finish()), chunk(chat::DONE), chat::LAST.into()].concat());
        wire.gone();
    });
    let log = TemporaryLog::new("drained");
    let gauge =
        Gauge::with(upstream.address, &[("request_log", log.path())], FaultInjection::default());
    let mut client = Wire::connect(gauge.proxy);
    let mut idle = Wire::connect(gauge.proxy);
    client.send(chat::request());
    client.head().unwrap();
    client.exactly(chunk(chat::word("Hi")).len()).unwrap();
    gauge.tell_to_stop();
    assert_eq!(idle.rest(), (Vec::new(), Ending::Closed), "an idle connection is closed");
    assert_eq!(gauge.scrape().in_phase("streaming"), 1.0);
    go.send(()).unwrap();
    let (rest, ending) = client.rest();
    assert!(rest.ends_with(chat::LAST.as_bytes()) && ending == Ending::Closed);
    gauge.stop();
    let records = log.records();
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"ok".into()));
}
