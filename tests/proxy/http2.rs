//! HTTP/2 from clients.

use crate::support::clock::assert_within;
use crate::support::connection::{ConnectionEnd, chunk};
use crate::support::http2::{H2Client, H2Response, next, post};
use crate::support::upstream::{EventReceiver, unused_address};
use crate::support::{
    Bracket, Disturbance, RawConnection, ScriptedUpstream, Streamgauge, TemporaryLog, chat,
    wait_for,
};
use bytes::Bytes;
use h2::Reason;
use hyper::Request;
use std::process::Command;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const CHAT: &str = "http://test.example/v1/chat/completions?a=b";
const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

fn words() -> Vec<String> {
    vec![
        chat::content_event("Hello"),
        chat::content_event(" world"),
        chat::finish_event(),
        chat::DONE.into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_stream_pass() {
    let events = words();
    let scripted = chat::stream_response(&events);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(&scripted);
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let mut request = post(CHAT, "application/json");
    let headers = request.headers_mut();
    headers.insert("content-length", BODY.len().into());
    headers.append("cookie", "a=1".parse().unwrap());
    headers.append("cookie", "b=2".parse().unwrap());
    let answer = client.exchange(request, BODY).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let names: Vec<_> = answer.head.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-type"], "nothing of HTTP/1.1, and nothing is added");
    assert_eq!(String::from_utf8(answer.body).unwrap(), events.concat());
    let record = gauge.assert_single_request("ok");
    assert_eq!((&record["output_tokens"], &record["stream"]), (&2.into(), &true.into()));
    assert_eq!((&record["model"], &record["status"]), (&"m".into(), &200.into()));
    assert_eq!(record["bytes_up"], BODY.len());
    for instant in ["sent_s", "head_s", "ttft_s"] {
        assert!(record[instant].as_f64().unwrap() < 5.0, "{instant} {record}");
    }
    drop((client, gauge));
    let got = wait_for("the upstream's end", || upstream.received().pop());
    let expected = format!(
        "POST /v1/chat/completions?a=b HTTP/1.1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\ncookie: a=1; b=2\r\nhost: test.example\r\n\r\n{BODY}",
        BODY.len()
    );
    assert_eq!(String::from_utf8(got).unwrap(), expected);
}

/// The client has each event before the server sends the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_held_back() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(chat::STREAM_HEAD);
        for event in words() {
            connection.send(chunk(event));
            wait.lock().unwrap().recv().unwrap();
        }
        connection.send(chat::LAST_CHUNK);
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
    let mut body = answer.into_body();
    for event in words() {
        assert_eq!(next(&mut body).await.unwrap(), event);
        go.send(()).unwrap();
    }
    assert!(next(&mut body).await.is_none());
    gauge.assert_single_request("ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
    let answer =
        [head.as_bytes(), &chunk("a"), b"0\r\nx-sum: 1\r\nConnection: close\r\n\r\n"].concat();
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let mut request = post("http://h/", "text/plain");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = client.exchange(request, "x").await;
    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"1".parse().unwrap()));
    drop((client, gauge));
    let got = wait_for("the upstream's end", || upstream.received().pop());
    let got = String::from_utf8(got).unwrap();
    for line in ["te: trailers", "connection: te", "transfer-encoding: chunked"] {
        assert!(got.contains(&format!("\r\n{line}\r\n")), "{line} {got}");
    }
    assert!(got.ends_with("\r\n\r\n1\r\nx\r\n0\r\n\r\n"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_pass() {
    let scripted = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    ];
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        for answer in scripted {
            connection.read_head();
            connection.send(answer);
        }
        connection.wait_for_close();
    });
    let gauge = Streamgauge::with(upstream.address, &[("workers", "1")], FaultInjection::default());
    let mut client = H2Client::connect(gauge.proxy).await;
    for (status, length) in [(204, None), (304, Some("9")), (200, Some("5"))] {
        let request = Request::builder().method("HEAD").uri("http://h/").body(()).unwrap();
        let answer = client.exchange(request, Bytes::new()).await;
        assert_eq!(
            (answer.head.status.as_u16(), answer.header("content-length")),
            (status, length)
        );
        assert_eq!(answer.body, b"");
    }
    gauge.requests_when(3);
    assert_eq!(gauge.scrape().sum("streamgauge_requests_total", &["outcome=\"ok\""]), 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn error_responses_of_the_proxy() {
    let gauge = Streamgauge::new(unused_address());
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.exchange(post(CHAT, "application/json"), BODY).await;
    assert_eq!(answer.head.status, 503);
    assert_eq!(answer.header("x-streamgauge-error"), Some("upstream_unreachable"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "upstream_unreachable");
    gauge.assert_single_request("upstream_unreachable");
    let connect = Request::builder().method("CONNECT").uri("h:1").body(()).unwrap();
    assert_eq!(client.exchange(connect, "").await.head.status, 405);
    let mut two = post("http://h/", "text/plain");
    two.headers_mut().insert("host", "other".parse().unwrap());
    assert_eq!(client.exchange(two, "").await.head.status, 400);
    gauge.requests_when(3);
    gauge.scrape().assert_balanced();
}

/// A client that resets its request also stops the server, before and during the response.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_request_is_abandoned_at_once() {
    let disturbance = Disturbance::watch();
    for (head, outcome) in
        [("", "client_gone_before_head"), (chat::STREAM_HEAD, "client_gone_mid_stream")]
    {
        let (tell, gone) = EventReceiver::channel();
        let upstream = ScriptedUpstream::with_script(move |_, connection| {
            connection.read_message();
            if !head.is_empty() {
                connection.send([head.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
            }
            tell(connection.wait_for_close());
        });
        let gauge = Streamgauge::new(upstream.address);
        let mut client = H2Client::connect(gauge.proxy).await;
        let (answer, mut sender) = client.begin(post(CHAT, "application/json")).await;
        sender.send_data(Bytes::from_static(BODY.as_bytes()), true).unwrap();
        if head.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _answer = answer;
        } else {
            next(answer.await.unwrap().body_mut()).await.unwrap();
        }
        let left = Instant::now();
        sender.send_reset(Reason::CANCEL);
        let after = gone.wait() - left;
        assert!(after.as_secs_f64() < disturbance.allow(0.05), "{after:?}");
        gauge.assert_single_request(outcome);
        // The connection stays usable.
        let connect = Request::builder().method("CONNECT").uri("h:1").body(()).unwrap();
        assert_eq!(client.exchange(connect, "").await.head.status, 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnect_abandons_all_requests_of_a_connection() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
        answers.push(answer);
    }
    assert_eq!(gauge.scrape().sum("streamgauge_in_flight_requests", &[]), 5.0);
    drop((client, answers));
    for record in gauge.requests_when(5) {
        assert_eq!(record["outcome"], "client_gone_mid_stream");
    }
    gauge.scrape().assert_balanced();
}

/// A stream that the server breaks off is reset after all its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_reset() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await.unwrap(), chat::content_event("Hi"));
    assert!(body.data().await.unwrap().unwrap_err().is_reset());
    gauge.assert_single_request("truncated");
}

/// TTFT starts with the first byte of the request, not with the connection or with another request on it.
#[tokio::test(flavor = "multi_thread")]
async fn ttft_starts_with_the_request_and_not_with_its_connection() {
    const REQUESTS: usize = 3;
    let disturbance = Disturbance::watch();
    let (report, first_outputs) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        let request = connection.read_message();
        std::thread::sleep(Duration::from_millis(50));
        let first = [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat();
        let ((), sent) = Bracket::around(|| connection.send(first));
        report((request.header("x-number")[0].clone(), sent));
        std::thread::sleep(Duration::from_millis(400));
        connection.send([&chunk(chat::DONE), chat::LAST_CHUNK.as_bytes()].concat());
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let (mut responses, mut starts) = (Vec::new(), Vec::new());
    for number in 0..REQUESTS {
        let mut request = post(&format!("{CHAT}&number={number}"), "application/json");
        request.headers_mut().insert("x-number", number.into());
        let body = BODY.replace("\"m\"", &format!("\"m{number}\""));
        let earliest = Instant::now();
        responses.push(client.send(request, body).await);
        starts.push(earliest);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for response in responses {
        H2Response::of(response.await.unwrap()).await;
    }
    let records = gauge.requests_when(REQUESTS);
    for _ in 0..REQUESTS {
        let (number, first_output) = first_outputs.wait();
        let start = Bracket::at(starts[number.parse::<usize>().unwrap()]);
        let model = format!("m{number}");
        let record = records.iter().find(|record| record["model"] == *model).unwrap();
        // The client's connection sends the request from another task, a little later than the test submits
        // it.
        let allowed = disturbance.allow(0.01);
        assert_within(
            "TTFT",
            record["ttft_s"].as_f64().unwrap(),
            first_output.since(start),
            allowed,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_in_both_directions() {
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        while let Some(request) = connection.try_read_message() {
            let data = request.data();
            connection.send(chat::response("200 OK", "application/octet-stream", &data));
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.send(post("http://h/echo", "a/b"), large.clone()).await;
    let answer = H2Response::of(answer.await.unwrap()).await;
    assert!(answer.body == large, "the bytes differ");
    gauge.assert_single_request("ok");
}

/// HTTP/1.1 is detected by the first byte that differs from the preface, even if it arrives alone.
#[test]
fn a_preface_in_pieces_is_detected() {
    let upstream =
        ScriptedUpstream::responding_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for piece in ["P", "R", "OPFIND / HTTP/1.1\r\nHost: h\r\n", "\r\n"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.read_message().body, b"ok");
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("PRI * HTTP/2.0\r\n");
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    // A complete preface in pieces.
    let mut client = RawConnection::connect(gauge.proxy);
    for piece in ["PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n", "\0\0\0\x04\0\0\0\0\0"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.read_exactly(9).unwrap()[3], 4, "the server's settings");
}

/// The end of the grace period cuts open streams; earlier ends are complete.
#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_lets_streams_end() {
    for (seconds, outcome) in [("5", "ok"), ("0.2", "proxy_shutdown")] {
        let upstream = ScriptedUpstream::with_script(|_, connection| {
            connection.read_message();
            connection
                .send([chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
            std::thread::sleep(Duration::from_millis(800));
            connection.try_send([&chunk(chat::DONE), chat::LAST_CHUNK.as_bytes()].concat());
        });
        let log = TemporaryLog::default();
        let keys = [("shutdown_grace_seconds", seconds), ("request_log", log.path())];
        let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
        let mut client = H2Client::connect(gauge.proxy).await;
        let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
        let mut body = answer.into_body();
        next(&mut body).await.unwrap();
        gauge.begin_shutdown();
        let last = body.data().await.unwrap();
        assert_eq!(last.is_ok(), outcome == "ok");
        gauge.stop();
        assert_eq!(log.records()[0]["outcome"], outcome);
    }
}

#[test]
fn curl_works_by_prior_knowledge() {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("HTTP2")) {
        crate::support::skip("there is no curl that speaks HTTP/2");
        return;
    }
    let upstream = ScriptedUpstream::responding_with(chat::stream_response(&words()));
    let gauge = Streamgauge::new(upstream.address);
    let url = format!("http://{}/v1/chat/completions", gauge.proxy);
    let curl =
        ["-sSN", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-d", BODY];
    let output = Command::new("curl").args(curl).arg(url).output().unwrap();
    let expected = format!("{}2 200", words().concat());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    gauge.assert_single_request("ok");
}
