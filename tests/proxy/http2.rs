//! HTTP/2 from clients.

use crate::support::http2::{Answer, Client, next, post};
use crate::support::upstream::{Moment, nobody};
use crate::support::wire::{Ending, chunk};
use crate::support::{Gauge, Upstream, Wire, chat, wait_for};
use bytes::Bytes;
use h2::Reason;
use hyper::Request;
use std::process::Command;
use std::time::{Duration, Instant};
use streamgauge::tap::FaultInjection;

const CHAT: &str = "http://test.example/v1/chat/completions?a=b";
const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

fn words() -> Vec<String> {
    vec![chat::word("Hello"), chat::word(" world"), chat::finish(), chat::DONE.into()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_stream() {
    let events = words();
    let scripted = chat::stream(&events);
    let upstream = Upstream::each(move |_, wire| {
        wire.message();
        wire.send(&scripted);
        wire.gone();
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
    let mut request = post(CHAT, "application/json");
    let headers = request.headers_mut();
    headers.insert("content-length", BODY.len().into());
    headers.append("cookie", "a=1".parse().unwrap());
    headers.append("cookie", "b=2".parse().unwrap());
    let answer = client.ask(request, BODY).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let names: Vec<_> = answer.head.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-type"], "nothing of HTTP/1.1, and nothing is added");
    assert_eq!(String::from_utf8(answer.body).unwrap(), events.concat());
    let record = gauge.assert_one("ok");
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

/// Each event is at the client before the server sends the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_held_back() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::each(move |_, wire| {
        wire.message();
        wire.send(chat::STREAM);
        for event in words() {
            wire.send(chunk(event));
            wait.lock().unwrap().recv().unwrap();
        }
        wire.send(chat::LAST);
        wire.gone();
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
    let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
    let mut body = answer.into_body();
    for event in words() {
        assert_eq!(next(&mut body).await.unwrap(), event);
        go.send(()).unwrap();
    }
    assert!(next(&mut body).await.is_none());
    gauge.assert_one("ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
    let answer =
        [head.as_bytes(), &chunk("a"), b"0\r\nx-sum: 1\r\nConnection: close\r\n\r\n"].concat();
    let upstream = Upstream::answering(answer);
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
    let mut request = post("http://h/", "text/plain");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = client.ask(request, "x").await;
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
async fn answers_without_a_body() {
    let scripted = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    ];
    let upstream = Upstream::each(move |_, wire| {
        for answer in scripted {
            wire.head();
            wire.send(answer);
        }
        wire.gone();
    });
    let gauge = Gauge::with(upstream.address, &[("workers", "1")], FaultInjection::default());
    let mut client = Client::connect(gauge.proxy).await;
    for (status, length) in [(204, None), (304, Some("9")), (200, Some("5"))] {
        let request = Request::builder().method("HEAD").uri("http://h/").body(()).unwrap();
        let answer = client.ask(request, Bytes::new()).await;
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
async fn our_own_answers() {
    let gauge = Gauge::new(nobody());
    let mut client = Client::connect(gauge.proxy).await;
    let answer = client.ask(post(CHAT, "application/json"), BODY).await;
    assert_eq!(answer.head.status, 502);
    assert_eq!(answer.header("x-streamgauge-error"), Some("upstream_unreachable"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], "upstream_unreachable");
    gauge.assert_one("upstream_unreachable");
    let connect = Request::builder().method("CONNECT").uri("h:1").body(()).unwrap();
    assert_eq!(client.ask(connect, "").await.head.status, 405);
    let mut two = post("http://h/", "text/plain");
    two.headers_mut().insert("host", "other".parse().unwrap());
    assert_eq!(client.ask(two, "").await.head.status, 400);
    gauge.requests_when(3);
    gauge.scrape().assert_balanced();
}

/// A client that takes its request back tells the server to stop, before the answer and within it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_reset_is_given_up_at_once() {
    for (head, outcome) in
        [("", "client_gone_before_head"), (chat::STREAM, "client_gone_mid_stream")]
    {
        let (tell, gone) = Moment::pair();
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            if !head.is_empty() {
                wire.send([head.as_bytes(), &chunk(chat::word("Hi"))].concat());
            }
            tell(wire.gone());
        });
        let gauge = Gauge::new(upstream.address);
        let mut client = Client::connect(gauge.proxy).await;
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
        assert!(after < Duration::from_millis(50), "{after:?}");
        gauge.assert_one(outcome);
        // The connection serves on.
        let connect = Request::builder().method("CONNECT").uri("h:1").body(()).unwrap();
        assert_eq!(client.ask(connect, "").await.head.status, 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_all_its_requests_along() {
    let upstream = Upstream::each(|_, wire| {
        wire.message();
        wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("Hi"))].concat());
        wire.gone();
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
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

/// A stream that the server breaks off is reset, behind all that came of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_reset() {
    let upstream = Upstream::each(|_, wire| {
        wire.message();
        wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("Hi"))].concat());
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
    let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await.unwrap(), chat::word("Hi"));
    assert!(body.data().await.unwrap().unwrap_err().is_reset());
    gauge.assert_one("truncated");
}

/// TTFT begins with the request's own bytes, not with the connection's or another request's.
#[test]
fn a_request_begins_when_it_arrives() {
    crate::support::against_the_clock(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let upstream = Upstream::each(|_, wire| {
                wire.message();
                std::thread::sleep(Duration::from_millis(50));
                wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("Hi"))].concat());
                std::thread::sleep(Duration::from_millis(400));
                wire.send([&chunk(chat::DONE), chat::LAST.as_bytes()].concat());
                wire.gone();
            });
            let gauge = Gauge::new(upstream.address);
            let mut client = Client::connect(gauge.proxy).await;
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(client.send(post(CHAT, "application/json"), BODY).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            for answer in answers {
                Answer::of(answer.await.unwrap()).await;
            }
            for record in gauge.requests_when(3) {
                let ttft = record["ttft_s"].as_f64().unwrap();
                assert!((0.045..0.08).contains(&ttft), "{record}");
            }
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_in_both_directions() {
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let upstream = Upstream::each(|_, wire| {
        while let Some(request) = wire.try_message() {
            let data = request.data();
            wire.send(chat::answer("200 OK", "application/octet-stream", &data));
        }
    });
    let gauge = Gauge::new(upstream.address);
    let mut client = Client::connect(gauge.proxy).await;
    let answer = client.send(post("http://h/echo", "a/b"), large.clone()).await;
    let answer = Answer::of(answer.await.unwrap()).await;
    assert!(answer.body == large, "the bytes differ");
    gauge.assert_one("ok");
}

/// A client of HTTP/1.1 is known by the first byte that differs, even if that comes alone.
#[test]
fn pieces_of_a_preface() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gauge = Gauge::new(upstream.address);
    let mut client = Wire::connect(gauge.proxy);
    for piece in ["P", "R", "OPFIND / HTTP/1.1\r\nHost: h\r\n", "\r\n"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.message().body, b"ok");
    let mut client = Wire::connect(gauge.proxy);
    client.send("PRI * HTTP/2.0\r\n");
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), Ending::Closed));
    // A whole preface in pieces is one.
    let mut client = Wire::connect(gauge.proxy);
    for piece in ["PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n", "\0\0\0\x04\0\0\0\0\0"] {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.exactly(9).unwrap()[3], 4, "the server's settings");
}

