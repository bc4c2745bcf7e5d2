//! Clients that disconnect, and the proxy's shutdown.

use crate::support::connection::chunk;
use crate::support::{
    ConnectionEnd, Disturbance, MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge,
    TemporaryLog, chat, wait_for,
};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

/// A stream that pauses where the test needs it: the upstream has sent `pieces` and waits for the
/// connection's end.
struct PausedStream {
    gauge: Streamgauge,
    client: RawConnection,
    left: Receiver<Instant>,
    _upstream: ScriptedUpstream,
}

fn tell(left: &Mutex<Sender<Instant>>, at: Instant) {
    let _ = left.lock().unwrap().send(at);
}

impl PausedStream {
    fn after(pieces: Vec<Vec<u8>>, keys: &[(&'static str, &str)]) -> Self {
        let (sender, left) = channel();
        let sender = Mutex::new(sender);
        let expected: Vec<u8> = pieces.concat();
        let upstream = ScriptedUpstream::with_script(move |_, connection| {
            connection.read_message();
            for piece in &pieces {
                // Each piece arrives alone.
                std::thread::sleep(Duration::from_millis(20));
                connection.send(piece);
            }
            tell(&sender, connection.wait_for_close());
        });
        let gauge = Streamgauge::with(upstream.address, keys, FaultInjection::default());
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        assert_eq!(client.read_exactly(expected.len()).unwrap(), expected);
        Self { gauge, client, left, _upstream: upstream }
    }

    /// Disconnects the client. Fails unless the upstream's connection ends at once. Returns the log line and
    /// a scrape.
    fn leave(self, outcome: &str) -> (Value, MetricsScrape) {
        let before = self.gauge.scrape();
        before.assert_balanced();
        assert_eq!(before.ended(), 0.0);
        let disturbance = Disturbance::watch();
        let start = Instant::now();
        drop(self.client);
        let left = self.left.recv_timeout(Duration::from_secs(20)).unwrap() - start;
        println!("{outcome}: the upstream's connection ended after {left:?}");
        assert!(left.as_secs_f64() < disturbance.allow(0.5), "{left:?}");
        let record = self.gauge.assert_single_request(outcome);
        let after = self.gauge.scrape();
        after.assert_not_below(&before);
        (record, after)
    }
}

fn words(count: usize) -> Vec<Vec<u8>> {
    let words = (0..count).map(|i| chunk(chat::content_event(&format!("w{i}"))));
    std::iter::once(chat::STREAM_HEAD.into()).chain(words).collect()
}

#[test]
fn a_disconnect_before_the_response_headers() {
    let paused = PausedStream::after(Vec::new(), &[]);
    wait_for("the request at the upstream", || {
        (paused.gauge.scrape().in_phase("waiting") == 1.0).then_some(())
    });
    let (record, scrape) = paused.leave("client_gone_before_head");
    assert_eq!((&record["status"], &record["head_s"]), (&Value::Null, &Value::Null));
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 0.0);
}

#[test]
fn a_disconnect_before_the_first_token() {
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let paused =
        PausedStream::after(vec![chat::STREAM_HEAD.into(), chunk(role), chunk(": ping\n\n")], &[]);
    assert_eq!(paused.gauge.scrape().in_phase("waiting"), 1.0, "a role is no output");
    let (record, scrape) = paused.leave("client_gone_before_token");
    assert_eq!((&record["status"], &record["ttft_s"]), (&200.into(), &Value::Null));
    assert_eq!(scrape.sum("gen_ai_server_time_to_first_token_seconds_count", &[]), 0.0);
}

#[test]
fn a_disconnect_mid_stream_keeps_the_samples_so_far() {
    let paused = PausedStream::after(words(4), &[]);
    let running = paused.gauge.scrape();
    assert_eq!(running.in_phase("streaming"), 1.0);
    assert_eq!(running.sum("streamgauge_tokens_total", &["type=\"output\""]), 4.0, "while it runs");
    let (record, scrape) = paused.leave("client_gone_mid_stream");
    assert_eq!(record["output_tokens"], 4);
    assert_eq!(record["chunks"], 4);
    for (name, count) in [
        ("gen_ai_server_time_to_first_token_seconds_count", 1.0),
        ("streamgauge_inter_token_latency_seconds_count", 3.0),
        ("streamgauge_inter_chunk_latency_seconds_count", 3.0),
        ("gen_ai_server_request_duration_seconds_count", 1.0),
        // Only complete streams have these.
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
fn a_disconnect_after_the_end_of_the_stream_is_ok() {
    let mut pieces = words(2);
    pieces.push(chunk(chat::DONE));
    let (record, _) = PausedStream::after(pieces, &[]).leave("ok");
    assert_eq!(record["output_tokens"], 2);
}

#[test]
fn a_reset_by_the_client_is_a_disconnect() {
    let PausedStream { gauge, client, left, _upstream } = PausedStream::after(words(2), &[]);
    client.reset();
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    gauge.assert_single_request("client_gone_mid_stream");
}

/// As in nginx and other proxies, the end of the client's direction is the end of the client.
#[test]
fn a_half_close_by_the_client_is_a_disconnect() {
    let PausedStream { gauge, client, left, _upstream } = PausedStream::after(words(2), &[]);
    client.half_close();
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    gauge.assert_single_request("client_gone_mid_stream");
}

#[test]
fn a_disconnect_while_sending_the_request() {
    let (sender, left) = channel();
    let sender = Mutex::new(sender);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head().unwrap();
        tell(&sender, connection.wait_for_close());
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{\"model\":",
    );
    wait_for("the request", || (gauge.scrape().in_phase("sending") == 1.0).then_some(()));
    drop(client);
    left.recv_timeout(Duration::from_secs(20)).unwrap();
    let record = gauge.assert_single_request("client_gone_before_head");
    assert_eq!((&record["status"], &record["bytes_up"]), (&Value::Null, &9.into()));
}

#[test]
fn shutdown_cuts_open_streams_after_the_grace_period() {
    let log = TemporaryLog::default();
    let keys = [("shutdown_grace_seconds", "0.2"), ("request_log", log.path())];
    let mut paused = PausedStream::after(words(3), &keys);
    let start = Instant::now();
    let admin = paused.gauge.admin;
    paused.gauge.begin_shutdown();
    // Until then the stream continues, and the admin port reports the drain.
    wait_for("the drain", || {
        let mut asking = RawConnection::connect(admin);
        asking.send("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
        (asking.read_message().status() == 503).then_some(())
    });
    wait_for("no new clients", || std::net::TcpStream::connect(paused.gauge.proxy).err());
    let (got, _) = paused.client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&got), "", "no last chunk");
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(190) && after < Duration::from_secs(3), "{after:?}");
    paused.left.recv_timeout(Duration::from_secs(20)).unwrap();
    paused.gauge.stop();
    let records = log.records();
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"proxy_shutdown".into()));
    assert_eq!(records[0]["output_tokens"], 3);
}

