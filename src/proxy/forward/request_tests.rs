use super::*;
use crate::proxy::UpstreamAddress;
use hyper::Request;
use std::time::Duration;

fn config(http2: Http2Mode, tls: bool) -> UpstreamConfig {
    UpstreamConfig {
        address: UpstreamAddress::Tcp { host: "vllm".into(), port: 8000 },
        tls,
        ca_file: None,
        http2,
        rewrite_host: false,
        connect_timeout: Duration::ZERO,
        kernel_stamps: true,
        idle_timeout: Duration::ZERO,
        health_path: None,
        metrics_path: None,
    }
}

fn head(version: Version, uri: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method("POST").version(version).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn refused(version: Version, uri: &str, lines: &[(&str, &str)]) -> bool {
    let mut head = head(version, uri, lines);
    let prepared = prepare(&mut head, false, &config(Http2Mode::Auto, false));
    matches!(prepared, Err(ErrorResponse::BadRequest(_)))
}

fn lines(head: &request::Parts) -> Vec<String> {
    let line = |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    head.headers.iter().map(line).collect()
}

#[test]
fn a_request_by_http2_becomes_one_by_http1() {
    let given = [("cookie", "a=1"), ("x", "1"), ("te", "trailers"), ("cookie", "b=2")];
    let mut head = head(Version::HTTP_2, "http://vllm.test/v1?q", &given);
    prepare(&mut head, true, &config(Http2Mode::Auto, false)).unwrap();
    assert_eq!((head.version, head.uri.to_string()), (Version::HTTP_11, "/v1?q".into()));
    let expected = [
        "cookie: a=1; b=2",
        "x: 1",
        "transfer-encoding: chunked",
        "te: trailers",
        "connection: te",
        "host: vllm.test",
    ];
    assert_eq!(lines(&head), expected);
}

#[test]
fn and_one_by_http1_becomes_one_by_http2() {
    let given = [
        ("host", "h:1"),
        ("connection", "x-hop, keep-alive"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("a", "1"),
    ];
    let mut head = head(Version::HTTP_11, "/v1?q", &given);
    let config = config(Http2Mode::Always, true);
    assert_eq!(prepare(&mut head, true, &config).unwrap().protocol, UpstreamProtocol::Http2);
    to_http2(&mut head, &config).unwrap();
    assert_eq!(head.uri.to_string(), "https://h:1/v1?q");
    assert_eq!(lines(&head), ["a: 1", "te: trailers"]);
}

#[test]
fn which_protocol() {
    let grpc = ("content-type", "application/grpc+proto");
    let json = ("content-type", "application/json");
    let web = ("content-type", "application/grpc-web+proto");
    let cases = [
        (Http2Mode::Auto, false, Version::HTTP_2, json, UpstreamProtocol::Http1),
        (Http2Mode::Auto, false, Version::HTTP_2, grpc, UpstreamProtocol::Http2),
        (Http2Mode::Auto, false, Version::HTTP_2, web, UpstreamProtocol::Http1),
        (Http2Mode::Auto, false, Version::HTTP_11, grpc, UpstreamProtocol::Http1),
        (Http2Mode::Auto, true, Version::HTTP_11, json, UpstreamProtocol::Negotiated),
        (Http2Mode::Always, false, Version::HTTP_11, json, UpstreamProtocol::Http2),
        (Http2Mode::Never, true, Version::HTTP_2, grpc, UpstreamProtocol::Http1),
    ];
    for (http2, tls, version, kind, expected) in cases {
        let mut head = head(version, "http://h/", &[kind, ("host", "h")]);
        let prepared = prepare(&mut head, false, &config(http2, tls)).unwrap();
        assert_eq!(prepared.protocol, expected, "{http2:?} {tls} {version:?} {kind:?}");
    }
}

#[test]
fn an_upgrade_goes_by_http1() {
    let given = [("host", "h"), ("connection", "Upgrade"), ("upgrade", "websocket")];
    for (http2, upgrades) in
        [(Http2Mode::Auto, true), (Http2Mode::Never, true), (Http2Mode::Always, false)]
    {
        let mut head = head(Version::HTTP_11, "/", &given);
        let prepared = prepare(&mut head, false, &config(http2, true)).unwrap();
        assert_eq!(prepared.upgrade.is_some(), upgrades);
        assert_eq!(prepared.protocol == UpstreamProtocol::Http1, upgrades);
        assert_eq!(head.headers.contains_key("upgrade"), upgrades);
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let h2 = Version::HTTP_2;
    assert!(!refused(h2, "http://h/", &[]));
    assert!(!refused(h2, "http://h/", &[("host", "H")]));
    assert!(!refused(h2, "/", &[("host", "h")]));
    assert!(refused(h2, "/", &[]));
    assert!(refused(h2, "http://h/", &[("host", "other")]));
    assert!(refused(h2, "http://h/", &[("host", "h"), ("host", "h")]));
    assert!(!refused(h2, "http://h/", &[("content-length", "3")]));
    assert!(refused(h2, "http://h/", &[("content-length", "3"), ("content-length", "3")]));
    assert!(refused(h2, "http://h/", &[("content-length", "3, 3")]));
    assert!(refused(h2, "http://h/", &[("content-length", "+3")]));
    assert!(refused(Version::HTTP_11, "http://h/", &[]));
}
