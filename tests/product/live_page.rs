//! The live page, its data, and who may open it.

use crate::support::browser::Browser;
use crate::support::process::StreamgaugeProcess;
use crate::support::sim::{send_chat, simulate};
use crate::support::{
    RawConnection, RawMessage, ScriptedUpstream, Streamgauge, TemporaryFile, chat, scrape, wait_for,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use streamgauge_sim::EngineSpec;

const MODEL: &str = "m";

fn get(admin: SocketAddr, path: &str, headers: &str) -> RawMessage {
    let mut client = RawConnection::connect(admin);
    client.send(format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
    client.read_message()
}

fn json_at(admin: SocketAddr, path: &str) -> Value {
    serde_json::from_str(&scrape::get(admin, path)).unwrap()
}

/// The snapshot, once this many requests are in it.
fn live_with(admin: SocketAddr, requests: u64) -> Value {
    wait_for("requests on the page", || {
        let live = json_at(admin, "/live");
        (live["total"]["requests"].as_u64().unwrap() >= requests).then_some(live)
    })
}

/// A server with one slot: 20 ms of prefill, and a token every 5 ms.
fn engine() -> EngineSpec {
    EngineSpec {
        slots: 1,
        prefill_base: Duration::from_millis(20),
        prefill_per_token: Duration::from_micros(50),
        decode_base: Duration::from_millis(5),
        ..EngineSpec::new(MODEL)
    }
}

fn request(prompt: u32, output: u32) -> Value {
    json!({
        "model": MODEL, "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Hi"}],
        // As vLLM with --enable-per-request-metrics: the queue wait is reported.
        "sim": {"prompt_tokens": prompt, "output_tokens": output, "metrics": true},
    })
}

#[test]
fn the_snapshot_has_the_requests_of_the_server() {
    let (upstream, truth) = simulate(engine());
    let config = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"http://{upstream}\"\n[[slo]]\nname = \"fast\"\nttft_seconds = 5\n"
    );
    let gauge = Streamgauge::with_file(&config);
    for _ in 0..6 {
        send_chat(gauge.proxy, &request(100, 20));
    }
    let live = live_with(gauge.admin, 6);
    let records = truth.take();
    let [row] = &live["models"].as_array().unwrap()[..] else { panic!("{}", live["models"]) };
    assert_eq!(
        (&row["model"], &row["requests"], &row["errors"]),
        (&json!(MODEL), &json!(6), &json!(0))
    );
    let mut ttft: Vec<f64> = records.iter().filter_map(|record| record.ttft_s).collect();
    ttft.sort_by(f64::total_cmp);
    let p95 = row["now"]["ttft_p95_s"].as_f64().unwrap();
    // A bucket is 9 % wide, and this machine may be busy.
    assert!((0.9 * ttft[0]..ttft[5] * 1.1 + 0.5).contains(&p95), "{p95} {ttft:?}");
    let slo = &row["slo"][0];
    assert_eq!(
        (&slo["met"], &slo["goodput"], &slo["budget_left"]),
        (&json!(6), &json!(1.0), &json!(1.0))
    );
    // The tokens of the first second are in the counters before the records are read.
    let tokens: f64 = row["series"]["output_tokens_per_s"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .sum();
    assert!(tokens > 0.0);
    assert_eq!(live["newest"].as_array().unwrap().len(), 6);
    assert_eq!(live["newest"][0]["output_tokens"], 20);
    assert_eq!(live["running"]["total"], 0);
    let counted: u64 = live["ttft_heatmap"]["columns"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|column| column.as_array().unwrap())
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(counted, 6, "{}", live["ttft_heatmap"]);
}