/// At the end of the grace what still runs is cut; what ends before that ends well.
#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_us() {
    for (seconds, outcome) in [("5", "ok"), ("0.2", "proxy_shutdown")] {
        let upstream = Upstream::each(|_, wire| {
            wire.message();
            wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("Hi"))].concat());
            std::thread::sleep(Duration::from_millis(800));
            wire.try_send([&chunk(chat::DONE), chat::LAST.as_bytes()].concat());
        });
        let log = crate::support::TemporaryLog::new(&format!("http2-{outcome}"));
        let keys = [("shutdown_grace_seconds", seconds), ("request_log", log.path())];
        let gauge = Gauge::with(upstream.address, &keys, FaultInjection::default());
        let mut client = Client::connect(gauge.proxy).await;
        let answer = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
        let mut body = answer.into_body();
        next(&mut body).await.unwrap();
        gauge.tell_to_stop();
        let last = body.data().await.unwrap();
        assert_eq!(last.is_ok(), outcome == "ok");
        gauge.stop();
        assert_eq!(log.records()[0]["outcome"], outcome);
    }
}

#[test]
fn curl_by_prior_knowledge() {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("HTTP2")) {
        println!("skipped: there is no curl that speaks HTTP/2");
        return;
    }
    let upstream = Upstream::answering(chat::stream(&words()));
    let gauge = Gauge::new(upstream.address);
    let url = format!("http://{}/v1/chat/completions", gauge.proxy);
    let curl =
        ["-sSN", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-d", BODY];
    let output = Command::new("curl").args(curl).arg(url).output().unwrap();
    let expected = format!("{}2 200", words().concat());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    gauge.assert_one("ok");
}
