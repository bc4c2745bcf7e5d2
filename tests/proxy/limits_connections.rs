//! Limit on the number of client connections, and detection of vanished peers.

use crate::support::connection::ConnectionEnd;
use crate::support::http2::{H2Client, post};
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn exceeded(gauge: &Streamgauge) -> f64 {
    gauge.scrape().sum("streamgauge_limit_exceeded_total", &["limit=\"connections\""])
}

/// Streamgauge that accepts two connections, and two clients that use them.
fn full_gauge(upstream: &ScriptedUpstream) -> (Streamgauge, Vec<RawConnection>) {
    let keys = [("max_connections", "2")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let clients = (0..2)
        .map(|_| {
            let mut client = RawConnection::connect(gauge.proxy);
            client.send(chat::request());
            assert_eq!(client.read_message().status(), 200);
            client
        })
        .collect();
    (gauge, clients)
}

#[test]
fn a_connection_beyond_the_maximum_gets_503() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let (gauge, mut clients) = full_gauge(&upstream);
    let mut refused = RawConnection::connect(gauge.proxy);
    refused.send(chat::request());
    let answer = refused.read_message();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("x-streamgauge-error"), ["too_many_connections"]);
    assert_eq!(answer.header("connection"), ["close"]);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "too_many_connections");
    assert_eq!(refused.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    assert_eq!(exceeded(&gauge), 1.0);
    let scrape = gauge.scrape();
    let rejected = ["outcome=\"proxy_rejected\"", "code=\"503\""];
    assert_eq!(scrape.sum("streamgauge_requests_total", &rejected), 1.0);
    scrape.assert_balanced();
    // The others are served, and a closed one makes room.
    clients[0].send(chat::request());
    assert_eq!(clients[0].read_message().status(), 200);
    clients.pop();
    wait_for("room for a connection", || {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        (client.read_message().status() == 200).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_beyond_the_maximum_gets_503() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let (gauge, _clients) = full_gauge(&upstream);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.exchange(post("http://h/v1/models", "text/plain"), "").await;
    assert_eq!(answer.head.status, 503);
    assert_eq!(answer.header("x-streamgauge-error"), Some("too_many_connections"));
    client.wait_for_close().await.unwrap();
    assert_eq!(exceeded(&gauge), 1.0);
}

/// Clients beyond the maximum that send nothing hold their descriptor for two seconds. Beyond 32 of them, connections
/// are closed at once.
#[test]
fn refused_connections_are_bounded() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let (gauge, mut clients) = full_gauge(&upstream);
    let start = Instant::now();
    let mut silent: Vec<_> = (0..50).map(|_| RawConnection::connect(gauge.proxy)).collect();
    wait_for("the refusals", || (exceeded(&gauge) == 50.0).then_some(()));
    for client in &mut silent {
        client.read_to_end();
    }
    assert!(start.elapsed() < Duration::from_secs(15));
    clients[0].send(chat::request());
    assert_eq!(clients[0].read_message().status(), 200);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_limit_exceeded_total", &[]), 50.0);
    assert_eq!(scrape.ended(), 3.0);
}

/// The kernel's keep-alive timer runs on both sides: for clients and for connections to the server.
#[test]
fn keep_alive_finds_vanished_peers() {
    let Ok(_) = std::fs::read_to_string("/proc/net/tcp") else {
        crate::support::skip("there is no /proc/net/tcp");
        return;
    };
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), b"2\r\nhi\r\n"].concat());
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    client.read_until(b"hi\r\n").unwrap();
    let port = |address: &std::net::SocketAddr| format!(":{:04X}", address.port());
    let client_port = port(&client.socket.local_addr().unwrap());
    for (local, remote) in
        [(port(&gauge.proxy), client_port), (String::new(), port(&upstream.address))]
    {
        // Timer 2 is keep-alive. While data is not acknowledged, another timer runs.
        wait_for("the keep-alive timer", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let has_timer = table.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields.len() > 5
                    && fields[1].ends_with(&local)
                    && fields[2].ends_with(&remote)
                    && fields[5].starts_with("02:")
            });
            has_timer.then_some(())
        });
    }
}