#[test]
fn a_request_that_still_waits_is_listed() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        let _ = connection.try_read_message();
        std::thread::sleep(Duration::from_secs(30));
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request_for("waiting-model"));
    let running = wait_for("the running request", || {
        let live = json_at(gauge.admin, "/live");
        let running = live["running"]["oldest"][0].clone();
        (running["phase"] == "waiting").then_some((live, running))
    });
    let (live, running) = running;
    assert_eq!(
        (&running["model"], &running["output_events"]),
        (&json!("waiting-model"), &Value::Null)
    );
    assert_eq!(
        (&live["running"]["total"], &live["upstreams"][0]["in_flight"]["waiting"]),
        (&json!(1), &json!(1))
    );
    let slow = wait_for("an explanation", || {
        let slow = json_at(gauge.admin, "/requests/slow");
        slow["requests"].as_array().unwrap().first().cloned()
    });
    assert_eq!(slow["is_running"], true);
    let sentence = slow["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Still running: has waited 2."), "{sentence}");
    drop(client);
    wait_for("the end", || (json_at(gauge.admin, "/live")["running"]["total"] == 0).then_some(()));
}

/// The entry of a request with this number of output tokens in the list of slow requests.
fn explained(admin: SocketAddr, output: u64) -> Value {
    wait_for("the slow request", || {
        let slow = json_at(admin, "/requests/slow");
        let requests = slow["requests"].as_array().unwrap().clone();
        requests
            .into_iter()
            .find(|one| one["output_tokens"] == output && one["is_running"] == false)
    })
}

#[test]
fn a_queue_wait_and_a_long_prefill_are_named() {
    let (upstream, _) = simulate(engine());
    let gauge = Streamgauge::new(upstream);
    for _ in 0..20 {
        send_chat(gauge.proxy, &request(100, 8));
    }
    // 60,000 tokens take 3 s.
    send_chat(gauge.proxy, &request(60_000, 9));
    let prefill = explained(gauge.admin, 9);
    assert_eq!(prefill["unusual"], "prefill", "{prefill}");
    // One slot: the second request waits for the first.
    let proxy = gauge.proxy;
    let first = std::thread::spawn(move || send_chat(proxy, &request(100, 500)));
    wait_for("the first output", || {
        (json_at(gauge.admin, "/live")["upstreams"][0]["in_flight"]["streaming"] == 1).then_some(())
    });
    send_chat(gauge.proxy, &request(100, 11));
    first.join().unwrap();
    let queued = explained(gauge.admin, 11);
    assert_eq!(queued["unusual"], "queue", "{queued}");
    let sentence = queued["sentence"].as_str().unwrap();
    assert!(sentence.contains("in the server's queue; usual for this model is"), "{sentence}");
}

#[test]
fn a_cold_start_is_named() {
    let (upstream, _) = simulate(EngineSpec { load_time: Duration::from_secs(3), ..engine() });
    let gauge = Streamgauge::new(upstream);
    // Ollama reports the load time.
    let mut body = request(100, 7);
    body.as_object_mut().unwrap().remove("stream_options");
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::post("/api/chat", "", body.to_string().as_bytes()));
    assert_eq!(client.read_message().status(), 200);
    let cold = explained(gauge.admin, 7);
    assert_eq!(cold["unusual"], "cold_start", "{cold}");
    let live = live_with(gauge.admin, 1);
    assert_eq!(live["total"]["cold_starts"], 1, "{}", live["events"]);
    assert_eq!(live["ttft_heatmap"]["cold"].as_array().unwrap().len(), 1);
    assert_eq!(live["events"][0]["kind"], "cold_start");
}

#[test]
fn a_stall_and_a_slow_client_are_named() {
    // The number of the connection is that of the request. The 13th response stalls; the 14th is large.
    let event = |text: &str| {
        let data = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        );
        format!("{:x}\r\n{data}\r\n", data.len())
    };
    let upstream = ScriptedUpstream::with_script(move |number, connection| {
        let _ = connection.read_message();
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        let big = "x".repeat(600_000);
        for at in 0..if number == 13 { 40 } else { 4 } {
            connection.send(event(if number == 13 { &big } else { "hello" }));
            let stalls = number == 12 && at == 1;
            std::thread::sleep(Duration::from_millis(if stalls {
                3000
            } else if number == 13 {
                0
            } else {
                10
            }));
        }
        connection.send("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    });
    let gauge = Streamgauge::new(upstream.address);
    let send = |pause: Duration| {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request_for(MODEL));
        std::thread::sleep(pause);
        assert_eq!(client.read_message().status(), 200);
    };
    for _ in 0..13 {
        send(Duration::ZERO);
    }
    send(Duration::from_secs(3));
    let unusual = |kind: &str| {
        wait_for(kind, || {
            let slow = json_at(gauge.admin, "/requests/slow");
            slow["requests"].as_array().unwrap().iter().find(|one| one["unusual"] == kind).cloned()
        })
    };
    let stalled = unusual("longest_gap");
    let sentence = stalled["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The server sent no output for 3.0"), "{sentence}");
    let held = unusual("client_stall");
    let sentence = held["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The client accepted no bytes for"), "{sentence}");
    let live = json_at(gauge.admin, "/live");
    assert_eq!(live["events"][0]["kind"], "stall", "{}", live["events"]);
}

