//! Every expression of the mixin, of the cookbook and of the live page runs in a real Prometheus that scraped a Streamgauge
//! with all features on.

use crate::cookbook;
use crate::mixin::{ALERTS, RULES, expressions, root};
use crate::support::browser::Browser;
use crate::support::cold_start::reserve_address;
use crate::support::prometheus::Prometheus;
use crate::support::promql::selectors;
use crate::support::sim::{send_chat, simulate};
use crate::support::{
    RawConnection, ScriptedUpstream, Streamgauge, chat, connection::chunk, wait_for,
};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};
use streamgauge_sim::model::EngineSpec;

/// Duration of the traffic: enough scrapes for a rate.
const TRAFFIC: Duration = Duration::from_secs(6);
/// Idle time after which the simulated Ollama unloads its model.
const IDLE_UNLOAD: Duration = Duration::from_millis(300);
const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// Parts of expressions that have no data here, with the reason.
const WITHOUT_DATA: [(&str, &str); 6] = [
    ("offset 1d", "nothing is one day old"),
    ("streamgauge_saturation_ratio", "it takes 1,000 requests at one rate"),
    ("streamgauge_sustainable_", "it takes 1,000 requests at one rate"),
    ("streamgauge_throttled_seconds_total", "the kernel reports it only within a CPU limit"),
    ("streamgauge_cpu_pressure_seconds_total", "some kernels do not report it"),
    ("streamgauge_clock_info{source=\"program\"}", "the kernel gives timestamps"),
];

/// A client that does not read, so that the socket's buffers fill and the stream stalls.
fn stall(proxy: SocketAddr) {
    let mut socket = TcpStream::connect(proxy).unwrap();
    let request = chat::post(
        "/v1/chat/completions",
        "Connection: close\r\n",
        br#"{"model":"sim","stream":true}"#,
    );
    socket.write_all(&request).unwrap();
    // Long enough to fill all buffers on a busy machine.
    std::thread::sleep(Duration::from_secs(1));
    std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
}

/// A client that disconnects after the first output.
fn leave(proxy: SocketAddr) {
    let mut socket = TcpStream::connect(proxy).unwrap();
    let sim = json!({"output_tokens": 1000});
    let body = json!({"model": "sim", "stream": true, "messages": [], "sim": sim}).to_string();
    socket.write_all(&chat::post("/v1/chat/completions", "", body.as_bytes())).unwrap();
    let mut got = Vec::new();
    while memchr::memmem::find(&got, b"content\":\"").is_none() {
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "the stream ended before its output");
        got.extend_from_slice(&piece[..count]);
    }
}

/// An upstream whose responses are larger than the buffers of sockets.
fn flood() -> ScriptedUpstream {
    ScriptedUpstream::with_script(|_, connection| {
        if connection.try_read_message().is_none() {
            return;
        }
        connection.try_send(chat::STREAM_HEAD);
        let filler = chunk(format!(": {}\n\n", "x".repeat(1 << 20)));
        let is_open = (0..24).all(|_| connection.try_send(&filler));
        let rest = chat::content_event("x") + &chat::finish_event() + chat::DONE;
        if is_open {
            connection.try_send([chunk(rest), chat::LAST_CHUNK.into()].concat());
        }
    })
}

/// A server that answers a chat, describes its process at `/metrics`, and on other paths streams an unknown API or sends
/// raw audio.
fn serve_late(address: SocketAddr) -> ScriptedUpstream {
    let answer = chat::stream_response(&[
        chat::content_event("Hello"),
        chat::finish_event(),
        chat::DONE.into(),
    ]);
    let started = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    ScriptedUpstream::at(address, move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            let text = request.text();
            let response = if text.starts_with("GET /metrics") {
                let page = format!("process_start_time_seconds {started}\n");
                let date = httpdate::fmt_http_date(SystemTime::now());
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: {date}\r\nContent-Length: {}\r\n\r\n{page}",
                    page.len()
                )
                .into_bytes()
            } else if text.starts_with("POST /words") {
                let words =
                    ["a", "b", "c"].map(|word| format!("data: {{\"word\":\"{word}\"}}\n\n"));
                chat::stream_response(&words)
            } else if text.starts_with("POST /v1/audio/speech") {
                chat::response("200 OK", "audio/pcm", &[1; 4096])
            } else {
                answer.clone()
            };
            if !connection.try_send(response) {
                return;
            }
        }
    })
}

