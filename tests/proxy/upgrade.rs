//! `Upgrade`: WebSocket and any other protocol.

use crate::support::connection::ConnectionEnd;
use crate::support::pattern::PatternBody;
use crate::support::upstream::EventReceiver;
use crate::support::{
    Disturbance, RawConnection, RawMessage, ScriptedUpstream, Streamgauge, TemporaryLog, chat,
};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const ASK: &str = "GET /v1/realtime HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                      Sec-WebSocket-Accept: def\r\n\r\n";

/// Requests an upgrade and returns the client with the response headers.
fn request_upgrade(gauge: &Streamgauge) -> (RawConnection, RawMessage) {
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(ASK);
    let answer = client.read_head().unwrap();
    (client, answer)
}

#[test]
fn upgraded_bytes_pass_in_both_directions() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send([SWITCH.as_bytes(), b"\x81\x05hello"].concat());
        while let Some(bytes) = connection.read_exactly(4) {
            connection.send(bytes.repeat(2));
        }
        connection.send("bye");
    });
    let gauge = Streamgauge::new(upstream.address);
    let (mut client, answer) = request_upgrade(&gauge);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: def\r\n\
                    Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    assert_eq!(answer.text(), expected);
    assert_eq!(client.read_exactly(7).unwrap(), b"\x81\x05hello");
    for word in ["ping", "GET ", "\r\n\r\n", "0\r\n\r"] {
        client.send(word);
        assert_eq!(client.read_exactly(8).unwrap(), word.repeat(2).into_bytes());
    }
    assert_eq!(gauge.scrape().in_phase("streaming"), 1.0);
    // One direction ends, and the other continues.
    client.half_close();
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), ConnectionEnd::Closed));
    let record = gauge.assert_single_request("ok");
    assert_eq!((&record["status"], &record["bytes_up"]), (&101.into(), &16.into()));
    assert_eq!(record["bytes_down"], 7 + 32 + 3);
    let got = crate::support::wait_for("the upstream's end", || upstream.received().pop());
    let head = "GET /v1/realtime HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: abc\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\n\r\n";
    assert!(String::from_utf8(got).unwrap().starts_with(head));
}

#[test]
fn the_server_may_end_first() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        connection.half_close();
        assert_eq!(connection.read_to_end(), (b"last words".to_vec(), ConnectionEnd::Closed));
    });
    let gauge = Streamgauge::new(upstream.address);
    let (mut client, _) = request_upgrade(&gauge);
    assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    client.send("last words");
    drop(client);
    gauge.assert_single_request("ok");
    let got = crate::support::wait_for("the upstream's end", || upstream.received().pop());
    assert!(got.ends_with(b"last words"));
}

/// Bytes that a client sends early belong to the new protocol only after the server has agreed.
#[test]
fn no_byte_is_tunnelled_before_the_switch() {
    let (early, is_early) = mpsc::channel();
    let early = Mutex::new(early);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        connection.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        early.lock().unwrap().send(connection.socket.peek(&mut [0; 1]).is_ok()).unwrap();
        connection.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        connection.send(SWITCH);
        assert_eq!(connection.read_exactly(5).unwrap(), b"early");
        connection.send("late");
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send([ASK, "early"].concat());
    assert_eq!(client.read_head().unwrap().status(), 101);
    assert_eq!(client.read_exactly(4).unwrap(), b"late");
    assert!(!is_early.recv().unwrap());
    drop(client);
    assert_eq!(gauge.assert_single_request("ok")["bytes_up"], 5);
}

/// A server that refuses sends an ordinary response, and the next request follows.
#[test]
fn a_refused_upgrade_is_an_ordinary_response() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(chat::response("403 Forbidden", "text/plain", b"no"));
        assert!(connection.read_head().unwrap().text().starts_with("GET /next HTTP/1.1\r\n"));
        connection.send(chat::stream_response(&[chat::DONE.into()]));
        connection.wait_for_close();
    });
    let gauge = Streamgauge::with(upstream.address, &[("workers", "1")], FaultInjection::default());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send([ASK, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"].concat());
    let answer = client.read_message();
    assert_eq!((answer.status(), answer.body), (403, b"no".to_vec()));
    assert_eq!(client.read_message().data(), chat::DONE.as_bytes());
    assert_eq!(upstream.connections(), 1);
    let outcomes: Vec<_> = gauge.requests_when(2).iter().map(|r| r["outcome"].clone()).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.contains(&"client_error".into()) && outcomes.contains(&"ok".into()));
}

