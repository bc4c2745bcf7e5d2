//! The raw requests and responses of the comparison.

/// Start of a request that is sent after the one of a case.
pub const MARKER: &[u8] = b"GET /marker ";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NEXT: &str = "GET /marker HTTP/1.1\r\nHost: h\r\n\r\n";

/// Rule for a case. A proxy that breaks it is lax.
#[derive(Debug, Clone, Copy)]
pub enum CaseRule {
    /// The request must not reach the server.
    Reject,
    /// This text must not reach the server.
    Hide(&'static str),
    /// A forwarded request must have this text.
    Keep(&'static str),
    /// The first status that the client receives.
    Answer(&'static str),
    /// The client must receive this text.
    Deliver(&'static str),
    /// Shown only.
    Any,
}

impl CaseRule {
    /// Short text for the table.
    pub fn text(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Hide(_) => "hide",
            Self::Keep(_) => "keep",
            Self::Answer(status) => status,
            Self::Deliver(_) => "deliver",
            Self::Any => "",
        }
    }
}

/// One row of the comparison.
#[derive(Debug, Clone)]
pub struct DifferentialCase {
    pub name: &'static str,
    pub rule: CaseRule,
    /// Bytes of the client.
    pub request: Vec<u8>,
    /// Bytes of the server, for each request.
    pub response: Vec<u8>,
}

fn case(name: &'static str, rule: CaseRule, request: impl Into<Vec<u8>>) -> DifferentialCase {
    DifferentialCase { name, rule, request: request.into(), response: OK.into() }
}

/// Returns all rows.
pub fn all() -> Vec<DifferentialCase> {
    [targets_and_hosts(), lines(), lengths(), chunks(), forwarding(), limits(), responses()]
        .concat()
}

/// A GET with this request line and these header lines.
fn get(line: &str, headers: &str) -> String {
    format!("{line}\r\n{headers}\r\n{NEXT}")
}

fn targets_and_hosts() -> Vec<DifferentialCase> {
    use CaseRule::{Any, Hide, Keep, Reject};
    let host = "Host: h\r\n";
    vec![
        case("no Host", Reject, get("GET / HTTP/1.1", "")),
        case("two Hosts", Reject, get("GET / HTTP/1.1", "Host: a\r\nHost: b\r\n")),
        case("Host with a space", Reject, get("GET / HTTP/1.1", "Host: a b\r\n")),
        case(
            "absolute form, other Host",
            Hide("Host: a\r\n"),
            get("GET http://b/ HTTP/1.1", "Host: a\r\n"),
        ),
        case("authority form", Reject, get("GET a:1 HTTP/1.1", host)),
        case("scheme javascript", Reject, get("GET javascript:x HTTP/1.1", host)),
        case("scheme ftp", Reject, get("GET ftp://h/ HTTP/1.1", host)),
        case("fragment", Keep("#b"), get("GET /a#b HTTP/1.1", host)),
        case("asterisk, not OPTIONS", Reject, get("GET * HTTP/1.1", host)),
        case("OPTIONS *", Any, get("OPTIONS * HTTP/1.1", host)),
        case("CONNECT", Reject, get("CONNECT h:1 HTTP/1.1", "Host: h:1\r\n")),
        case("two spaces", Reject, get("GET  / HTTP/1.1", host)),
        case("HTTP/1.2", Any, get("GET / HTTP/1.2", host)),
        case("NUL in the target", Reject, get("GET /\0 HTTP/1.1", host)),
        case("path with dots", Keep(" /a/../b HTTP"), get("GET /a/../b HTTP/1.1", host)),
        case("path with %2f", Keep(" /a%2fb HTTP"), get("GET /a%2fb HTTP/1.1", host)),
    ]
}

fn lines() -> Vec<DifferentialCase> {
    use CaseRule::{Any, Reject};
    let with = |line: &str| get("GET / HTTP/1.1", &format!("Host: h\r\n{line}\r\n"));
    vec![
        case("folded header", Any, with("A: b\r\n c")),
        case("space before colon", Reject, with("A : b")),
        case("no colon", Reject, with("A")),
        case("empty name", Reject, with(": b")),
        case("bare CR in a value", Reject, with("A: b\rc")),
        case("NUL in a value", Reject, with("A: b\0c")),
        case("control character in a value", Reject, with("A: b\x01c")),
        case("control character in a name", Reject, with("A\x01: b")),
        case("bare LF lines", Any, "GET / HTTP/1.1\nHost: h\n\n"),
        case(
            "empty lines before",
            Any,
            format!("\r\n\r\n{}", get("GET / HTTP/1.1", "Host: h\r\n")),
        ),
    ]
}

/// A chunked body of five bytes, and a length that ends after it.
fn post(headers: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{NEXT}")
}

fn lengths() -> Vec<DifferentialCase> {
    use CaseRule::Reject;
    vec![
        case(
            "length, then coding",
            Reject,
            post("Content-Length: 15\r\nTransfer-Encoding: chunked"),
        ),
        case(
            "coding, then length",
            Reject,
            post("Transfer-Encoding: chunked\r\nContent-Length: 15"),
        ),
        case("length twice, equal", Reject, post("Content-Length: 15\r\nContent-Length: 15")),
        case("length twice, different", Reject, post("Content-Length: 15\r\nContent-Length: 5")),
        case("list of lengths", Reject, post("Content-Length: 15, 15")),
        case("length +15", Reject, post("Content-Length: +15")),
        case("length -1", Reject, post("Content-Length: -1")),
        case("length 0xf", Reject, post("Content-Length: 0xf")),
        case("empty length", Reject, post("Content-Length:")),
        case("length 2^63", Reject, post("Content-Length: 9223372036854775808")),
        case("length 2^64 + 15", Reject, post("Content-Length: 18446744073709551631")),
        case("chunked twice in a list", Reject, post("Transfer-Encoding: chunked, chunked")),
        case(
            "chunked twice",
            Reject,
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        case("gzip, chunked", Reject, post("Transfer-Encoding: gzip, chunked")),
        case("xchunked", Reject, post("Transfer-Encoding: xchunked")),
        case("identity", Reject, post("Transfer-Encoding: identity")),
        case("empty coding", Reject, post("Transfer-Encoding:")),
        case("chunked after a vertical tab", Reject, post("Transfer-Encoding: \x0bchunked")),
        case(
            "chunked, HTTP/1.0",
            Reject,
            post("Transfer-Encoding: chunked").replacen("1.1", "1.0", 1),
        ),
    ]
}

fn chunks() -> Vec<DifferentialCase> {
    use CaseRule::{Any, Reject};
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = |body: &str| format!("{head}{body}{NEXT}");
    vec![
        case("chunk size 0x5", Reject, body("0x5\r\nhello\r\n0\r\n\r\n")),
        case("chunk size +5", Reject, body("+5\r\nhello\r\n0\r\n\r\n")),
        case("chunk size 2^63", Reject, body("8000000000000000\r\nhello\r\n0\r\n\r\n")),
        case("chunk size 2^64 + 5", Reject, body("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        case("chunk lines in bare LF", Reject, body("5\nhello\n0\n\n")),
        case("chunk longer than its size", Reject, body("4\r\nhello\r\n0\r\n\r\n")),
        case("last chunk, then bare LF", Reject, body("5\r\nhello\r\n0\r\n\n")),
        case("trailer line in bare LF", Reject, body("5\r\nhello\r\n0\r\nA: b\n\r\n")),
        case("extension with bare LF", Reject, body("5;a\nhello\r\n0\r\n\r\n")),
        case("chunk extension", Any, body("5;a=b\r\nhello\r\n0\r\n\r\n")),
    ]
}

fn forwarding() -> Vec<DifferentialCase> {
    use CaseRule::{Answer, Hide, Keep};
    let with = |lines: &str| get("GET / HTTP/1.1", &format!("Host: h\r\n{lines}\r\n"));
    let rejection = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno";
    vec![
        case("header named by Connection", Hide("X-Foo"), with("Connection: X-Foo\r\nX-Foo: 1")),
        case("Connection: Host", Keep("Host: h"), with("Connection: Host")),
        case(
            "upgrade to h2c",
            Hide("HTTP2-Settings"),
            with(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            ),
        ),
        case("Proxy-Connection", Hide("Proxy-Connection"), with("Proxy-Connection: close")),
        DifferentialCase {
            response: rejection.into(),
            ..case(
                "Expect, and a 413",
                Answer("413"),
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            )
        },
    ]
}

fn limits() -> Vec<DifferentialCase> {
    let with = |lines: &str| get("GET / HTTP/1.1", &format!("Host: h\r\n{lines}\r\n"));
    let many: Vec<String> = (0..150).map(|i| format!("X-{i}: v")).collect();
    vec![
        case("150 header lines", CaseRule::Any, with(&many.join("\r\n"))),
        case("header of 20 KB", CaseRule::Any, with(&format!("Big: {}", "x".repeat(20_000)))),
        case("header of 200 KB", CaseRule::Reject, with(&format!("Big: {}", "x".repeat(200_000)))),
    ]
}

fn responses() -> Vec<DifferentialCase> {
    use CaseRule::{Answer, Any, Deliver};
    let simple = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let with = |name, rule, response: String| DifferentialCase {
        response: response.into(),
        ..case(name, rule, simple)
    };
    vec![
        with(
            "response: 103",
            Deliver("103 Early Hints"),
            format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}"),
        ),
        with(
            "response: length and coding",
            Any,
            format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n{chunked}"),
        ),
        with(
            "response: two lengths",
            Answer("502"),
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nok".into(),
        ),
        with(
            "response: length x",
            Answer("502"),
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok".into(),
        ),
        with(
            "response: folded header",
            Any,
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok".into(),
        ),
        with(
            "response: space before colon",
            Any,
            "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 2\r\n\r\nok".into(),
        ),
        with(
            "response: reason phrase",
            Deliver("200 Fine"),
            "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nok".into(),
        ),
        with(
            "response: 304 with a length",
            Deliver("Content-Length: 9"),
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".into(),
        ),
        with("response: no HTTP", Answer("502"), "SSH-2.0-OpenSSH_9\r\n\r\n".into()),
    ]
}
