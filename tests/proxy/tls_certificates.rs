//! Trust in certificates, and the certificates of clients, on both sides.

use crate::support::tls::{TestCertificate, ca_params, params};
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat};
use rcgen::date_time_ymd;
use std::net::{SocketAddr, TcpListener};
use streamgauge::testing::FaultInjection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::server::Acceptor;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn with_keys(upstream: SocketAddr, keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(upstream, keys, FaultInjection::default())
}

/// Sends a request, and returns the status and the kind of the error.
fn status_of(proxy: SocketAddr) -> (u16, Option<String>) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::request());
    let answer = client.read_message();
    (answer.status(), answer.header("x-streamgauge-error").pop())
}

fn untrusted() -> (u16, Option<String>) {
    (502, Some("upstream_tls".into()))
}

#[test]
fn a_certificate_in_ca_file_is_trusted_for_its_name_and_time() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let ca = TestCertificate::self_signed("ca", ca_params(&["localhost"]));
    let other = TestCertificate::self_signed("other-ca", ca_params(&["localhost"]));
    let elsewhere = TestCertificate::self_signed("elsewhere", ca_params(&["elsewhere"]));
    let mut dated = ca_params(&["localhost"]);
    dated.not_after = date_time_ymd(2001, 1, 1);
    let expired = TestCertificate::self_signed("expired", dated.clone());
    (dated.not_before, dated.not_after) = (date_time_ymd(2900, 1, 1), date_time_ymd(2901, 1, 1));
    let early = TestCertificate::self_signed("early", dated);
    let issued = ca.issue("issued", params(&["localhost"]));
    let mut dated = params(&["localhost"]);
    dated.not_after = date_time_ymd(2001, 1, 1);
    let issued_and_expired = ca.issue("issued-expired", dated);
    let leaf = TestCertificate::of("leaf", &["localhost"]);
    let good = (200, None);
    // The server's certificate, and the one in `ca_file`.
    for (case, server, trusted, expected) in [
        ("a CA's own certificate", &ca, &ca, good.clone()),
        ("a self-signed certificate that is no CA's", &leaf, &leaf, good.clone()),
        ("issued by the CA", &issued, &ca, good.clone()),
        ("without its CA", &issued, &issued, good),
        ("a CA of the same name", &other, &ca, untrusted()),
        ("issued by another CA", &issued, &other, untrusted()),
        ("another name", &elsewhere, &elsewhere, untrusted()),
        ("expired", &expired, &expired, untrusted()),
        ("not valid yet", &early, &early, untrusted()),
        ("without its CA, expired", &issued_and_expired, &issued_and_expired, untrusted()),
    ] {
        let far = with_keys(upstream.address, &server.keys());
        let url = format!("https://localhost:{}", far.proxy.port());
        let near = with_keys(far.proxy, &[("upstream", &url), ("ca_file", &trusted.cert)]);
        assert_eq!(status_of(near.proxy), expected, "{case}");
    }
}

#[test]
fn the_servers_name_can_be_configured() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let certificate = TestCertificate::of("named", &["llm.internal"]);
    let far = with_keys(upstream.address, &certificate.keys());
    let url = format!("https://127.0.0.1:{}", far.proxy.port());
    let keys = [("upstream", &*url), ("ca_file", &certificate.cert)];
    let near = with_keys(far.proxy, &[keys[0], keys[1], ("upstream_tls_name", "llm.internal")]);
    assert_eq!(status_of(near.proxy), (200, None));
    for other in [&[][..], &[("upstream_tls_name", "other.internal")]] {
        let near = with_keys(far.proxy, &[&keys[..], other].concat());
        assert_eq!(status_of(near.proxy), untrusted(), "{other:?}");
    }
}