#[test]
fn a_server_that_is_gone_is_an_event_with_an_end() {
    let address = crate::support::upstream::unused_address();
    let gauge = Streamgauge::new(address);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request_for(MODEL));
    assert!(client.read_message().status() >= 500);
    let live = wait_for("the failure", || {
        let live = json_at(gauge.admin, "/live");
        (live["total"]["errors"] == 1).then_some(live)
    });
    let kinds: Vec<_> =
        live["events"].as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    assert!(kinds.contains(&json!("failures")), "{kinds:?}");
    let slow = json_at(gauge.admin, "/requests/slow");
    let sentence = slow["requests"][0]["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.starts_with("The server could not be reached"), "{sentence}");
}

#[test]
fn a_server_that_no_client_needs_is_no_incident() {
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    let browser = Browser::start();
    let page = |words: &str| {
        let Some(browser) = &browser else { return };
        wait_for(words, || browser.text("#summary").contains(words).then_some(()));
    };
    if let Some(browser) = &browser {
        browser.open(&format!("http://{}/", gauge.admin));
    }
    let server = |is_needed: bool| {
        wait_for("the state", || {
            let live = json_at(gauge.admin, "/live");
            let server = &live["upstreams"][0];
            (server["state"] == "down" && server["is_needed"] == is_needed).then_some(live)
        })
    };
    let live = server(false);
    assert_eq!(
        (&live["events"][0]["kind"], &live["events"][0]["count"]),
        (&json!("down"), &json!(0))
    );
    page("No request needs it: this is no incident");
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request_for(MODEL));
    assert!(client.read_message().status() >= 500);
    let live = server(true);
    let down = live["events"].as_array().unwrap().iter().find(|one| one["kind"] == "down");
    assert_eq!(down.unwrap()["count"], Value::Null);
    page("The server has not answered for");
}

const HTML: &str = "Accept: text/html\r\n";

#[test]
fn browsers_get_the_page_with_security_headers() {
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    let page = get(gauge.admin, "/", &format!("Host: localhost\r\n{HTML}"));
    assert_eq!(
        (page.status(), page.header("content-type")),
        (200, vec!["text/html; charset=utf-8".to_owned()])
    );
    let index = get(gauge.admin, "/", "Host: localhost\r\nAccept: */*\r\n");
    assert_eq!(index.header("content-type"), ["text/plain; charset=utf-8"]);
    for path in ["/", "/live", "/requests/slow", "/page/main.js", "/page/style.css", "/login"] {
        let answer = get(gauge.admin, path, &format!("Host: localhost\r\n{HTML}"));
        let policy = answer.header("content-security-policy").concat();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), [value], "{path}");
        }
    }
}

#[test]
fn names_of_other_sites_do_not_open_the_pages_of_loopback() {
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    for path in ["/", "/live", "/requests", "/requests/slow", "/config"] {
        assert_eq!(get(gauge.admin, path, "Host: evil.example\r\n").status(), 403, "{path}");
        assert_eq!(get(gauge.admin, path, "Host: 127.0.0.1:1\r\n").status(), 200, "{path}");
    }
    // As before.
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(gauge.admin, path, "Host: evil.example\r\n").status(), 200, "{path}");
    }
    let mut client = RawConnection::connect(gauge.admin);
    client.send("POST /-/reload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_message().status(), 403);
}

/// The token of the newest link in the log.
fn token(process: &StreamgaugeProcess) -> Option<String> {
    let log = process.log();
    let (_, rest) = log.rsplit_once("/login?token=")?;
    rest.get(..64).map(str::to_owned)
}

