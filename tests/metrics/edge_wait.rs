//! Edge wait: the time before a request reached the proxy, from the headers of earlier hops.

use crate::support::{Disturbance, RawConnection, ScriptedUpstream, Streamgauge, chat};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use streamgauge::testing::FaultInjection;

const WAIT: &str = "streamgauge_edge_wait_seconds";

fn answering() -> ScriptedUpstream {
    ScriptedUpstream::responding_with(chat::stream_response(&[
        chat::content_event("Hi"),
        chat::finish_event(),
        chat::DONE.into(),
    ]))
}

/// The time this many seconds ago, in seconds since 1970.
fn ago(seconds: f64) -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - seconds
}

/// Sends a chat request with additional header lines.
fn send_request(gauge: &Streamgauge, path: &str, headers: &str) {
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, headers, br#"{"model":"m","stream":true}"#));
    assert_eq!(client.read_message().status(), 200);
}

fn trusting(upstream: &ScriptedUpstream) -> Streamgauge {
    Streamgauge::with(
        upstream.address,
        &[("trust_request_start", "true")],
        FaultInjection::default(),
    )
}

#[test]
fn every_form_of_the_header_is_read() {
    let disturbance = Disturbance::watch();
    let upstream = answering();
    let gauge = trusting(&upstream);
    let forms: [fn(f64) -> String; 6] = [
        |at| format!("X-Request-Start: t={at:.3}\r\n"),
        |at| format!("X-Request-Start: {:.0}\r\n", at * 1e3),
        |at| format!("x-request-start: D=42 t={:.0}\r\n", at * 1e6),
        |at| format!("X-Queue-Start: t={:.0}\r\n", at * 1e9),
        // The earliest hop counts: the router sets the first header, the gateway the second.
        |at| format!("X-Request-Start: t={:.3}\r\nX-Queue-Start: t={at:.3}\r\n", at + 1.0),
        |at| format!("X-Request-Start: {at:.3}\r\nX-Request-Start: {:.3}\r\n", at + 1.0),
    ];
    let mut sum = 0.0;
    for (number, form) in forms.iter().enumerate() {
        send_request(&gauge, "/v1/chat/completions", &form(ago(2.0)));
        let line = gauge.requests_when(number + 1).remove(number);
        let wait = line["edge_wait_s"].as_f64().unwrap_or_else(|| panic!("form {number}: {line}"));
        // The request arrives after the test has read the clock, never before.
        assert!(wait >= 1.998 && wait < disturbance.allow(2.5), "form {number}: {line}");
        sum += wait;
    }
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(&format!("{WAIT}_count"), &["model=\"m\""]), forms.len() as f64);
    assert!((scrape.sum(&format!("{WAIT}_sum"), &[]) - sum).abs() < 1e-6);
    assert_eq!(scrape.sum("streamgauge_clamped_total", &[]), 0.0);
}

#[test]
fn skewed_and_absurd_times_are_counted() {
    let upstream = answering();
    let gauge = trusting(&upstream);
    let chat = "/v1/chat/completions";
    let cases: [(&str, String, Value); 5] = [
        (chat, format!("X-Request-Start: t={:.3}\r\n", ago(-30.0)), json!(0.0)),
        (chat, format!("X-Request-Start: t={:.3}\r\n", ago(7200.0)), Value::Null),
        (chat, "X-Request-Start: yesterday\r\n".into(), Value::Null),
        (chat, String::new(), Value::Null),
        // The header of a request that is not inference is ignored.
        ("/health", format!("X-Request-Start: t={:.3}\r\n", ago(1.0)), Value::Null),
    ];
    for (number, (path, headers, expected)) in cases.iter().enumerate() {
        send_request(&gauge, path, headers);
        let line = gauge.requests_when(number + 1).remove(number);
        assert_eq!(line["edge_wait_s"], *expected, "{headers}");
        assert_eq!(
            line["unparsed"], 0,
            "an unreadable header is not an unparsed response: {headers}"
        );
    }
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(&format!("{WAIT}_count"), &[]), 1.0);
    assert_eq!(scrape.sum("streamgauge_clamped_total", &["interval=\"edge_wait\""]), 1.0);
    assert_eq!(scrape.sum("streamgauge_unparsed_total", &["reason=\"request_start\""]), 2.0);
}

#[test]
fn an_untrusted_header_is_only_forwarded() {
    let upstream = answering();
    let header = format!("X-Request-Start: t={:.3}", ago(2.0));
    {
        let gauge = Streamgauge::new(upstream.address);
        send_request(&gauge, "/v1/chat/completions", &format!("{header}\r\n"));
        assert_eq!(gauge.requests_when(1)[0]["edge_wait_s"], Value::Null);
        assert!(!gauge.scrape().has(&format!("{WAIT}_count")));
    }
    let trusting = trusting(&upstream);
    send_request(&trusting, "/v1/chat/completions", &format!("{header}\r\n"));
    trusting.requests_when(1);
    drop(trusting);
    let received = crate::support::wait_for("both requests", || {
        let received = upstream.received();
        (received.len() >= 2).then_some(received)
    });
    for request in received.iter().take(2) {
        let request = String::from_utf8_lossy(request);
        assert!(request.lines().any(|line| line == header), "{request}");
    }
}

/// The wait is measured even if no response follows.
#[test]
fn edge_wait_is_measured_for_every_outcome() {
    let nobody = crate::support::upstream::unused_address();
    let gauge =
        Streamgauge::with(nobody, &[("trust_request_start", "true")], FaultInjection::default());
    let mut client = RawConnection::connect(gauge.proxy);
    let header = format!("X-Request-Start: t={:.3}\r\n", ago(2.0));
    client.send(chat::post("/v1/chat/completions", &header, b"{}"));
    client.read_message();
    let line = gauge.requests_when(1).remove(0);
    assert_eq!(line["outcome"], "upstream_unreachable");
    let wait = Duration::from_secs_f64(line["edge_wait_s"].as_f64().unwrap());
    assert!(wait >= Duration::from_millis(1998), "{line}");
    assert_eq!(gauge.scrape().sum(&format!("{WAIT}_count"), &[]), 1.0);
}
