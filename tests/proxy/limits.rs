//! Limits on clients: time, number of requests, and size of headers.

use crate::support::connection::ConnectionEnd;
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat, scrape, wait_for,
};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Time limit in the tests, and how long the tests wait for it at most. Other work may slow the machine down.
const LIMIT: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(15);

fn gauge_with(upstream: SocketAddr, keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(upstream, keys, FaultInjection::default())
}

impl MetricsScrape {
    /// Number of times that a limit was exceeded.
    fn exceeded(&self, limit: &str) -> f64 {
        self.sum("streamgauge_limit_exceeded_total", &[&format!("limit=\"{limit}\"")])
    }
}

/// Fails unless the limit was exceeded this often, no other limit was, and the metrics add up.
fn assert_exceeded(gauge: &Streamgauge, limit: &str, count: f64) {
    wait_for("the counter of the limit", || {
        (gauge.scrape().exceeded(limit) >= count).then_some(())
    });
    let scrape = gauge.scrape();
    assert_eq!(scrape.exceeded(limit), count, "{limit}");
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[]), count, "only {limit}");
    scrape.assert_balanced();
}

/// Waits until the proxy has closed the connection. Returns what it sent, and the time since `start`.
fn closed_after(client: &mut RawConnection, start: Instant) -> (String, Duration) {
    let (received, _) = client.read_to_end();
    let elapsed = start.elapsed();
    assert!(elapsed >= LIMIT - Duration::from_millis(50), "closed after {elapsed:?}");
    assert!(elapsed < PATIENCE, "closed after {elapsed:?}");
    (String::from_utf8(received).unwrap(), elapsed)
}

/// Sends a byte every 50 ms until the proxy closes the connection.
fn trickle(client: &RawConnection) -> thread::JoinHandle<()> {
    use std::io::Write;
    let mut socket = client.socket.try_clone().unwrap();
    thread::spawn(move || {
        let start = Instant::now();
        while socket.write_all(b"x").is_ok() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
        }
    })
}

#[test]
fn every_limit_is_exported_from_the_first_scrape() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    let page = scrape::get(gauge.admin, "/metrics");
    for limit in [
        "request_header_time",
        "keep_alive_time",
        "request_body_time",
        "tls_handshake_time",
        "connections",
        "connection_requests",
        "request_header_size",
        "response_header_time",
        "response_silence",
        "request_time",
        "http2_resets",
        "interim_responses",
        "descriptors",
    ] {
        let start = format!("streamgauge_limit_exceeded_total{{limit=\"{limit}\",");
        let line = page.lines().find(|line| line.starts_with(&start));
        assert!(line.is_some_and(|line| line.ends_with(" 0")), "{limit}: {line:?}");
    }
}

#[test]
fn a_client_that_sends_nothing_is_closed_silently() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(upstream.address, &[("request_header_timeout_seconds", "0.4")]);
    let start = Instant::now();
    let (sent, _) = closed_after(&mut RawConnection::connect(gauge.proxy), start);
    assert_eq!(sent, "");
    assert_exceeded(&gauge, "request_header_time", 1.0);
    assert_eq!(gauge.scrape().ended(), 0.0, "there was no request");
}

#[test]
fn half_a_head_gets_408() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(upstream.address, &[("request_header_timeout_seconds", "0.4")]);
    // The third is the start of HTTP/2's preface and of a method.
    for begun in ["POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-A: ", "G", "P"] {
        let mut client = RawConnection::connect(gauge.proxy);
        let start = Instant::now();
        client.send(begun);
        let (sent, _) = closed_after(&mut client, start);
        assert!(sent.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{sent}");
        assert!(sent.contains("x-streamgauge-error: request_header_timeout\r\n"), "{sent}");
        assert!(sent.contains("connection: close\r\n"), "{sent}");
        let (_, body) = sent.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "request_header_timeout");
    }
    assert_exceeded(&gauge, "request_header_time", 3.0);
}

/// Bytes that arrive from time to time do not extend the limit.
#[test]
fn a_trickled_head_gets_408() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(upstream.address, &[("request_header_timeout_seconds", "0.4")]);
    let mut client = RawConnection::connect(gauge.proxy);
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-A: ");
    let trickle = trickle(&client);
    let head = client.read_head().unwrap();
    assert_eq!(head.status(), 408);
    assert!(start.elapsed() >= LIMIT - Duration::from_millis(50));
    trickle.join().unwrap();
    assert_exceeded(&gauge, "request_header_time", 1.0);
}