#[test]
fn off_loopback_a_link_of_the_log_opens_the_page_once() {
    let upstream = crate::support::upstream::unused_address();
    let process = StreamgaugeProcess::start_with_admin(upstream, "0.0.0.0:0", &[]);
    let admin = SocketAddr::from(([127, 0, 0, 1], process.admin.port()));
    let first = wait_for("the link", || token(&process));
    assert_eq!(get(admin, "/", &format!("Host: h\r\n{HTML}")).status(), 403);
    assert_eq!(token(&process), Some(first.clone()), "the first link is still valid");
    let wrong = format!("/login?token={}", "0".repeat(64));
    assert_eq!(get(admin, &wrong, "Host: h\r\n").status(), 403);
    let answer = get(admin, &format!("/login?token={first}"), "Host: h\r\n");
    let cookie = answer.header("set-cookie").concat();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    assert_eq!(
        get(admin, &format!("/login?token={first}"), "Host: h\r\n").status(),
        403,
        "valid once"
    );
    let session = format!("Host: h\r\nCookie: {}\r\n{HTML}", cookie.split(';').next().unwrap());
    for path in ["/", "/live", "/requests", "/requests/slow", "/metrics"] {
        assert_eq!(get(admin, path, &session).status(), 200, "{path}");
    }
    for path in ["/live", "/requests", "/requests/slow", "/config"] {
        assert_eq!(get(admin, path, "Host: h\r\n").status(), 403, "{path}");
    }
    assert_eq!(get(admin, "/config", &session).status(), 403, "the cookie is for the page");
    process.signal("HUP");
    wait_for("a new link", || (token(&process)? != first).then_some(()));
}

#[test]
fn a_token_still_opens_the_page_off_loopback() {
    let token = TemporaryFile::new("token", "secret\n");
    let gauge = Streamgauge::with(
        crate::support::upstream::unused_address(),
        &[("admin", "0.0.0.0:0"), ("admin_token_file", token.path())],
        Default::default(),
    );
    let admin = SocketAddr::from(([127, 0, 0, 1], gauge.admin.port()));
    let page = get(admin, "/", &format!("Host: h\r\n{HTML}Authorization: Bearer secret\r\n"));
    assert_eq!(page.status(), 200);
    let refused = get(admin, "/", &format!("Host: h\r\n{HTML}"));
    assert_eq!(
        (refused.status(), refused.header("www-authenticate")),
        (401, vec!["Bearer".to_owned()])
    );
}

#[test]
fn chromium_shows_live_numbers_without_an_error() {
    let Some(browser) = Browser::start() else { return };
    // It would be a script if it were read as HTML.
    let name = "<img src=x onerror=alert(1)>";
    let (upstream, _) = simulate(EngineSpec { name: name.into(), ..engine() });
    let gauge = Streamgauge::new(upstream);
    browser.open(&format!("http://{}/", gauge.admin));
    let text = |selector: &str, expected: &str| {
        wait_for(selector, || browser.text(selector).contains(expected).then_some(()));
    };
    text("#summary", "No requests in the last ten minutes");
    text("#heatmap", "No requests in the last ten minutes");
    for at in 0..12 {
        let mut request = request(100, 8 + at);
        request["model"] = json!(name);
        send_chat(gauge.proxy, &request);
    }
    text("#models", name);
    text("#newest", "ok");
    text("#tiles", "0 waiting, 0 streaming");
    text("#summary", "No incident now.");
    wait_for("cells of the heatmap", || {
        (browser.run("return document.querySelectorAll('#heatmap .cell').length").as_u64()? > 0)
            .then_some(())
    });
    wait_for("several polls", || {
        browser
            .run("return Number(document.body.dataset.polls)")
            .as_u64()
            .filter(|polls| *polls > 5)
    });
    assert_eq!(browser.run("return document.images.length"), 0, "no name became an element");
    assert_eq!(browser.text("#problem"), "");
    let width = browser.run("return document.documentElement.scrollWidth - window.innerWidth");
    assert!(width.as_i64().unwrap() <= 0, "the page is wider than the window: {width}");
    assert_eq!(browser.console(), [""; 0]);
    gauge.stop();
    text("#problem", "Streamgauge does not answer");
}
