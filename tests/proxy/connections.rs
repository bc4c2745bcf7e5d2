//! Connections on both sides: kept, reused and closed.

use crate::support::connection::{ConnectionEnd, chunk, dechunk};
use crate::support::upstream::EventReceiver;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Streamgauge with one worker, and so with one connection pool.
fn one_worker(upstream: &ScriptedUpstream, keys: &[(&'static str, &str)]) -> Streamgauge {
    let keys: Vec<_> = keys.iter().copied().chain([("workers", "1")]).collect();
    Streamgauge::with(upstream.address, &keys, FaultInjection::default())
}

#[test]
fn one_upstream_connection_serves_consecutive_requests() {
    let stream = chat::stream_response(&[
        chat::content_event("Hi"),
        chat::finish_event(),
        chat::DONE.into(),
    ]);
    let answers = [
        stream.clone(),
        OK.into(),
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_vec(),
        chat::response("500 Internal Server Error", "text/plain", b"oops"),
        stream,
        OK.into(),
    ];
    let scripted = answers.clone();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        for answer in &scripted {
            connection.read_message();
            connection.send(answer);
        }
        connection.wait_for_close();
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    for (i, answer) in answers.iter().enumerate() {
        if i == 4 {
            // Another client's requests use the same upstream connection.
            client = RawConnection::connect(gauge.proxy);
        }
        client.send(chat::request());
        let got = client.read_message();
        assert_eq!(got.text(), String::from_utf8_lossy(answer), "answer {i}");
        if got.is_chunked() || got.status() == 500 {
            // After a body without a declared length and after a 5xx, the pool keeps a connection aside for 50 ms.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(upstream.connections(), 1);
    let connects = gauge.scrape().sum("streamgauge_upstream_connect_seconds_count", &[]);
    assert_eq!(connects, 1.0);
}

#[test]
fn a_connection_closed_by_the_server_is_not_reused() {
    // Each connection serves one request, without announcing its end.
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        connection.send(OK);
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    for i in 1..=10 {
        client.send(chat::request());
        assert_eq!(client.read_message().text(), OK);
        crate::support::wait_for("the upstream's close", || {
            (upstream.received().len() == i).then_some(())
        });
    }
    assert_eq!(upstream.connections(), 10);
    assert_eq!(gauge.scrape().sum("streamgauge_requests_total", &["outcome=\"ok\""]), 10.0);
}

/// uvicorn closes a connection after an exception in the application, and does not announce it.
#[test]
fn a_close_soon_after_a_500_costs_no_other_request() {
    const REQUESTS: usize = 200;
    let failure = chat::response("500 Internal Server Error", "text/plain", b"oops");
    let upstream = ScriptedUpstream::with_script(move |number, connection| {
        if connection.try_read_message().is_some() && connection.try_send(&failure) {
            std::thread::sleep(Duration::from_millis(1 + number as u64 % 5));
        }
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..REQUESTS {
        client.send(chat::request());
        assert_eq!(client.read_message().status(), 500);
        // The next request arrives within the time in which the server closes.
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(upstream.connections(), REQUESTS);
}

#[test]
fn a_connection_that_the_server_will_close_is_not_pooled() {
    let upstream = ScriptedUpstream::responding_with(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    );
    let gauge = one_worker(&upstream, &[]);
    let mut client = RawConnection::connect(gauge.proxy);
    for _ in 0..3 {
        client.send(chat::request());
        assert_eq!(client.read_message().text(), OK, "the client's connection stays");
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let (tell, closed) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(OK);
        tell(connection.wait_for_close());
    });
    for (seconds, least) in [("0.2", Duration::from_millis(150)), ("0", Duration::ZERO)] {
        let gauge = one_worker(&upstream, &[("pool_idle_timeout_seconds", seconds)]);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        let start = Instant::now();
        client.read_message();
        let idle = closed.wait() - start;
        assert!(idle >= least && idle < Duration::from_secs(2), "{seconds}: {idle:?}");
    }
}

/// Responses with a declared length, streams, and both in turn.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        while let Some(request) = connection.try_read_message() {
            let path = request.text().split(' ').nth(1).unwrap().to_owned();
            let number: usize = path[1..].parse().unwrap();
            if number < 5 || number > 10 && number.is_multiple_of(2) {
                connection.send(chat::response("200 OK", "text/plain", path.as_bytes()));
            } else {
                let body = [chunk(&path), chat::LAST_CHUNK.into()].concat();
                connection.send([chat::STREAM_HEAD.as_bytes(), &body].concat());
            }
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let requests: Vec<u8> =
        (0..20).flat_map(|i| chat::post(&format!("/{i}"), "", b"body")).collect();
    client.send(requests);
    for i in 0..20 {
        let answer = client.read_message();
        let is_stream = !answer.header("transfer-encoding").is_empty();
        let body = if is_stream { dechunk(&answer.body) } else { answer.body };
        assert_eq!(body, format!("/{i}").into_bytes());
    }
}

#[test]
fn the_clients_connection_close_does_not_reach_the_upstream() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = one_worker(&upstream, &[]);
    for _ in 0..3 {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = client.read_message();
        assert_eq!(answer.header("connection"), ["close"]);
        assert_eq!(client.read_to_end().0, b"", "and it is closed");
    }
    assert_eq!(upstream.connections(), 1);
}

/// A server that responds to each request with a stream of its path.
fn streaming() -> ScriptedUpstream {
    ScriptedUpstream::with_script(|_, connection| {
        while let Some(request) = connection.try_read_message() {
            let path = request.text().split(' ').nth(1).unwrap().to_owned();
            connection.send(
                [chat::STREAM_HEAD.as_bytes(), &chunk(&path), chat::LAST_CHUNK.as_bytes()].concat(),
            );
        }
    })
}

/// hyper has read more bytes after the first request than it hands back at once.
#[test]
fn requests_pipelined_after_streams_are_not_lost() {
    let upstream = streaming();
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let large = chat::post("/0", "", &[b'x'; 200_000]);
    let small = (1..100).flat_map(|i| chat::post(&format!("/{i}"), "", &[b'y'; 300]));
    client.send(large.into_iter().chain(small).collect::<Vec<u8>>());
    for i in 0..100 {
        assert_eq!(dechunk(&client.read_message().body), format!("/{i}").into_bytes());
    }
}

#[test]
fn a_connection_announced_to_close_closes_after_a_stream() {
    let upstream = streaming();
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\
         GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    let answer = client.read_message();
    assert_eq!(answer.header("connection"), ["close"]);
    assert_eq!(dechunk(&answer.body), b"/a");
    assert!(client.read_to_end().0.is_empty());
    assert_eq!(upstream.connections(), 1);
}

/// Unread bytes from the client do not turn the end of a complete stream into a reset.
#[test]
fn a_complete_stream_ends_with_an_orderly_close() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), &chunk("a")].concat());
        wait.lock().unwrap().recv().unwrap();
        connection.send([&chunk("b"), chat::LAST_CHUNK.as_bytes()].concat());
    });
    let gauge = Streamgauge::new(upstream.address);
    for request in
        ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]
    {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(request);
        client.read_head().unwrap();
        for _ in 0..2 {
            client.send("\r\n");
            std::thread::sleep(Duration::from_millis(20));
        }
        go.send(()).unwrap();
        let (rest, ending) = client.read_to_end();
        assert_eq!(ending, ConnectionEnd::Closed, "{request:?}");
        assert!(rest.windows(1).any(|byte| byte == b"b"));
    }
}