/// The limit starts anew with each request of a connection, also after a stream.
#[test]
fn the_head_of_a_later_request_has_its_own_limit() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(upstream.address, &[("request_header_timeout_seconds", "0.4")]);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(150));
        client.send(chat::request());
        assert_eq!(client.read_message().status(), 200);
    }
    // The idle time before does not count.
    thread::sleep(Duration::from_millis(600));
    let start = Instant::now();
    client.send("POST /v1/chat");
    let (sent, _) = closed_after(&mut client, start);
    assert!(sent.starts_with("HTTP/1.1 408 "), "{sent}");
    assert_exceeded(&gauge, "request_header_time", 1.0);
    assert_eq!(gauge.scrape().ended(), 4.0);
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let stream = chat::stream_response(&[chat::content_event("Hi"), chat::DONE.into()]);
    for answer in [OK.as_bytes().to_vec(), stream] {
        let upstream = ScriptedUpstream::responding_with(answer);
        let gauge = gauge_with(upstream.address, &[("keep_alive_timeout_seconds", "0.4")]);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        let start = Instant::now();
        assert_eq!(client.read_message().status(), 200);
        let (sent, _) = closed_after(&mut client, start);
        assert_eq!(sent, "");
        assert_exceeded(&gauge, "keep_alive_time", 1.0);
    }
}

/// Limits on clients do not limit the server: a response may take longer than all of them.
#[test]
fn a_slow_response_is_not_cut() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        thread::sleep(Duration::from_millis(700));
        connection.send(chat::STREAM_HEAD);
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(700));
            connection.send(crate::support::connection::chunk(chat::content_event("Hi")));
        }
        connection.send(chat::LAST_CHUNK);
    });
    let keys = [
        ("request_header_timeout_seconds", "0.2"),
        ("keep_alive_timeout_seconds", "0.3"),
        ("request_body_timeout_seconds", "0.2"),
    ];
    let gauge = gauge_with(upstream.address, &keys);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let answer = client.read_message();
    assert_eq!(answer.status(), 200);
    assert!(answer.body.ends_with(b"0\r\n\r\n"));
    let (rest, _) = client.read_to_end();
    assert_eq!(rest, b"", "idle now");
    assert_exceeded(&gauge, "keep_alive_time", 1.0);
}

#[test]
fn a_body_that_stops_gets_408() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.wait_for_close();
    });
    let gauge = gauge_with(upstream.address, &[("request_body_timeout_seconds", "0.4")]);
    let mut client = RawConnection::connect(gauge.proxy);
    let start = Instant::now();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n{");
    let (sent, _) = closed_after(&mut client, start);
    assert!(sent.starts_with("HTTP/1.1 408 "), "{sent}");
    assert!(sent.contains("x-streamgauge-error: request_body_timeout\r\n"), "{sent}");
    assert!(sent.to_lowercase().contains("connection: close\r\n"), "{sent}");
    gauge.assert_single_request("client_error");
    assert_exceeded(&gauge, "request_body_time", 1.0);
    wait_for("the end of the upstream's connection", || {
        (upstream.received().len() == 1).then_some(())
    });
}

/// A byte from time to time is no progress.
#[test]
fn a_trickled_body_gets_408() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.wait_for_close();
    });
    let gauge = gauge_with(upstream.address, &[("request_body_timeout_seconds", "0.4")]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n{");
    let trickle = trickle(&client);
    assert_eq!(client.read_head().unwrap().status(), 408);
    trickle.join().unwrap();
    gauge.assert_single_request("client_error");
    assert_exceeded(&gauge, "request_body_time", 1.0);
}

/// An upload that takes several times the limit is served if it makes progress. So is one that waits for the server.
#[test]
fn a_slow_upload_is_not_cut() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        // Read nothing at first: the proxy cannot read either.
        thread::sleep(Duration::from_millis(2500));
        connection.read_message();
        connection.send(OK);
    });
    let gauge = gauge_with(upstream.address, &[("request_body_timeout_seconds", "1.5")]);
    let large = 16 << 20;
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {large}\r\n\r\n"));
    client.send(vec![b'x'; large]);
    assert_eq!(client.read_message().status(), 200);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n");
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(250));
        client.send([b'x'; 1000]);
    }
    assert_eq!(client.read_message().status(), 200);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[]), 0.0);
    assert_eq!(scrape.ended(), 2.0);
}

