//! Headers and framing pass unchanged in both directions.

use crate::support::exchange::{ProxiedExchange, exchange, exchange_with};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

/// Fails unless both sides receive exactly the bytes that the other sent.
fn unchanged(request: &str, answer: &str) {
    let expected = ProxiedExchange { request: request.into(), answer: answer.into() };
    assert_eq!(exchange(request, answer), expected);
}

/// Fails unless the upstream receives `expected` instead of `request`.
fn request_becomes(request: &str, expected: &str) {
    assert_eq!(exchange(request, OK).request, expected);
}

/// Fails unless the client receives `expected` instead of `answer`.
fn answer_becomes(answer: &str, expected: &str) {
    assert_eq!(exchange(GET, answer).answer, expected);
}

#[test]
fn header_lines_keep_order_case_and_value() {
    unchanged(
        "GET /v1/models?b=%20&a=1&a=;/../x HTTP/1.1\r\nzeta: 1\r\nhOsT: Some.Host:81\r\nX-UPPER: A, b ,C\r\n\
         x-lower: \"q\\\"\"\r\nAccept: */*\r\nuser-agent: curl/8\r\nCookie: a=1; b=2\r\nalpha: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nzeta: 1\r\nServer: uvicorn\r\nX-UPPER: a\r\nx-lower: b\r\n\
         content-LENGTH: 2\r\nSet-Cookie: a=1; Path=/\r\nX-Empty: \r\nalpha: t\t.\r\n\r\nok",
    );
}

#[test]
fn no_header_is_added() {
    // That includes Date, Via, X-Forwarded-For, Accept-Encoding, User-Agent and Connection.
    unchanged(GET, OK);
    unchanged(
        "DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    unchanged("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", OK);
    unchanged("POST /x HTTP/1.1\r\nHost: h\r\n\r\n", OK);
    unchanged("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n", OK);
}

#[test]
fn repeated_headers_keep_their_order_and_case() {
    unchanged(
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nX-a: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: b\r\nset-cookie: a\r\nSET-COOKIE: c\r\nContent-Length: 2\r\n\r\nok",
    );
    // hyper groups the values of one name, so no other line stays between them.
    request_becomes(
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 3\r\nX-B: 2\r\n\r\n",
    );
}

#[test]
fn header_values_that_are_not_ascii_pass() {
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nX-Latin: caf\xe9\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nX-Latin: caf\xe9\r\nContent-Length: 2\r\n\r\nok";
    let found = exchange_with(&[], request, answer);
    assert_eq!(found.request, String::from_utf8_lossy(request));
    assert_eq!(found.answer, String::from_utf8_lossy(answer));
}

#[test]
fn status_lines_pass_unchanged() {
    for line in
        ["200 Fine by me", "299 Odd", "200 ok", "418 I'm a teapot", "599 Whatever", "404 Not Found"]
    {
        unchanged(GET, &format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nok"));
    }
    unchanged(GET, "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok");
}

#[test]
fn hop_by_hop_headers_end_at_the_proxy() {
    request_becomes(
        "GET / HTTP/1.1\r\nA: 1\r\nConnection: keep-alive, X-Foo ,upgrade, Host\r\nHost: h\r\nX-Foo: secret\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nB: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nA: 1\r\nHost: h\r\nB: 2\r\n\r\n",
    );
    answer_becomes(
        "HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close, x-foo\r\nX-Foo: secret\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nContent-Length: 2\r\nB: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\nB: 2\r\n\r\nok",
    );
    // A Connection header does not remove headers that frame the message.
    let request =
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nhi";
    request_becomes(request, &request.replace("Connection: Content-Length\r\n", ""));
}

#[test]
fn framing_is_kept() {
    unchanged("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", OK);
    unchanged(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
    );
    unchanged(GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    // Also unusual framing: a GET with chunks, and a coding inside the chunks.
    unchanged(
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nA: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK,
    );
    unchanged("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", OK);
    unchanged(
        GET,
        "HTTP/1.1 200 OK\r\ntransfer-Encoding: gzip, chunked\r\nA: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    // A body that ends with its connection gets chunked coding on a connection that stays open.
    answer_becomes(
        "HTTP/1.1 200 OK\r\nA: 1\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nA: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
}

#[test]
fn responses_without_a_body_keep_their_declared_length() {
    let head = GET.replace("GET", "HEAD");
    for line in ["Content-Length: 1234", "Content-Length: 0", "X-A: 1"] {
        unchanged(&head, &format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
    }
    // hyper does not announce chunks that never follow; RFC 9112, 6.1, allows both.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(exchange(&head, chunked).answer, "HTTP/1.1 200 OK\r\n\r\n");
    unchanged(GET, "HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n");
    unchanged(GET, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1234\r\n\r\n");
    unchanged(GET, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n");
}

#[test]
fn trailers_are_forwarded() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\
                   TE: trailers\r\nConnection: te\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                  2\r\nhi\r\n0\r\nx-sum: 2\r\n\r\n";
    let found = exchange(request, answer);
    assert_eq!(found, ProxiedExchange { request: request.into(), answer: answer.into() });
    // Trailers are dropped for a client that does not accept them (RFC 9110, 6.5.1).
    let found = exchange(GET, answer);
    assert_eq!(found.answer, answer.replace("x-sum: 2\r\n", ""));
}

#[test]
fn the_host_of_an_absolute_target_is_used() {
    request_becomes(
        "GET http://b.example:81/x?y HTTP/1.1\r\nHost: a.example\r\nA: 1\r\n\r\n",
        "GET /x?y HTTP/1.1\r\nHost: b.example:81\r\nA: 1\r\n\r\n",
    );
    request_becomes(
        "GET http://b.example HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n",
    );
    unchanged("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", OK);
}

#[test]
fn the_host_is_rewritten_if_configured() {
    let request = "GET / HTTP/1.1\r\nA: 1\r\nHost: client.example\r\nB: 1\r\n\r\n";
    let found = exchange_with(&[("host", "upstream")], request.as_bytes(), OK.as_bytes());
    let host = found.request.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
    assert!(host.starts_with("127.0.0.1:"), "{host}");
    assert_eq!(found.request.replace(host, "client.example"), request);
}

#[test]
fn http_1_0_clients_are_served() {
    // HTTP/1.0 allows a request without Host; the upstream then receives its own name.
    let found = exchange("GET / HTTP/1.0\r\nA: 1\r\n\r\n", OK);
    assert!(
        found.request.starts_with("GET / HTTP/1.1\r\nA: 1\r\nhost: 127.0.0.1:"),
        "{}",
        found.request
    );
    assert_eq!(found.answer, OK.replace("HTTP/1.1", "HTTP/1.0"));
    // HTTP/1.0 has no chunks, so the connection's end is the end of the body.
    let found = exchange(
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n",
    );
    assert_eq!(found.answer, "HTTP/1.0 200 OK\r\n\r\nhi!");
    let found = exchange("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhi");
    assert_eq!(found.answer, "HTTP/1.0 200 OK\r\n\r\nhi");
}

#[test]
fn an_http_1_0_upstream_is_supported() {
    let answer = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    answer_becomes(answer, OK);
}