#[test]
fn a_drain_lets_an_open_stream_finish() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
        wait.lock().unwrap().recv().unwrap();
        connection.send(
            [chunk(chat::finish_event()), chunk(chat::DONE), chat::LAST_CHUNK.into()].concat(),
        );
        connection.wait_for_close();
    });
    let log = TemporaryLog::default();
    let gauge = Streamgauge::with(
        upstream.address,
        &[("request_log", log.path())],
        FaultInjection::default(),
    );
    let mut client = RawConnection::connect(gauge.proxy);
    let mut idle = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    client.read_head().unwrap();
    client.read_exactly(chunk(chat::content_event("Hi")).len()).unwrap();
    gauge.begin_shutdown();
    assert_eq!(
        idle.read_to_end(),
        (Vec::new(), ConnectionEnd::Closed),
        "an idle connection is closed"
    );
    assert_eq!(gauge.scrape().in_phase("streaming"), 1.0);
    go.send(()).unwrap();
    let (rest, ending) = client.read_to_end();
    assert!(rest.ends_with(chat::LAST_CHUNK.as_bytes()) && ending == ConnectionEnd::Closed);
    gauge.stop();
    let records = log.records();
    assert_eq!((records.len(), &records[0]["outcome"]), (1, &"ok".into()));
}
