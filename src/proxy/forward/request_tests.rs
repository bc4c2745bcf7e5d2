use super::*;
use crate::config::Sources;
use hyper::Request;

/// The default configuration of an upstream, with these values.
fn config(http2: Http2Mode, tls: bool) -> UpstreamConfig {
    let flags = vec![("upstream", "http://vllm:8000".to_owned())];
    let defaults = crate::config::load(&Sources { flags, ..Sources::default() }).unwrap();
    let upstream = defaults.proxies.into_iter().next().unwrap().upstream;
    UpstreamConfig { tls, http2, ..upstream }
}

fn head(version: Version, uri: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method("POST").version(version).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn prepare(
    head: &mut request::Parts,
    has_body: bool,
    config: &UpstreamConfig,
) -> Result<ForwardPlan, ErrorResponse> {
    let options = RequestOptions::read(&head.headers);
    prepare_head(head, options, has_body, config)
}

fn is_rejected(version: Version, uri: &str, lines: &[(&str, &str)]) -> bool {
    let mut head = head(version, uri, lines);
    let plan = prepare(&mut head, false, &config(Http2Mode::Auto, false));
    matches!(plan, Err(ErrorResponse::Rejected(_)))
}

fn lines(head: &request::Parts) -> Vec<String> {
    let line = |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    head.headers.iter().map(line).collect()
}

#[test]
fn http2_request_is_converted_to_http1() {
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
fn http1_request_is_converted_to_http2() {
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
    to_http2_head(&mut head, &config).unwrap();
    assert_eq!(head.uri.to_string(), "https://h:1/v1?q");
    assert_eq!(lines(&head), ["a: 1", "te: trailers"]);
}

#[test]
fn protocol_depends_on_mode_tls_and_grpc() {
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
        let plan = prepare(&mut head, false, &config(http2, tls)).unwrap();
        assert_eq!(plan.protocol, expected, "{http2:?} {tls} {version:?} {kind:?}");
    }
}

#[test]
fn upgrade_uses_http1() {
    let given = [("host", "h"), ("connection", "Upgrade"), ("upgrade", "websocket")];
    for (http2, upgrades) in
        [(Http2Mode::Auto, true), (Http2Mode::Never, true), (Http2Mode::Always, false)]
    {
        let mut head = head(Version::HTTP_11, "/", &given);
        let plan = prepare(&mut head, false, &config(http2, true)).unwrap();
        assert_eq!(plan.upgrade.is_some(), upgrades);
        assert_eq!(plan.protocol == UpstreamProtocol::Http1, upgrades);
        assert_eq!(head.headers.contains_key("upgrade"), upgrades);
    }
}

#[test]
fn ambiguous_framing_and_hosts_are_rejected() {
    let h2 = Version::HTTP_2;
    assert!(!is_rejected(h2, "http://h/", &[]));
    assert!(!is_rejected(h2, "http://h/", &[("host", "H")]));
    assert!(!is_rejected(h2, "/", &[("host", "h")]));
    assert!(is_rejected(h2, "/", &[]));
    assert!(is_rejected(h2, "http://h/", &[("host", "other")]));
    assert!(is_rejected(h2, "http://h/", &[("host", "h"), ("host", "h")]));
    assert!(!is_rejected(h2, "http://h/", &[("content-length", "3")]));
    assert!(is_rejected(h2, "http://h/", &[("content-length", "3"), ("content-length", "3")]));
    assert!(is_rejected(h2, "http://h/", &[("content-length", "3, 3")]));
    assert!(is_rejected(h2, "http://h/", &[("content-length", "+3")]));
    assert!(is_rejected(h2, "ftp://h/", &[]));
    assert!(is_rejected(Version::HTTP_11, "http://h/", &[]));
}