/// Sends a request on a new connection, with these headers.
fn post(proxy: SocketAddr, path: &str, headers: &str, body: &Value) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::post(path, headers, body.to_string().as_bytes()));
    client.read_message();
}

/// A cold request: Ollama loads its model again after an idle time.
fn load_again(gauge: &Streamgauge) {
    std::thread::sleep(2 * IDLE_UNLOAD);
    post(gauge.proxies[3], "/api/chat", "", &json!({"model": "ollama", "messages": []}));
}

/// A request whose response has all that a server can report.
fn reported() -> Value {
    json!({"model": "sim", "stream": true, "messages": [], "stream_options": {"include_usage": true},
        "sim": {"metrics": true, "cached_tokens": 8, "prompt_tokens": 16, "output_tokens": 30}})
}

/// Everything that is not a plain stream, so that each metric has a sample: once before the traffic and once after it,
/// because a rate needs two samples.
fn rare_events(gauge: &Streamgauge) {
    let [sim, late] = [gauge.proxies[0], gauge.proxies[2]];
    stall(gauge.proxies[1]);
    leave(sim);
    let stream = json!({"model": "sim", "stream": true, "messages": []});
    let ago = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - 0.1;
    post(sim, "/v1/chat/completions", &format!("X-Request-Start: t={ago:.3}\r\n"), &stream);
    for _ in 0..2 {
        post(sim, "/v1/chat/completions", TRACE, &stream);
    }
    let broken = json!({"model": "sim", "stream": true, "messages": [], "sim": {"output_tokens": 5, "break_after": 2}});
    let mut client = RawConnection::connect(sim);
    client.send(chat::post("/v1/chat/completions", "", broken.to_string().as_bytes()));
    let _ = client.try_read_message();
    post(sim, "/v1/chat/completions", "", &reported());
    load_again(gauge);
    post(late, "/words", "", &stream);
    post(late, "/v1/audio/speech", "", &json!({"model": "voice", "input": "Hello"}));
    // A second model, which is beyond the limit.
    post(
        late,
        "/v1/chat/completions",
        "",
        &json!({"model": "second", "stream": true, "messages": []}),
    );
    post(
        late,
        "/v1/chat/completions",
        "",
        &json!({"model": "third", "stream": true, "messages": []}),
    );
    // Two lengths break a rule of HTTP.
    let mut client = RawConnection::connect(sim);
    client
        .send(&b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"[..]);
    let _ = client.try_read_message();
}

/// An expression as Grafana sends it: with the variables filled in.
fn filled(expression: &str) -> String {
    // Windows longer than the test, on a busy machine too.
    let mut text = expression.replace("$__rate_interval", "5m").replace("$__range", "5m");
    for variable in ["namespace", "pod", "job", "instance", "upstream", "model"] {
        text = text.replace(&format!("${variable}"), ".*");
    }
    text
}

/// The PromQL that the buttons of the live page copy. Empty without Chromium.
fn page_expressions(admin: SocketAddr) -> Vec<(String, String)> {
    fn collect(place: &str, value: &Value, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(parts) => {
                for (name, part) in parts {
                    collect(&format!("{place} {name}"), part, found);
                }
            }
            value => found.push((place.to_owned(), value.as_str().unwrap().to_owned())),
        }
    }
    let Some(browser) = Browser::start() else { return Vec::new() };
    browser.open(&format!("http://{admin}/"));
    let queries = browser
        .run("return import(location.origin + '/page/promql.js').then(module => module.PROMQL)");
    let mut found = Vec::new();
    collect("live page:", &queries, &mut found);
    assert!(found.len() > 20, "{queries}");
    found
}

