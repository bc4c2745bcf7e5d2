//! Prometheus scrapes Streamgauge: its quantiles match the request log, and every dashboard expression has
//! data.

use crate::support::prometheus::Prometheus;
use crate::support::sim::{send_chat, simulate};
use crate::support::{ScriptedUpstream, Streamgauge, chat, wait_for};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use streamgauge::testing::metrics::table::{MetricKind, TTFT};
use streamgauge_sim::model::EngineSpec;

/// Duration of the traffic: enough scrapes for a rate.
const TRAFFIC: Duration = Duration::from_secs(4);

/// A client that does not read, so that the socket's buffers fill and the stream stalls.
fn stall(gauge: SocketAddr) {
    let mut socket = TcpStream::connect(gauge).unwrap();
    let body = json!({"model": "sim", "stream": true}).to_string();
    write!(socket, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    // Long enough to fill all buffers on a busy machine.
    std::thread::sleep(Duration::from_secs(1));
    std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
}

/// A client that disconnects after the first output.
fn leave(gauge: SocketAddr) {
    let mut socket = TcpStream::connect(gauge).unwrap();
    let sim = json!({"output_tokens": 1000});
    let body = json!({"model": "sim", "stream": true, "messages": [], "sim": sim}).to_string();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut got = Vec::new();
    while memchr::memmem::find(&got, b"content\":\"").is_none() {
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "the stream ended before its output");
        got.extend_from_slice(&piece[..count]);
    }
}

/// An upstream whose responses are larger than the buffers of sockets.
fn flood() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            // All of the request: a socket that is closed with unread bytes resets its connection.
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}") {
                match socket.read(&mut piece).unwrap() {
                    0 => break,
                    count => request.extend_from_slice(&piece[..count]),
                }
            }
            if request.is_empty() {
                // A probe.
                continue;
            }
            let _ = socket.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
            );
            let filler = format!(": {}\n\n", "x".repeat(1 << 20));
            (0..24).for_each(|_| drop(socket.write_all(filler.as_bytes())));
            let _ = socket.write_all(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
        }
    });
    address
}

/// A request to a server that does not listen yet, and one when it does: a cold start. The server stops when
/// the result is dropped.
fn start_cold(proxy: SocketAddr, address: SocketAddr) -> ScriptedUpstream {
    let request = json!({"model": "late", "stream": true, "messages": []});
    assert!(send_chat(proxy, &request).starts_with("HTTP/1.1 503"));
    let answer = chat::stream_response(&[
        chat::content_event("Hello"),
        chat::finish_event(),
        chat::DONE.into(),
    ]);
    let server = ScriptedUpstream::at(address, move |_, connection| {
        while connection.try_read_message().is_some() && connection.try_send(&answer) {}
    });
    assert!(send_chat(proxy, &request).contains("Hello"));
    server
}

/// Every expression of the dashboard, with its variables filled in.
fn expressions() -> Vec<String> {
    fn collect(panels: &Value, found: &mut Vec<String>) {
        for panel in panels.as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                found.push(target["expr"].as_str().unwrap().to_owned());
            }
            collect(&panel["panels"], found);
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/streamgauge.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut found = Vec::new();
    collect(&dashboard["panels"], &mut found);
    let fill = |expression: &String| {
        expression
            // Longer than the test, on a busy machine too.
            .replace("$__rate_interval", "2m")
            .replace("$instance", ".*")
            .replace("$upstream", ".*")
            .replace("$model", ".*")
    };
    found.iter().map(fill).collect()
}

/// The edges of the bucket that contains `value`.
fn bucket(value: f64) -> (f64, f64) {
    let MetricKind::Histogram(set) = TTFT.kind else { panic!("TTFT is a histogram") };
    let at = set.edges.partition_point(|edge| *edge < value);
    (at.checked_sub(1).map_or(0.0, |below| set.edges[below]), set.edges[at])
}

#[test]
fn quantiles_match_the_log_and_every_panel_has_data() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let proxy = |name: &str, upstream: SocketAddr| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'http://{upstream}'\n"
        )
    };
    // A separate IP address: no other test binds its port meanwhile.
    let late = TcpListener::bind("127.0.0.77:0").unwrap().local_addr().unwrap();
    let proxies = proxy("sim", server) + &proxy("flood", flood()) + &proxy("late", late);
    let gauge = Streamgauge::with_file(&proxies);
    let Some(prometheus) = Prometheus::start(gauge.admin) else { return };
    wait_for("the first scrape", || prometheus.query("up == 1").filter(|up| up.len() == 1));

    // A histogram that starts within the range has no rate before its second scrape.
    let request = |i: usize| {
        json!({
            "model": "sim", "stream": !i.is_multiple_of(5), "messages": [], "stream_options": {"include_usage": true},
            "sim": {"prompt_tokens": 100 * (i % 20), "output_tokens": 6, "reasoning_tokens": 2},
        })
    };
    stall(gauge.proxies[1]);
    leave(gauge.proxies[0]);
    let _late = start_cold(gauge.proxies[2], late);
    let start = Instant::now();
    let mut i = 0;
    while start.elapsed() < TRAFFIC {
        let clients: Vec<_> = (i..i + 4)
            .map(|i| {
                let (proxy, request) = (gauge.proxies[0], request(i));
                std::thread::spawn(move || send_chat(proxy, &request))
            })
            .collect();
        clients.into_iter().for_each(|client| drop(client.join().unwrap()));
        i += 4;
    }
    stall(gauge.proxies[1]);
    leave(gauge.proxies[0]);
    let lines = gauge.requests_when(i + 6);
    let mut ttft: Vec<f64> = lines
        .iter()
        .filter(|line| line["upstream"] == "sim")
        .filter_map(|line| line["ttft_s"].as_f64())
        .collect();
    ttft.sort_by(f64::total_cmp);
    let scraped = format!(
        "sum(gen_ai_server_time_to_first_token_seconds_count{{upstream='sim'}}) == {}",
        ttft.len()
    );
    wait_for("the last scrape", || prometheus.query(&scraped).filter(|found| !found.is_empty()));

    for quantile in [0.5, 0.9, 0.99] {
        let expression = format!(
            "histogram_quantile({quantile}, sum by (le) (gen_ai_server_time_to_first_token_seconds_bucket{{upstream='sim'}}))"
        );
        let found = prometheus.query(&expression).unwrap()[0];
        let rank = (quantile * ttft.len() as f64).ceil() as usize - 1;
        let (low, high) = bucket(ttft[rank]);
        println!(
            "TTFT p{}: Prometheus {found:.4}, request log {:.4}",
            quantile * 100.0,
            ttft[rank]
        );
        assert!(
            (low..=high).contains(&found),
            "p{quantile}: {found} is not within {low} to {high}"
        );
    }
    // Rates need two more scrapes, and a busy machine misses some.
    let empty = || -> Vec<String> {
        let is_empty = |expression: &String| {
            prometheus.query(expression).unwrap().iter().all(|value| value.is_nan())
        };
        expressions().into_iter().filter(is_empty).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !empty().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(empty(), Vec::<String>::new(), "expressions without data");
    assert!(expressions().len() > 70);
}
