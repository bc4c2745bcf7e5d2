//! The lame-duck time: connections announce their end and lose no request.

use crate::support::drain::{SHORT_REQUEST, StreamingUpstream};
use crate::support::http2::{H2Client, next, post};
use crate::support::{ConnectionEnd, RawConnection, Streamgauge, chat, wait_for};
use streamgauge::DrainStage;
use streamgauge::testing::FaultInjection;

const CHAT: &str = "http://test.example/v1/chat/completions";
const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

/// Streamgauge with a long lame-duck time and one worker, so that one response shows the stage of all connections.
fn start(upstream: &StreamingUpstream) -> Streamgauge {
    let keys = [("lame_duck_seconds", "60"), ("workers", "1")];
    Streamgauge::with(upstream.server.address, &keys, FaultInjection::default())
}

/// Begins the lame-duck time, and waits until the workers announce it.
fn begin_lame_duck(gauge: &Streamgauge) {
    gauge.enter(DrainStage::LameDuck);
    wait_for("the lame-duck time", || {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(SHORT_REQUEST);
        (client.read_message().header("connection") == ["close"]).then_some(())
    });
}

/// Its response headers did not announce the end of the connection, so the client may send another request.
#[test]
fn a_stream_that_ends_in_the_lame_duck_time_keeps_its_connection() {
    let upstream = StreamingUpstream::default();
    let gauge = start(&upstream);
    let mut client = StreamingUpstream::open_stream(gauge.proxy);
    begin_lame_duck(&gauge);
    upstream.end_streams();
    client.read_until(chat::LAST_CHUNK.as_bytes()).unwrap();
    client.send(chat::request());
    let response = client.read_message();
    assert_eq!((response.status(), response.header("connection")), (200, vec!["close".into()]));
    assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
}

#[test]
fn a_response_of_the_proxy_itself_announces_the_end() {
    let upstream = StreamingUpstream::default();
    let gauge = start(&upstream);
    begin_lame_duck(&gauge);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n");
    let response = client.read_message();
    assert_eq!((response.status(), response.header("connection")), (405, vec!["close".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_get_goaway_and_finish_their_streams() {
    let upstream = StreamingUpstream::default();
    let gauge = start(&upstream);
    let mut client = H2Client::connect(gauge.proxy).await;
    let response = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
    let mut body = response.into_body();
    let first = next(&mut body).await.unwrap();
    assert!(first.starts_with(b"data: "));
    // Open before, without a request.
    let mut idle = H2Client::connect(gauge.proxy).await;
    tokio::task::block_in_place(|| begin_lame_duck(&gauge));
    client.wait_for_goaway().await;
    // The connection takes no further request, and the stream continues.
    next(&mut body).await.unwrap();
    for client in [&mut idle, &mut H2Client::connect(gauge.proxy).await] {
        let response = client.send(post(CHAT, "application/json"), BODY).await.await.unwrap();
        let mut body = response.into_body();
        next(&mut body).await.unwrap();
        client.wait_for_goaway().await;
    }
    upstream.end_streams();
    while next(&mut body).await.is_some() {}
}
