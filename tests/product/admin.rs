//! The admin port: its pages, who may read them, and that no secret appears.

use crate::support::process::StreamgaugeProcess;
use crate::support::{
    RawConnection, RawMessage, ScriptedUpstream, Streamgauge, TemporaryLog, chat, wait_for,
};
use flate2::read::GzDecoder;
use std::io::Read;
use std::net::SocketAddr;
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Requests a page with additional header lines.
fn get_page(admin: SocketAddr, path: &str, headers: &str) -> RawMessage {
    let mut client = RawConnection::connect(admin);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    client.read_message()
}

#[test]
fn metrics_are_compressed_on_request() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    let plain = get_page(gauge.admin, "/metrics", "");
    assert!(plain.header("content-encoding").is_empty());
    assert_eq!(plain.header("content-type"), ["text/plain; version=0.0.4"]);
    let answer = get_page(gauge.admin, "/metrics", "Accept-Encoding: gzip\r\n");
    assert_eq!(answer.header("content-encoding"), ["gzip"]);
    let (packed, mut text) = (answer.data(), String::new());
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    crate::support::text_format::parse(&text);
    assert!(text.contains("streamgauge_build_info") && packed.len() < text.len() / 2);
}

#[test]
fn unknown_pages_and_methods_are_refused() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    assert_eq!(get_page(gauge.admin, "/nothing", "").status(), 404);
    assert_eq!(get_page(gauge.admin, "/requests?last=many", "").status(), 400);
    for path in ["/", "/healthz", "/readyz", "/readyz?upstream=1", "/config", "/requests"] {
        assert_eq!(get_page(gauge.admin, path, "").status(), 200, "{path}");
    }
    let mut client = RawConnection::connect(gauge.admin);
    client.send("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let answer = client.read_message();
    assert_eq!((answer.status(), answer.header("allow")), (405, vec!["GET, HEAD".to_owned()]));
}

#[test]
fn readiness_can_include_the_upstream() {
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    assert_eq!(get_page(gauge.admin, "/readyz", "").status(), 200);
    assert_eq!(get_page(gauge.admin, "/readyz?upstream=1", "").status(), 503);
    assert_eq!(get_page(gauge.admin, "/healthz", "").status(), 200);
}

#[test]
fn off_loopback_only_metrics_and_health_are_open() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let open = ["/metrics", "/healthz", "/readyz"];
    let closed = ["/", "/config", "/requests", "/requests?last=5"];
    let loopback = |gauge: &Streamgauge| SocketAddr::from(([127, 0, 0, 1], gauge.admin.port()));
    let gauge =
        Streamgauge::with(upstream.address, &[("admin", "0.0.0.0:0")], FaultInjection::default());
    let admin = loopback(&gauge);
    for path in open {
        assert_eq!(get_page(admin, path, "").status(), 200, "{path}");
    }
    for path in closed {
        // Without a configured token no header opens them, not even an empty token.
        for headers in ["", "Authorization: Bearer \r\n", "Authorization: Bearer x\r\n"] {
            assert_eq!(get_page(admin, path, headers).status(), 403, "{path}");
        }
    }
    let keys = [("admin", "0.0.0.0:0"), ("admin_token", "open sesame")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let admin = loopback(&gauge);
    for path in open {
        assert_eq!(get_page(admin, path, "").status(), 200, "{path}");
    }
    for path in closed {
        for wrong in [
            "",
            "Bearer ",
            "Bearer open",
            "Bearer open sesame!",
            "Basic open sesame",
            "open sesame",
        ] {
            let answer = get_page(admin, path, &format!("Authorization: {wrong}\r\n"));
            assert_eq!(
                (answer.status(), answer.header("www-authenticate")),
                (401, vec!["Bearer".to_owned()]),
                "{wrong}"
            );
        }
        assert_eq!(
            get_page(admin, path, "Authorization: Bearer open sesame\r\n").status(),
            200,
            "{path}"
        );
    }
    let config = get_page(admin, "/config", "Authorization: Bearer open sesame\r\n").text();
    assert!(config.contains("(masked)") && !config.contains("sesame"), "{config}");
}

#[test]
fn no_secret_appears_in_pages_or_logs() {
    let stream =
        [chat::content_event("COMPLETION-SECRET"), chat::finish_event(), chat::DONE.into()];
    let answer = String::from_utf8(chat::stream_response(&stream)).unwrap();
    let answer = answer.replace("\r\nTransfer", "\r\nSet-Cookie: COOKIE-SECRET\r\nTransfer");
    let answers = [answer.clone(), "SSH-2.0-SERVER-SECRET\r\n\r\n".into(), answer];
    let upstream = ScriptedUpstream::with_script(move |number, connection| {
        while connection.try_read_message().is_some() {
            connection.try_send(&answers[number.min(2)]);
        }
    });
    let log = TemporaryLog::default();
    let arguments = ["--log-level", "trace", "--request-log", log.path(), "--workers", "1"];
    let process = StreamgaugeProcess::start(upstream.address, &arguments);
    for _ in 0..4 {
        let body = br#"{"model":"m","stream":true,"user":"USER-SECRET","messages":[{"role":"user","content":"PROMPT-SECRET"}]}"#;
        let headers = "Authorization: Bearer KEY-SECRET\r\nCookie: a=COOKIE-SECRET\r\nApi-Key: KEY-SECRET\r\n";
        let mut client = RawConnection::connect(process.proxy);
        client.send(chat::post("/v1/chat/completions?key=QUERY-SECRET", headers, body));
        client.read_message();
        // A broken request with an unknown path.
        let mut client = RawConnection::connect(process.proxy);
        client.send(format!("POST /PATH-SECRET HTTP/1.1\r\nHost: HOST-SECRET\r\n{headers}Transfer-Encoding: chunked\r\n\r\nzz\r\n"));
        client.read_message();
    }
    let lines =
        wait_for("the request log", || Some(log.records()).filter(|lines| lines.len() == 8));
    assert!(lines.iter().any(|line| line["outcome"] == "ok"));
    let shown = ["/metrics", "/requests", "/config", "/"]
        .map(|path| get_page(process.admin, path, "").text());
    let file = std::fs::read_to_string(log.path()).unwrap();
    for text in shown.iter().chain([&file, &process.log()]) {
        let found = text.lines().find(|line| line.contains("SECRET"));
        assert_eq!(found, None);
    }
}

/// Clients that do not read their responses, or that send nothing.
#[test]
fn slow_clients_of_the_admin_port_are_closed() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let keys = [("admin_max_connections", "4"), ("admin_timeout_seconds", "0.5")];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    let limits = |limit: &str| {
        let label = format!("limit=\"{limit}\"");
        gauge.scrape().sum("streamgauge_admin_limit_exceeded_total", &[&label])
    };
    let mut slow = RawConnection::connect(gauge.admin);
    let requests = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(5000);
    slow.try_send(requests);
    wait_for("the end of the slow client", || (limits("time") >= 1.0).then_some(()));
    let mut silent: Vec<_> = (0..20).map(|_| RawConnection::connect(gauge.admin)).collect();
    for client in &mut silent {
        client.read_to_end();
    }
    wait_for("the counter", || (limits("connections") >= 16.0).then_some(()));
}
