//! TLS on both sides, and upstreams on a Unix socket.

use crate::support::clock::assert_within;
use crate::support::connection::{ConnectionEnd, chunk, dechunk};
use crate::support::http2::{H2Client, post};
use crate::support::tls::TestCertificate;
use crate::support::upstream::EventReceiver;
use crate::support::{Bracket, Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;
use streamgauge::App;
use streamgauge::config::{Sources, load};
use streamgauge::testing::FaultInjection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn words() -> Vec<String> {
    vec![
        chat::content_event("Hello"),
        chat::content_event(" world"),
        chat::finish_event(),
        chat::DONE.into(),
    ]
}

/// A proxy whose clients speak TLS.
pub(crate) fn secured(
    upstream: std::net::SocketAddr,
    certificate: &TestCertificate,
) -> Streamgauge {
    secured_with(upstream, certificate, &[])
}

/// The same with these keys.
pub(crate) fn secured_with(
    upstream: std::net::SocketAddr,
    certificate: &TestCertificate,
    keys: &[(&'static str, &str)],
) -> Streamgauge {
    let keys = [&certificate.keys(), keys].concat();
    Streamgauge::with(upstream, &keys, FaultInjection::default())
}

/// A proxy whose upstream is the other proxy, by TLS.
pub(crate) fn in_front(of: &Streamgauge, host: &str, keys: &[(&'static str, &str)]) -> Streamgauge {
    let url = format!("https://{host}:{}", of.proxy.port());
    let keys: Vec<_> =
        keys.iter().copied().chain([("upstream", &*url), ("workers", "1")]).collect();
    Streamgauge::with(of.proxy, &keys, FaultInjection::default())
}

/// All bytes until the connection's end.
async fn rest(mut from: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_by_http1_and_http2_are_served() {
    let certificate = TestCertificate::of("both", &["localhost"]);
    let scripted = chat::stream_response(&words());
    let upstream = ScriptedUpstream::responding_with(scripted.clone());
    let gauge = secured(upstream.address, &certificate);
    let mut client = certificate.connect(gauge.proxy, &["http/1.1"]).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = String::from_utf8(chat::request()).unwrap();
    let request = request.replace("Host: test", "Host: test\r\nConnection: close");
    client.write_all(request.as_bytes()).await.unwrap();
    let head = chat::STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let expected = String::from_utf8(scripted).unwrap().replace(chat::STREAM_HEAD, &head);
    assert_eq!(String::from_utf8(rest(client).await).unwrap(), expected);

    let client = certificate.connect(gauge.proxy, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = H2Client::over(client).await;
    let request = post("https://test/v1/chat/completions", "application/json");
    let answer = client.exchange(request, r#"{"model":"m","stream":true}"#).await;
    assert_eq!(answer.body, words().concat().into_bytes());
    for record in gauge.requests_when(2) {
        assert_eq!((&record["outcome"], &record["output_tokens"]), (&"ok".into(), &2.into()));
    }
    drop(client);
    // Kernel timestamps also work with TLS.
    let plain = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(plain.proxy);
    client.send(chat::request());
    client.read_message();
    let clock = plain.requests_when(1)[0]["clock"].clone();
    assert!(gauge.requests().iter().all(|record| record["clock"] == clock), "{clock}");
}

/// More bytes than buffers hold, to a slow client.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_reaches_a_slow_client() {
    let certificate = TestCertificate::of("slow", &["localhost"]);
    let pieces: Vec<String> = (0..3000).map(|i| format!("{i} {}", "x".repeat(i))).collect();
    let whole = pieces.concat();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(chat::STREAM_HEAD);
        for piece in &pieces {
            connection.send(chunk(piece));
        }
        connection.send(chat::LAST_CHUNK);
        connection.wait_for_close();
    });
    let gauge = secured(upstream.address, &certificate);
    let mut client = certificate.connect(gauge.proxy, &[]).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut got = Vec::new();
    while client.read_buf(&mut got).await.unwrap() > 0 {
        if got.len() % 7 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let at = got.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(dechunk(&got[at..]) == whole.as_bytes(), "the bytes differ");
    assert!(got.ends_with(b"\r\n0\r\n\r\n"));
    gauge.assert_single_request("ok");
}

#[test]
fn a_client_without_tls_is_refused() {
    let certificate = TestCertificate::of("plain", &["localhost"]);
    let upstream =
        ScriptedUpstream::responding_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let gauge = secured(upstream.address, &certificate);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (bytes, _) = client.read_to_end();
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gauge.scrape().ended(), 0.0);
}

/// HTTP/2 by the server's choice, always, and never.
#[test]
fn an_https_upstream_uses_the_configured_protocol() {
    let certificate = TestCertificate::of("upstream", &["localhost"]);
    let upstream = ScriptedUpstream::responding_with(chat::stream_response(&words()));
    let far = secured(upstream.address, &certificate);
    for (http2, one_connection) in [("auto", true), ("always", true), ("never", false)] {
        let near = in_front(&far, "localhost", &[("ca_file", &certificate.cert), ("http2", http2)]);
        let mut clients: Vec<RawConnection> =
            (0..3).map(|_| RawConnection::connect(near.proxy)).collect();
        for client in &mut clients {
            client.send(chat::request());
            let answer = client.read_message();
            assert_eq!(answer.data(), words().concat().into_bytes(), "{http2}");
            assert_eq!(answer.head, if one_connection {
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            } else {
                chat::STREAM_HEAD
            }.as_bytes());
        }
        for record in near.requests_when(3) {
            assert_eq!((&record["outcome"], &record["output_tokens"]), (&"ok".into(), &2.into()));
        }
        let connects = near.scrape().sum("streamgauge_upstream_connect_seconds_count", &[]);
        // After an HTTP/1.1 stream the pool keeps its connection aside.
        assert_eq!(connects == 1.0, one_connection, "{http2}: {connects}");
        near.scrape().assert_balanced();
    }
    assert_eq!(far.scrape().sum("streamgauge_requests_total", &["outcome=\"ok\""]), 9.0);
}

#[test]
fn an_untrusted_server_is_refused() {
    let certificate = TestCertificate::of("trusted", &["localhost"]);
    let other = TestCertificate::of("other", &["localhost", "127.0.0.1"]);
    let upstream =
        ScriptedUpstream::responding_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let far = secured(upstream.address, &certificate);
    // Another root, and another name.
    for (host, root) in [("localhost", &other), ("127.0.0.1", &certificate)] {
        let near = in_front(&far, host, &[("ca_file", &root.cert)]);
        let mut client = RawConnection::connect(near.proxy);
        client.send(chat::request());
        let answer = client.read_message();
        assert_eq!(
            (answer.status(), answer.header("x-streamgauge-error")),
            (502, vec!["upstream_tls".into()])
        );
        near.assert_single_request("upstream_unreachable");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn an_upgrade_passes_through_tls() {
    let certificate = TestCertificate::of("upgrade", &["localhost"]);
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_head();
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        );
        while let Some(bytes) = connection.read_exactly(1000) {
            connection.send(bytes);
        }
    });
    let far = secured(upstream.address, &certificate);
    // The server prefers HTTP/2, which has no such upgrade.
    let near = in_front(&far, "localhost", &[("ca_file", &certificate.cert)]);
    let mut client = RawConnection::connect(near.proxy);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.read_head().unwrap().status(), 101);
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| ((i * 7) >> 3) as u8).collect();
    client.send(&bytes);
    assert!(client.read_exactly(bytes.len()).unwrap() == bytes, "the bytes differ");
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    near.assert_single_request("ok");
    far.assert_single_request("ok");
}

#[test]
fn ttft_and_tpot_are_exact_through_tls() {
    const WORDS: usize = 3;
    let disturbance = Disturbance::watch();
    let certificate = TestCertificate::of("instants", &["localhost"]);
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while connection.try_read_message().is_some() {
            connection.send(chat::STREAM_HEAD);
            for _ in 0..WORDS {
                std::thread::sleep(Duration::from_millis(50));
                let event = chunk(chat::content_event("word"));
                report(Bracket::around(|| connection.send(event)).1);
            }
            connection.send([&chunk(chat::DONE), chat::LAST_CHUNK.as_bytes()].concat());
        }
    });
    let far = secured(upstream.address, &certificate);
    for http2 in ["never", "always"] {
        let keys = [("ca_file", &*certificate.cert), ("http2", http2)];
        let near = in_front(&far, "localhost", &keys);
        let mut client = RawConnection::connect(near.proxy);
        let ((), start) = Bracket::around(|| client.send(chat::request()));
        client.read_message();
        let record = near.requests_when(1).remove(0);
        let seconds = |name: &str| record[name].as_f64().unwrap();
        let words: Vec<Bracket> = (0..WORDS).map(|_| sent.wait()).collect();
        // Each word passes the other proxy first.
        let ttft = words[0].since(start);
        assert_within("TTFT", seconds("ttft_s"), ttft, disturbance.allow(0.01));
        let (least, most) = words[WORDS - 1].since(words[0]);
        let gaps = (WORDS - 1) as f64;
        let tpot = (least / gaps, most / gaps);
        assert_within("TPOT", seconds("tpot_s"), tpot, disturbance.allow(0.005));
    }
}