#[test]
fn every_expression_has_data() {
    let engine = EngineSpec { slots: 2, ..EngineSpec::new("sim") };
    let (server, _) = simulate(engine);
    let load_time = Duration::from_secs(1);
    let ollama =
        EngineSpec { load_time, idle_unload: Some(IDLE_UNLOAD), ..EngineSpec::new("ollama") };
    let (ollama, _) = simulate(ollama);
    let flood = flood();
    let late = reserve_address();
    let proxy = |name: &str, upstream: SocketAddr, more: &str| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'http://{upstream}'\n{more}\n"
        )
    };
    let configuration = "ttft_by_input_size = true\nmax_models = 4\n".to_owned()
        + &proxy("sim", server, "trust_request_start = true")
        + &proxy("flood", flood.address, "")
        + &proxy("late", late, "server_metrics_path = '/metrics'\ncold_idle_seconds = 1.0")
        + &proxy("ollama", ollama, "");
    let gauge = Streamgauge::with_file(&configuration);
    let [rules, alerts] = [RULES, ALERTS].map(|path| root().join(path));
    let Some(prometheus) = Prometheus::with_rules(gauge.admin, &[&rules, &alerts]) else { return };
    wait_for("the first scrape", || prometheus.query("up == 1").filter(|up| up.len() == 1));

    // A cold start: the server does not listen yet.
    let request = json!({"model": "late", "stream": true, "messages": []});
    assert!(send_chat(gauge.proxies[2], &request).starts_with("HTTP/1.1 503"));
    let waits = std::thread::spawn({
        let proxy = gauge.proxies[2];
        move || {
            wait_for("the late server", || {
                send_chat(proxy, &request).contains("Hello").then_some(())
            })
        }
    });
    let _late = serve_late(late);
    waits.join().unwrap();
    // The engines are detected first, so that each series has one name.
    load_again(&gauge);
    post(gauge.proxy, "/v1/chat/completions", "", &reported());
    // A baseline of the queue: requests that do not wait.
    let chat = |i: usize| {
        json!({
            "model": "sim", "stream": !i.is_multiple_of(5), "messages": [], "stream_options": {"include_usage": true},
            "sim": {"prompt_tokens": 100 * (i % 20), "output_tokens": 6, "reasoning_tokens": 2},
        })
    };
    (1..20).for_each(|_| drop(send_chat(gauge.proxy, &chat(1))));
    rare_events(&gauge);
    let start = Instant::now();
    let mut i = 0;
    while start.elapsed() < TRAFFIC {
        let send = |i| {
            let (proxy, request) = (gauge.proxy, chat(i));
            std::thread::spawn(move || send_chat(proxy, &request))
        };
        let clients: Vec<_> = (i..i + 8).map(send).collect();
        clients.into_iter().for_each(|client| drop(client.join().unwrap()));
        i += 8;
    }
    rare_events(&gauge);

    let has_reason =
        |expression: &str| WITHOUT_DATA.iter().any(|(part, _)| expression.contains(part));
    // An annotation or alert has no data if its event does not last now: then each series that it reads has data.
    let is_event = |place: &str| place.starts_with("alert ") || place.contains(": annotation ");
    let has_data = |expression: &str| {
        prometheus.query(expression).unwrap().iter().any(|value| !value.is_nan())
    };
    // Rates need two more scrapes. A busy machine misses some, and then no gauge has data for a moment.
    let mut empty = expressions();
    empty.extend(cookbook::expressions());
    empty.extend(page_expressions(gauge.admin));
    empty.retain(|(_, expression)| !has_reason(expression));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        empty.retain(|(place, expression)| {
            let expression = filled(expression);
            let may_be_empty =
                || is_event(place) && selectors(&expression).iter().all(|one| has_data(one));
            !has_data(&expression) && !may_be_empty()
        });
        if empty.is_empty() || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    let empty: Vec<String> =
        empty.iter().map(|(place, expression)| format!("{place}: {expression}")).collect();
    assert!(empty.is_empty(), "expressions without data:\n{}", empty.join("\n"));
    assert!(expressions().len() > 150);
}
