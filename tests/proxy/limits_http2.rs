//! Limits on clients that use HTTP/2.

use crate::support::http2::{H2Client, post};
use crate::support::{ScriptedUpstream, Streamgauge, wait_for};
use bytes::Bytes;
use h2::Reason;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHAT: &str = "http://h/v1/chat/completions";

fn gauge_with(upstream: &ScriptedUpstream, keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(upstream.address, keys, FaultInjection::default())
}

fn exceeded(gauge: &Streamgauge, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    gauge.scrape().sum("streamgauge_limit_exceeded_total", &[&label])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_gets_goaway() {
    let upstream = ScriptedUpstream::responding_with(OK);
    for (key, limit, requests) in [
        ("keep_alive_timeout_seconds", "keep_alive_time", 2),
        ("request_header_timeout_seconds", "request_header_time", 0),
    ] {
        let gauge = gauge_with(&upstream, &[(key, "0.4")]);
        let mut client = H2Client::connect(gauge.proxy).await;
        for _ in 0..requests {
            assert_eq!(client.exchange(post(CHAT, "text/plain"), "x").await.head.status, 200);
        }
        let start = Instant::now();
        client.wait_for_close().await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
        assert_eq!(exceeded(&gauge, limit), 1.0);
        gauge.scrape().assert_balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_gets_408() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.wait_for_close();
    });
    let gauge = gauge_with(&upstream, &[("request_body_timeout_seconds", "0.4")]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let (answer, mut body) = client.begin(post(CHAT, "application/json")).await;
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.headers()["x-streamgauge-error"], "request_body_timeout");
    gauge.assert_single_request("client_error");
    assert_eq!(exceeded(&gauge, "request_body_time"), 1.0);
    // Streams of gRPC may be silent. The server's answer takes longer than the limit.
    let upstream = crate::support::http2::H2Upstream::with_script(|mut request| async move {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let _ = request.respond.send_response(hyper::Response::new(()), true);
    });
    let url = format!("http://{}", upstream.address);
    let keys = [("upstream", &*url), ("request_body_timeout_seconds", "0.4")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let mut client = H2Client::connect(gauge.proxy).await;
    let (answer, _body) = client.begin(post("http://h/a.B/C", "application/grpc")).await;
    assert_eq!(answer.await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_of_a_connection_gets_goaway() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(&upstream, &[("max_requests_per_connection", "2")]);
    let mut client = H2Client::connect(gauge.proxy).await;
    for _ in 0..2 {
        assert_eq!(client.exchange(post(CHAT, "text/plain"), "x").await.head.status, 200);
    }
    client.wait_for_close().await.unwrap();
    assert_eq!(exceeded(&gauge, "connection_requests"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_headers_get_431() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = gauge_with(&upstream, &[("max_request_headers", "20")]);
    let mut client = H2Client::connect(gauge.proxy).await;
    let mut request = post(CHAT, "text/plain");
    for _ in 0..20 {
        request.headers_mut().append("x-a", "a".parse().unwrap());
    }
    let answer = client.exchange(request, "").await;
    assert_eq!(answer.head.status, 431);
    assert_eq!(answer.header("x-streamgauge-error"), Some("headers_too_large"));
    gauge.assert_single_request("client_error");
    assert_eq!(exceeded(&gauge, "request_header_size"), 1.0);
}

/// Rapid reset, paced: one stream at a time, so no limit on bursts applies.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_resetting_streams_is_cut_off() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.wait_for_close();
    });
    let gauge = gauge_with(&upstream, &[("max_http2_resets_per_minute", "100")]);
    let mut other = H2Client::connect(gauge.proxy).await;
    let mut client = H2Client::connect(gauge.proxy).await;
    let start = Instant::now();
    let mut resets = 0;
    let end = loop {
        let Some((answer, body)) = client.try_begin(post(CHAT, "text/plain")).await else {
            break client.wait_for_close().await;
        };
        // Long enough for the request to start.
        tokio::time::sleep(Duration::from_micros(1500)).await;
        drop((answer, body));
        resets += 1;
        assert!(start.elapsed() < Duration::from_secs(15), "{resets} resets");
    };
    assert!(resets > 90, "{resets}");
    let error = end.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error}");
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    wait_for("the books", || {
        let scrape = gauge.scrape();
        (scrape.sum("streamgauge_in_flight_requests", &[]) == 0.0).then(|| scrape.assert_balanced())
    });
    assert_eq!(exceeded(&gauge, "http2_resets"), 1.0);
    let (_answer, _body) = other.try_begin(post(CHAT, "text/plain")).await.expect("not affected");
}
