//! Interim responses (1xx): the server decides about `Expect: 100-continue`, and all others are forwarded.

use crate::support::upstream::EventReceiver;
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use std::time::{Duration, Instant};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn a_final_response_to_expect_is_the_only_one() {
    let rejection = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno";
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_head().unwrap();
        connection.send(rejection);
        let (body, _) = connection.read_to_end();
        assert!(body.is_empty(), "{body:?}");
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(EXPECT);
    let answer = client.read_message();
    assert_eq!((answer.status(), &answer.body[..]), (413, &b"no"[..]));
    assert!(client.read_to_end().0.is_empty(), "the connection closes");
    gauge.assert_single_request("client_error");
    drop(gauge);
    assert_eq!(upstream.received(), [EXPECT.as_bytes()]);
}

#[test]
fn the_body_is_sent_after_the_servers_100() {
    let (report, held) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while connection.read_head().is_some() {
            // A client that does not wait has sent its body by now.
            std::thread::sleep(Duration::from_millis(100));
            connection.socket.set_nonblocking(true).unwrap();
            let mut byte = [0];
            report(connection.socket.peek(&mut byte).is_err());
            connection.socket.set_nonblocking(false).unwrap();
            connection.send(CONTINUE);
            assert_eq!(connection.read_exactly(3).unwrap(), b"abc");
            connection.send(OK);
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for waits in [true, false, true] {
        client.send(EXPECT);
        if !waits {
            client.send("abc");
        }
        assert!(held.wait(), "the body is held back");
        assert_eq!(client.read_head().unwrap().text(), CONTINUE);
        if waits {
            client.send("abc");
        }
        assert_eq!(client.read_message().text(), OK);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_server_that_ignores_expect_gets_the_body_after_a_second() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let start = Instant::now();
    client.send(EXPECT);
    assert_eq!(client.read_head().unwrap().text(), CONTINUE);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    client.send("abc");
    assert_eq!(client.read_message().text(), OK);
}

#[test]
fn interim_responses_are_forwarded_before_the_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n";
    let interim = format!("HTTP/1.1 102 Processing\r\n\r\n{hints}{CONTINUE}{CONTINUE}");
    let with_hop = interim.replace("link: </a>", "Connection: x\r\nX: y\r\nLink: </a>");
    let stream = chat::stream_response(&[chat::content_event("a"), chat::DONE.into()]);
    for answer in [OK.as_bytes(), &stream] {
        let (interim, with_hop) = (interim.clone(), with_hop.clone());
        let (report, reported) = EventReceiver::channel();
        let (go, wait) = EventReceiver::channel();
        let scripted = answer.to_vec();
        let upstream = ScriptedUpstream::with_script(move |_, connection| {
            while connection.read_head().is_some() {
                connection.send(&with_hop);
                report(());
                wait.wait();
                connection.send([with_hop.as_bytes(), &scripted].concat());
            }
        });
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        for _ in 0..2 {
            client.send(GET);
            reported.wait();
            let first = client.read_exactly(interim.len()).unwrap();
            assert_eq!(String::from_utf8_lossy(&first), interim);
            go(());
            let second = client.read_exactly(interim.len()).unwrap();
            assert_eq!(String::from_utf8_lossy(&second), interim);
            assert_eq!(client.read_message().data(), chat_or_ok(answer));
        }
        // HTTP/1.0 has no interim responses.
        let mut client = RawConnection::connect(gauge.proxy);
        client.send("GET / HTTP/1.0\r\n\r\n");
        reported.wait();
        go(());
        assert_eq!(client.read_message().status(), 200);
    }
}

/// The data of the response.
fn chat_or_ok(answer: &[u8]) -> Vec<u8> {
    if answer == OK.as_bytes() {
        return b"ok".to_vec();
    }
    let at = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    crate::support::connection::dechunk(&answer[at + 4..])
}

#[test]
fn the_number_of_interim_responses_is_bounded() {
    let many = CONTINUE.repeat(100) + OK;
    let upstream = ScriptedUpstream::responding_with(many);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(GET);
    let mut forwarded = 0;
    while client.read_head().unwrap().status() == 100 {
        forwarded += 1;
    }
    assert_eq!(forwarded, 32);
}