#[test]
fn an_unrequested_switch_is_an_invalid_response() {
    let other = SWITCH.replace("WebSocket", "other");
    let none = SWITCH.replace("Upgrade: WebSocket\r\n", "");
    let plain = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for (request, answer) in [(plain, SWITCH), (ASK, &*other), (ASK, &*none)] {
        let upstream = ScriptedUpstream::with_script({
            let answer = answer.to_owned();
            move |_, connection| {
                connection.read_head();
                connection
                    .send([&*answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"].concat());
                assert_eq!(connection.read_to_end().0, b"", "nothing goes through");
            }
        });
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(
            [request, "GET /smuggled HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"].concat(),
        );
        let got = client.read_message();
        assert_eq!(
            (got.status(), got.header("x-streamgauge-error")),
            (502, vec!["upstream_invalid".into()])
        );
        assert!(gauge.requests_when(1).iter().any(|record| record["outcome"] == "truncated"));
    }
}

#[test]
fn an_upgrade_to_http2_is_ignored() {
    let upstream =
        ScriptedUpstream::responding_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.read_message().body, b"ok");
    drop((client, gauge));
    let got = crate::support::wait_for("the upstream's end", || upstream.received().pop());
    assert_eq!(String::from_utf8(got).unwrap(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
}

#[test]
fn a_reset_of_one_side_reaches_the_other() {
    let disturbance = Disturbance::watch();
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        connection.read_exactly(1);
        RawConnection::from_socket(connection.socket.try_clone().unwrap()).reset();
    });
    let gauge = Streamgauge::new(upstream.address);
    let (mut client, _) = request_upgrade(&gauge);
    client.send("x");
    assert_eq!(client.read_to_end().1, ConnectionEnd::Reset);
    gauge.assert_single_request("truncated");

    let (tell, gone) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        connection.send([SWITCH, "x"].concat());
        tell(connection.wait_for_close());
    });
    let gauge = Streamgauge::new(upstream.address);
    let (mut client, _) = request_upgrade(&gauge);
    client.read_exactly(1).unwrap();
    let left = Instant::now();
    client.reset();
    let after = gone.wait() - left;
    assert!(after.as_secs_f64() < disturbance.allow(0.05), "{after:?}");
    gauge.assert_single_request("client_gone_mid_stream");
}

#[test]
fn the_end_of_the_grace_period_cuts_a_tunnel() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        while let Some(byte) = connection.read_exactly(1) {
            connection.send(byte);
        }
    });
    let log = TemporaryLog::default();
    let keys = [("shutdown_grace_seconds", "0.3"), ("request_log", log.path())];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let (mut client, _) = request_upgrade(&gauge);
    gauge.begin_shutdown();
    std::thread::sleep(Duration::from_millis(50));
    client.send("x");
    assert_eq!(client.read_exactly(1).unwrap(), b"x", "until then it goes on");
    client.wait_for_close();
    gauge.stop();
    assert_eq!(log.records()[0]["outcome"], "proxy_shutdown");
}

/// Both directions at once, with more bytes than buffers hold.
#[test]
fn large_amounts_pass_in_both_directions_at_once() {
    const LENGTH: u64 = 24_000_000;
    fn exchange(connection: &mut RawConnection) {
        let mut out = connection.socket.try_clone().unwrap();
        let writer = std::thread::spawn(move || PatternBody::default().write(&mut out, LENGTH));
        PatternBody::default().expect(connection, LENGTH);
        writer.join().unwrap();
    }
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        exchange(connection);
        connection.half_close();
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let (mut client, _) = request_upgrade(&gauge);
    exchange(&mut client);
    drop(client);
    let record = gauge.assert_single_request("ok");
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&LENGTH.into(), &LENGTH.into()));
}

/// A side that does not read stops the other: only the system's buffers fill.
#[test]
fn a_side_that_does_not_read_stops_the_other() {
    const ALL: u64 = 256_000_000;
    let written = Arc::<AtomicU64>::default();
    let ours = Arc::clone(&written);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head();
        connection.send(SWITCH);
        let piece = [b'x'; 64_000];
        while ours.load(SeqCst) < ALL && connection.try_send(piece) {
            ours.fetch_add(piece.len() as u64, SeqCst);
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let (client, _) = request_upgrade(&gauge);
    let mut before = 0;
    let stopped = crate::support::wait_for("the server to be stopped", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = written.load(SeqCst);
        (std::mem::replace(&mut before, now) == now && now > 0).then_some(now)
    });
    assert!(stopped < ALL / 4, "{stopped} bytes are somewhere");
    let passed = gauge.scrape().sum("streamgauge_bytes_total", &["direction=\"down\""]);
    assert!(passed < stopped as f64 && passed > 0.0);
    drop(client);
}
