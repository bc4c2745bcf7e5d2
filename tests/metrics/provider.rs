//! The label `gen_ai_provider_name` has one value for an upstream, from the first exported series on.

use crate::support::drain::StreamingUpstream;
use crate::support::{
    FaultInjection, RawConnection, ScriptedUpstream, Streamgauge, chat, scrape, wait_for,
};
use std::net::SocketAddr;

const OLLAMA: &str = concat!(
    r#"{"model":"m","message":{"role":"assistant","content":"Hi"},"done":false}"#,
    "\n",
    r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","#,
    r#""total_duration":4000000000,"load_duration":1000000,"prompt_eval_count":18,"#,
    r#""prompt_eval_duration":500000000,"eval_count":7,"eval_duration":2000000000}"#,
    "\n",
);

/// Streamgauge that detects the engine.
fn detecting(upstream: SocketAddr) -> Streamgauge {
    Streamgauge::with(upstream, &[("engine", "auto")], FaultInjection::default())
}

/// The values of the label on the page. `[]` if no series has it.
fn providers(gauge: &Streamgauge) -> Vec<String> {
    let page = scrape::get(gauge.admin, "/metrics");
    let values = page.lines().filter_map(|line| line.split("gen_ai_provider_name=\"").nth(1));
    let mut values: Vec<String> =
        values.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// An upstream that answers by path: Ollama's API, the list of models, an embedding, and a server that loads.
fn upstream() -> ScriptedUpstream {
    ScriptedUpstream::with_script(|_, connection| {
        while let Some(request) = connection.try_read_message() {
            let path = String::from_utf8_lossy(&request.head).into_owned();
            let (status, kind, body) = match path.split(' ').nth(1) {
                Some("/api/chat") => ("200 OK", "application/x-ndjson", OLLAMA),
                Some("/v1/embeddings") => ("200 OK", "application/json", "{\"data\":[]}"),
                Some("/v1/chat/completions") => (
                    "503 Service Unavailable",
                    "application/json",
                    "{\"error\":{\"message\":\"x\"}}",
                ),
                _ => ("200 OK", "application/json", "{\"object\":\"list\",\"data\":[]}"),
            };
            connection.send(chat::response(status, kind, body.as_bytes()));
        }
    })
}

fn send(gauge: &Streamgauge, path: &str) {
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post(path, "Connection: close\r\n", b"{\"model\":\"m\"}"));
    client.read_message();
}

#[test]
fn series_wait_for_the_response_that_shows_the_engine() {
    let upstream = upstream();
    let gauge = detecting(upstream.address);
    // The models are no inference, and a server that loads may not be the engine.
    send(&gauge, "/v1/models");
    send(&gauge, "/v1/chat/completions");
    gauge.requests_when(2);
    assert_eq!(providers(&gauge), [""; 0]);
    let rejected = ["outcome=\"rejected\""];
    assert_eq!(gauge.scrape().sum("streamgauge_upstream_requests_total", &rejected), 1.0);

    send(&gauge, "/api/chat");
    gauge.requests_when(3);
    assert_eq!(providers(&gauge), ["ollama"]);
    // Nothing that was held back is lost.
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum("streamgauge_requests_total", &[]), 3.0);
    assert_eq!(scrape.sum("streamgauge_arrivals_total", &[]), 3.0);

    // A response that does not show its engine changes nothing.
    send(&gauge, "/v1/embeddings");
    gauge.requests_when(4);
    assert_eq!(providers(&gauge), ["ollama"]);
}

#[test]
fn a_label_that_was_exported_without_the_engine_stays() {
    let upstream = upstream();
    let gauge = detecting(upstream.address);
    send(&gauge, "/v1/embeddings");
    gauge.requests_when(1);
    assert_eq!(providers(&gauge), ["unknown"]);
    send(&gauge, "/api/chat");
    let lines = gauge.requests_when(2);
    assert_eq!(providers(&gauge), ["unknown"]);
    // The engine of each response is in the request log, and that of the upstream in its info.
    assert!(lines.iter().any(|line| line["engine"] == "ollama"), "{lines:?}");
    assert_eq!(gauge.scrape().sum("streamgauge_upstream_info", &["engine=\"ollama\""]), 1.0);
}

#[test]
fn a_configured_engine_is_the_label_at_once() {
    let upstream = StreamingUpstream::default();
    for engine in ["vllm", "unknown"] {
        let keys = [("engine", engine)];
        let gauge = Streamgauge::with(upstream.server.address, &keys, FaultInjection::default());
        let stream = StreamingUpstream::open_stream(gauge.proxy);
        wait_for("a series", || (providers(&gauge) == [engine]).then_some(()));
        drop(stream);
    }
}

#[test]
fn a_request_in_flight_is_counted_before_the_engine_is_known() {
    let upstream = StreamingUpstream::default();
    let gauge = detecting(upstream.server.address);
    let stream = StreamingUpstream::open_stream(gauge.proxy);
    wait_for("the stream", || {
        let streaming = ["phase=\"streaming\""];
        (gauge.scrape().sum("streamgauge_upstream_in_flight_requests", &streaming) == 1.0)
            .then_some(())
    });
    assert_eq!(providers(&gauge), [""; 0]);
    upstream.end_streams();
    gauge.requests_when(1);
    assert_eq!(providers(&gauge), ["unknown"]);
    drop(stream);
}