/// The name (SNI) and the protocols (ALPN) that the server is offered.
#[test]
fn the_handshake_offers_the_configured_name_and_protocols() {
    let certificate = TestCertificate::of("hello", &["localhost"]);
    let ca = ("ca_file", &*certificate.cert);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let both = ["h2", "http/1.1"];
    for (host, keys, name, protocols) in [
        ("localhost", &[ca][..], Some("localhost"), &both[..]),
        ("127.0.0.1", &[ca], None, &both),
        ("127.0.0.1", &[ca, ("upstream_tls_name", "llm.internal")], Some("llm.internal"), &both),
        ("localhost", &[ca, ("http2", "never")], Some("localhost"), &["http/1.1"]),
        ("localhost", &[ca, ("http2", "always")], Some("localhost"), &["h2"]),
    ] {
        let url = format!("https://{host}:{}", address.port());
        let near = with_keys(address, &[&[("upstream", &*url)][..], keys].concat());
        let mut client = RawConnection::connect(near.proxy);
        client.send(chat::request());
        let hello = loop {
            let (mut socket, _) = listener.accept().unwrap();
            let mut acceptor = Acceptor::default();
            let accepted = loop {
                let read = acceptor.read_tls(&mut socket).unwrap_or(0);
                match acceptor.accept() {
                    Ok(Some(accepted)) => break Some(accepted),
                    Ok(None) if read > 0 => {}
                    // A connection that was given up, such as that of a probe at the end of a proxy.
                    _ => break None,
                }
            };
            let Some(accepted) = accepted else { continue };
            // Probes speak HTTP/1.1, so only a request offers what `http2` says.
            let hello = accepted.client_hello();
            let offered: Vec<String> = hello
                .alpn()
                .unwrap()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
            if offered == protocols {
                break hello.server_name().map(ToOwned::to_owned);
            }
        };
        assert_eq!(hello.as_deref(), name, "{url}");
    }
}

#[test]
fn the_server_gets_a_client_certificate() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let ca = TestCertificate::self_signed("client-ca", ca_params(&["localhost"]));
    let (server, client) = (
        ca.issue("server-cert", params(&["localhost"])),
        ca.issue("client-cert", params(&["client"])),
    );
    let stranger = TestCertificate::of("stranger", &["client"]);
    let [cert, key] = server.keys();
    let far = with_keys(upstream.address, &[cert, key, ("tls_client_ca", &ca.cert)]);
    let url = format!("https://localhost:{}", far.proxy.port());
    for http2 in ["never", "always"] {
        let keys = [("upstream", &*url), ("ca_file", &ca.cert), ("http2", http2)];
        let identity = |of: &'_ TestCertificate| {
            [("upstream_tls_cert", of.cert.clone()), ("upstream_tls_key", of.key.clone())]
        };
        let with_identity = |of: &TestCertificate| {
            let identity = identity(of);
            let identity = identity.each_ref().map(|(key, path)| (*key, path.as_str()));
            with_keys(far.proxy, &[&keys[..], &identity].concat())
        };
        assert_eq!(status_of(with_identity(&client).proxy), (200, None), "{http2}");
        for near in [with_keys(far.proxy, &keys), with_identity(&stranger)] {
            let (status, kind) = status_of(near.proxy);
            // The server refuses after the handshake, and closes: its alert can be lost.
            let kinds = ["upstream_tls", "upstream_closed"].map(|kind| Some(kind.to_owned()));
            assert!(status == 502 && kinds.contains(&kind), "{http2}: {status}, {kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_clients_are_required_or_optional() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let ca = TestCertificate::self_signed("clients-ca", ca_params(&["localhost"]));
    let server = ca.issue("clients-server", params(&["localhost"]));
    let known = ca.issue("known", params(&["client"]));
    let stranger = TestCertificate::of("unknown", &["client"]);
    let [cert, key] = server.keys();
    for auth in ["required", "optional"] {
        let keys = [cert, key, ("tls_client_ca", &*ca.cert), ("tls_client_auth", auth)];
        let gauge = with_keys(upstream.address, &keys);
        for (client, is_served) in
            [(Some(&known), true), (Some(&stranger), false), (None, auth == "optional")]
        {
            let response = async {
                let mut stream = ca.connect_as(gauge.proxy, &["http/1.1"], client).await?;
                stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await?;
                let mut response = Vec::new();
                stream.read_to_end(&mut response).await?;
                std::io::Result::Ok(response)
            };
            let response = response.await.unwrap_or_default();
            let who = client.map_or("nobody", |client| &client.cert);
            assert_eq!(response.starts_with(b"HTTP/1.1 200"), is_served, "{auth}, {who}");
        }
    }
}