#[test]
fn unusable_certificate_files_are_reported() {
    let certificate = TestCertificate::of("files", &["localhost"]);
    let other = TestCertificate::of("other-files", &["localhost"]);
    let (cert, key) = (&*certificate.cert, &*certificate.key);
    let no_certificate =
        "no certificate found; is this the key file? Expected a PEM file with CERTIFICATE blocks";
    let no_key = "no private key found; is this the certificate file? Expected a PEM file with a PRIVATE KEY block";
    let cases = [
        (
            [("tls_cert", "/nonexistent.crt"), ("tls_key", key)],
            "tls_cert = \"/nonexistent.crt\": cannot read the file: No such file or directory (os error 2)"
                .to_owned(),
        ),
        ([("tls_cert", key), ("tls_key", key)], format!("tls_cert = {key:?}: {no_certificate}")),
        ([("tls_cert", cert), ("tls_key", cert)], format!("tls_key = {cert:?}: {no_key}")),
        (
            [("upstream", "https://localhost"), ("ca_file", key)],
            format!("ca_file = {key:?}: {no_certificate}"),
        ),
        (
            [("upstream_tls_cert", cert), ("upstream_tls_key", cert)],
            format!("upstream_tls_key = {cert:?}: {no_key}"),
        ),
        (
            [("upstream_tls_cert", cert), ("upstream_tls_key", &*other.key)],
            format!("upstream_tls_key = {:?}: cannot be used with this upstream_tls_cert: keys may not be consistent: KeyMismatch", other.key),
        ),
    ];
    for (mut keys, expected) in cases.map(|(keys, expected)| (keys.to_vec(), expected)) {
        if keys[0].0 == "upstream_tls_cert" {
            keys.extend([("upstream", "https://localhost"), ("ca_file", cert)]);
        }
        let mut flags = vec![
            ("upstream", "http://127.0.0.1:1".to_owned()),
            ("listen", "127.0.0.1:0".into()),
            ("admin", "127.0.0.1:0".into()),
        ];
        for (name, value) in keys {
            flags.retain(|(other, _)| *other != name);
            flags.push((name, value.to_owned()));
        }
        let config = load(&Sources { flags, ..Sources::default() }).unwrap();
        assert_eq!(App::bind(config).unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_upstream_on_a_unix_socket() {
    let path = crate::support::temporary::unique_path("sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let scripted = chat::stream_response(&words());
    let server = std::thread::spawn(move || {
        // A connection without a byte is a probe.
        let (mut socket, mut got) = loop {
            let (mut socket, _) = listener.accept().unwrap();
            let mut first = [0];
            if socket.read(&mut first).unwrap() == 1 {
                break (socket, first.to_vec());
            }
        };
        while !got.ends_with(b"}") {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..count]);
        }
        socket.write_all(&scripted).unwrap();
        String::from_utf8(got).unwrap()
    });
    let url = format!("unix:{}", path.display());
    let gauge = Streamgauge::with(
        ([127, 0, 0, 1], 1).into(),
        &[("upstream", &url)],
        FaultInjection::default(),
    );
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    assert_eq!(client.read_message().data(), words().concat().into_bytes());
    assert_eq!(server.join().unwrap().as_bytes(), chat::request());
    let record = gauge.assert_single_request("ok");
    // Unix sockets have no kernel timestamps.
    assert_eq!((&record["upstream"], &record["clock"]), (&url.into(), &"program".into()));
    assert_eq!(record["output_tokens"], 2);
    let _ = std::fs::remove_file(&path);
    client.send(chat::request());
    assert_eq!(client.read_message().status(), 503);
}
