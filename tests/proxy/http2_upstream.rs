//! HTTP/2 to the upstream: gRPC, and other requests where it is configured.

use crate::support::connection::{chunk, dechunk};
use crate::support::http2::{
    H2Behavior, H2Client, H2Request, H2Response, H2Upstream, all, next, post,
};
use crate::support::upstream::EventReceiver;
use crate::support::{Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use bytes::Bytes;
use h2::Reason;
use hyper::http::HeaderMap;
use hyper::{Request, Response};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const INFER: &str = "http://triton.example/inference.GRPCInferenceService/ModelStreamInfer";
const ALWAYS: (&str, &str) = ("http2", "always");

fn one_worker(upstream: &H2Upstream, keys: &[(&'static str, &str)]) -> Streamgauge {
    let keys: Vec<_> = keys.iter().copied().chain([("workers", "1")]).collect();
    Streamgauge::with(upstream.address, &keys, FaultInjection::default())
}

fn grpc() -> Request<()> {
    let mut request = post(INFER, "application/grpc");
    for (name, value) in [("te", "trailers"), ("x-a", "1"), ("x-b", "2"), ("grpc-timeout", "5S")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

fn ok() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

fn status(code: &str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

/// Sends back each message as it arrives, then trailers with the status.
async fn echo(mut request: H2Request) {
    let mut sender = request.respond.send_response(ok(), false).unwrap();
    while let Some(data) = next(&mut request.body).await {
        sender.send_data(data, false).unwrap();
    }
    sender.send_trailers(status("0")).unwrap();
}

/// Responds with the complete body and its length.
async fn respond(mut request: H2Request) {
    let body = all(&mut request.body).await;
    let head = Response::builder().header("content-length", body.len()).body(()).unwrap();
    let mut sender = request.respond.send_response(head, false).unwrap();
    sender.send_data(body.into(), true).unwrap();
}

/// Response headers and messages of both directions pass while the request is still being sent.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_streams_pass_in_both_directions_at_once() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let ours = Arc::clone(&seen);
    let upstream = H2Upstream::with_script(move |request| {
        let mut seen = ours.lock().unwrap();
        seen.push(format!("{} {}", request.head.method, request.head.uri));
        let line = |(name, value): (_, &hyper::http::HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        seen.extend(request.head.headers.iter().map(line));
        echo(request)
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let (response, mut sender) = client.begin(grpc()).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), response).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let mut body = answer.into_body();
    for i in 0..20 {
        let message = Bytes::from(format!("message {i}"));
        sender.send_data(message.clone(), false).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), message);
    }
    assert_eq!(gauge.scrape().sum("streamgauge_in_flight_requests", &[]), 1.0);
    sender.send_data(Bytes::new(), true).unwrap();
    assert!(next(&mut body).await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap(), status("0"));
    let record = gauge.assert_single_request("ok");
    assert_eq!((&record["bytes_up"], &record["bytes_down"]), (&190.into(), &190.into()));
    assert!(record["sent_s"].is_number() && record["connect_s"].is_number(), "{record}");
    let expected = [
        &format!("POST {INFER}"),
        "content-type: application/grpc",
        "x-a: 1",
        "x-b: 2",
        "grpc-timeout: 5S",
        "te: trailers",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_trailers_only() {
    let upstream = H2Upstream::with_script(|mut request| async move {
        let mut head = ok();
        head.headers_mut().extend(status("14"));
        request.respond.send_response(head, true).unwrap();
    });
    let gauge = one_worker(&upstream, &[]);
    let answer = H2Client::connect(gauge.proxy).await.exchange(grpc(), "x").await;
    assert_eq!((answer.header("grpc-status"), answer.body.len()), (Some("14"), 0));
    // UNAVAILABLE.
    gauge.assert_single_request("rejected");
}

/// Waits until the client resets its request.
async fn reset(mut request: H2Request, with_head: bool) -> Reason {
    if with_head {
        let mut sender = request.respond.send_response(ok(), false).unwrap();
        sender.send_data("first".into(), false).unwrap();
        return poll_fn(|cx| sender.poll_reset(cx)).await.unwrap();
    }
    poll_fn(|cx| request.respond.poll_reset(cx)).await.unwrap()
}

/// Before and after the end of the request and the start of the response.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_request_is_reset_upstream_at_once() {
    let disturbance = Disturbance::watch();
    for (with_head, is_whole) in [(true, true), (true, false), (false, true), (false, false)] {
        let (tell, gone) = EventReceiver::channel();
        let tell = Arc::new(tell);
        let upstream = H2Upstream::with_script(move |request| {
            let tell = Arc::clone(&tell);
            async move {
                if request.head.uri.path() == "/after" {
                    return respond(request).await;
                }
                assert_eq!(reset(request, with_head).await, Reason::CANCEL);
                tell(Instant::now());
            }
        });
        let gauge = one_worker(&upstream, &[]);
        let mut client = H2Client::connect(gauge.proxy).await;
        let (answered, mut sender) = client.begin(grpc()).await;
        sender.send_data("request".into(), is_whole).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = Instant::now();
        sender.send_reset(Reason::CANCEL);
        let after = gone.wait() - left;
        assert!(after.as_secs_f64() < disturbance.allow(0.05), "{with_head} {is_whole}: {after:?}");
        drop(answered);
        gauge.assert_single_request(if with_head {
            "client_gone_before_token"
        } else {
            "client_gone_before_head"
        });
        let next = post("http://h/after", "application/grpc");
        assert_eq!(client.exchange(next, "more").await.body, b"more");
        assert_eq!(upstream.connections(), 1, "the connection serves on");
    }
}

/// An HTTP/1.1 client can only close its connection.
#[test]
fn a_disconnect_resets_the_request_upstream() {
    let disturbance = Disturbance::watch();
    let (tell, gone) = EventReceiver::channel();
    let tell = Arc::new(tell);
    let upstream = H2Upstream::with_script(move |request| {
        let tell = Arc::clone(&tell);
        async move {
            reset(request, true).await;
            tell(Instant::now());
        }
    });
    let gauge = one_worker(&upstream, &[ALWAYS]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    client.read_until(b"first").unwrap();
    let left = Instant::now();
    drop(client);
    let after = gone.wait() - left;
    assert!(after.as_secs_f64() < disturbance.allow(0.05), "{after:?}");
    gauge.assert_single_request("client_gone_before_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reset_by_the_server_is_reset() {
    let upstream = H2Upstream::with_script(|mut request| async move {
        let mut sender = request.respond.send_response(ok(), false).unwrap();
        sender.send_data("first".into(), false).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.send_reset(Reason::ENHANCE_YOUR_CALM);
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let mut body = client.send(grpc(), "x").await.await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap(), "first");
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "and for the same reason");
    gauge.assert_single_request("truncated");
}

#[test]
fn http1_clients_reach_an_http2_upstream() {
    let upstream = H2Upstream::with_script(|request| async move {
        match request.head.uri.path() {
            "/sized" => respond(request).await,
            _ => echo(request).await,
        }
    });
    let gauge = one_worker(&upstream, &[ALWAYS]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post("/sized", "", b"hello"));
    assert_eq!(client.read_message().text(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.read_head().unwrap();
    assert_eq!(head.header("transfer-encoding"), ["chunked"]);
    // The response has begun before the end of the request.
    assert_eq!(head.header("connection"), ["close"]);
    for word in ["one", "two", "three"] {
        client.send(chunk(word));
        assert_eq!(dechunk(&client.read_exactly(chunk(word).len()).unwrap()), word.as_bytes());
    }
    client.send(chat::LAST_CHUNK);
    assert_eq!(client.read_to_end().0, chat::LAST_CHUNK.as_bytes());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("GET /sized HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read_message().body, b"");
    assert_eq!(client.read_to_end().0, b"");
    assert_eq!(gauge.requests_when(3).len(), 3);
    assert_eq!(upstream.connections(), 1);
    gauge.scrape().assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_in_both_directions() {
    let large: Vec<u8> =
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let upstream = H2Upstream::with_script(respond);
    let gauge = one_worker(&upstream, &[ALWAYS]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let answer = client.send(post("http://h/", "a/b"), large.clone()).await;
    let answer = H2Response::of(answer.await.unwrap()).await;
    assert!(answer.body == large, "the bytes differ");
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post("/", "", &large));
    assert!(client.read_message().body == large, "the bytes differ");
}

/// All requests share one connection, unless the server allows fewer.
#[tokio::test(flavor = "multi_thread")]
async fn requests_share_a_connection_up_to_the_servers_limit() {
    for (max_streams, connections) in [(None, 1), (Some(2), 4)] {
        let all_there = Arc::new(tokio::sync::Barrier::new(8));
        let behavior = H2Behavior { max_streams, ..H2Behavior::default() };
        let upstream = H2Upstream::with_behavior(behavior, move |request| {
            let all_there = Arc::clone(&all_there);
            async move {
                all_there.wait().await;
                respond(request).await;
            }
        });
        let gauge = one_worker(&upstream, &[]);
        let mut client = H2Client::connect(gauge.proxy).await;
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(client.send(grpc(), "x").await);
        }
        for answer in answers {
            assert_eq!(H2Response::of(answer.await.unwrap()).await.body, b"x");
        }
        assert_eq!(upstream.connections(), connections);
    }
}

/// After GOAWAY no request is lost or sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn goaway_leads_to_a_new_connection() {
    let count = Arc::new(Mutex::new(0));
    let ours = Arc::clone(&count);
    let behavior = H2Behavior { goaway_after: Some(3), ..H2Behavior::default() };
    let upstream = H2Upstream::with_behavior(behavior, move |request| {
        *ours.lock().unwrap() += 1;
        respond(request)
    });
    let gauge = one_worker(&upstream, &[]);
    let mut client = H2Client::connect(gauge.proxy).await;
    for i in 0..60 {
        let answer = client.exchange(grpc(), i.to_string()).await;
        assert_eq!(answer.body, i.to_string().as_bytes());
    }
    assert_eq!(*count.lock().unwrap(), 60);
    assert!((5..=20).contains(&upstream.connections()), "{}", upstream.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_after_the_timeout() {
    let upstream = H2Upstream::with_script(respond);
    let gauge = one_worker(&upstream, &[("pool_idle_timeout_seconds", "0.2")]);
    let mut client = H2Client::connect(gauge.proxy).await;
    for connections in 1..=3 {
        client.exchange(grpc(), "x").await;
        client.exchange(grpc(), "x").await;
        assert_eq!(upstream.connections(), connections);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A client that does not read must not block others on the same upstream connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_blocks_no_other() {
    let upstream = H2Upstream::with_script(|mut request| async move {
        if request.head.uri.path() == "/small" {
            return respond(request).await;
        }
        let mut sender = request.respond.send_response(ok(), false).unwrap();
        sender.send_data(vec![b'x'; 4_000_000].into(), true).unwrap();
        let _ = poll_fn(|cx| sender.poll_reset(cx)).await;
    });
    let gauge = one_worker(&upstream, &[]);
    let mut stuck = H2Client::connect(gauge.proxy).await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(stuck.send(grpc(), "x").await.await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = H2Client::connect(gauge.proxy).await;
    let small = client.exchange(post("http://h/small", "application/grpc"), "small");
    let small = tokio::time::timeout(Duration::from_secs(5), small).await.unwrap();
    assert_eq!((small.body, upstream.connections()), (b"small".to_vec(), 1));
}

#[test]
fn a_server_without_http2_is_reported() {
    for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""] {
        let upstream = ScriptedUpstream::with_script(move |_, connection| {
            connection.read_until(b"SM\r\n\r\n");
            connection.try_send(answer);
        });
        let gauge = Streamgauge::with(upstream.address, &[ALWAYS], FaultInjection::default());
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        let answer = client.read_message();
        assert_eq!(
            (answer.status(), answer.header("x-streamgauge-error")),
            (502, vec!["upstream_not_http2".into()])
        );
        gauge.assert_single_request("upstream_unreachable");
    }
    // A server that sends nothing.
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.wait_for_close();
    });
    let keys = [ALWAYS, ("connect_timeout_seconds", "0.3")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    assert_eq!(client.read_message().status(), 504);
    gauge.assert_single_request("timeout");
}