#[test]
fn the_last_request_of_a_connection_announces_the_close() {
    let stream = chat::stream_response(&[chat::content_event("Hi"), chat::DONE.into()]);
    for answer in [OK.as_bytes().to_vec(), stream] {
        let upstream = ScriptedUpstream::responding_with(answer);
        let gauge = gauge_with(upstream.address, &[("max_requests_per_connection", "3")]);
        let mut client = RawConnection::connect(gauge.proxy);
        for i in 1..=3 {
            client.send(chat::request());
            let answer = client.read_message();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.header("connection").len(), usize::from(i == 3), "request {i}");
        }
        assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
        assert_exceeded(&gauge, "connection_requests", 1.0);
    }
}

#[test]
fn headers_that_are_too_large_or_too_many_get_431() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let keys = [("max_request_header_bytes", "4096"), ("max_request_headers", "20")];
    let gauge = gauge_with(upstream.address, &keys);
    let large = |bytes: usize| format!("X-A: {}\r\n", "a".repeat(bytes));
    let many = |lines: usize| "X-A: a\r\n".repeat(lines);
    let cases = [
        (large(3900), 200),
        (large(4200), 431),
        (large(100_000), 431),
        (many(19), 200),
        (many(20), 431),
    ];
    for (lines, status) in cases {
        let mut client = RawConnection::connect(gauge.proxy);
        client.try_send(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"));
        assert_eq!(client.read_head().unwrap().status(), status, "{} bytes", lines.len());
    }
    assert_exceeded(&gauge, "request_header_size", 3.0);
}

/// Half heads, trickled heads, trickled bodies and idle connections end within their limits, while other clients are
/// served.
#[test]
fn hundreds_of_slow_clients_end_within_their_limits() {
    const CLIENTS: usize = 200;
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        while connection.try_read_message().is_some() && connection.try_send(OK) {}
    });
    let keys = [
        ("request_header_timeout_seconds", "2"),
        ("keep_alive_timeout_seconds", "2"),
        ("request_body_timeout_seconds", "2"),
    ];
    let gauge = gauge_with(upstream.address, &keys);
    let body = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n{";
    let slow: Vec<(RawConnection, bool)> = (0..CLIENTS)
        .map(|i| {
            let mut client = RawConnection::connect(gauge.proxy);
            let (begun, trickles) = match i % 4 {
                0 => ("GET / HTTP/1.1\r\nHost: h\r\n", false),
                1 => ("GET / HTTP/1.1\r\nX-A: ", true),
                2 => (body, true),
                _ => ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false),
            };
            client.send(begun);
            if i % 4 == 3 {
                assert_eq!(client.read_message().status(), 200);
            }
            (client, trickles)
        })
        .collect();
    let start = Instant::now();
    thread::scope(|scope| {
        let mut trickling: Vec<_> = slow
            .iter()
            .filter(|(_, trickles)| *trickles)
            .map(|(client, _)| client.socket.try_clone().unwrap())
            .collect();
        scope.spawn(move || {
            use std::io::Write;
            while start.elapsed() < PATIENCE {
                let sent: Vec<bool> =
                    trickling.iter_mut().map(|socket| socket.write_all(b"x").is_ok()).collect();
                if sent.iter().all(|sent| !sent) {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        scope.spawn(|| {
            for _ in 0..100 {
                let mut client = RawConnection::connect(gauge.proxy);
                client.send(chat::request());
                assert_eq!(client.read_message().status(), 200);
                assert!(scrape::get(gauge.admin, "/metrics").contains("streamgauge_in_flight"));
            }
        });
        for (mut client, _) in slow {
            // A client that goes on sending can get a reset.
            client.read_to_end();
            assert!(start.elapsed() < PATIENCE);
        }
    });
    let quarter = (CLIENTS / 4) as f64;
    wait_for("the counters", || {
        let scrape = gauge.scrape();
        (scrape.exceeded("keep_alive_time") == quarter).then_some(())
    });
    let scrape = gauge.scrape();
    assert_eq!(scrape.exceeded("request_header_time"), 2.0 * quarter);
    assert_eq!(scrape.exceeded("request_body_time"), quarter);
    scrape.assert_balanced();
    assert_eq!(scrape.sum("streamgauge_in_flight_requests", &[]), 0.0);
    assert_eq!(scrape.ended(), 100.0 + 2.0 * quarter);
}
