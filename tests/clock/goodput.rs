//! Goodput counters, compared with a count over the request log.

use crate::support::connection::chunk;
use crate::support::sim::{send_chat, simulate};
use crate::support::upstream::unused_address;
use crate::support::{
    Disturbance, MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use streamgauge_sim::model::EngineSpec;

/// Limits far below or above the durations of the scripts.
const CLASSES: &str = "
[[slo]]
name = 'chat'
operations = ['chat']
upstreams = ['scripted', 'sim', 'nobody']
ttft_seconds = 0.25
tpot_seconds = 0.06
max_gap_seconds = 0.3
[[slo]]
name = 'whole'
latency_seconds = 0.55
normalized_seconds = 0.2
[[slo]]
name = 'long-models'
models = ['long', 'rejected']
tpot_seconds = 0.05
[[slo.sizes]]
up_to_tokens = 3
ttft_seconds = 0.133
[[slo.sizes]]
up_to_tokens = 100
ttft_seconds = 20.0
";

fn pause(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// An upstream whose script is chosen by the model's name.
fn scripted() -> ScriptedUpstream {
    ScriptedUpstream::with_script(|_, connection| {
        while let Some(message) = connection.try_read_message() {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            let send = |connection: &mut RawConnection, pieces: &[String], milliseconds| {
                pieces.iter().all(|piece| {
                    pause(milliseconds);
                    connection.try_send(chunk(piece))
                })
            };
            let words: Vec<String> =
                (0..6).map(|i| chat::content_event(&format!("w{i}"))).collect();
            let end = [chat::finish_event(), chat::usage_event(6), chat::DONE.into()].concat();
            let whole = |connection: &mut RawConnection, first, each| {
                connection.try_send(chat::STREAM_HEAD);
                pause(first);
                let all = send(connection, &words, each);
                all && connection.try_send([chunk(&end), chat::LAST_CHUNK.into()].concat())
            };
            let refused = |connection: &mut RawConnection, status| {
                let body = br#"{"error":{"message":"no"}}"#;
                connection.try_send(chat::response(status, "application/json", body))
            };
            let goes_on = match body["model"].as_str().unwrap() {
                "good" | "long" => whole(connection, 0, 10),
                "slow-first" => whole(connection, 400, 10),
                "slow-tokens" => whole(connection, 0, 100),
                "empty" => {
                    connection.try_send(chat::STREAM_HEAD);
                    pause(400);
                    connection.try_send([chunk(&end), chat::LAST_CHUNK.into()].concat())
                }
                "document" | "slow-document" => {
                    pause(if body["model"] == "document" { 0 } else { 800 });
                    let answer = br#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],
                                      "usage":{"prompt_tokens":3,"completion_tokens":7}}"#;
                    connection.try_send(chat::response("200 OK", "application/json", answer))
                }
                "gap" => {
                    connection.try_send(chat::STREAM_HEAD);
                    send(connection, &words, 5);
                    pause(500);
                    // Pings do not end a gap.
                    send(connection, &[": ping\n\n".into()], 0);
                    send(connection, &words, 5);
                    connection.try_send([chunk(&end), chat::LAST_CHUNK.into()].concat())
                }
                "unreadable" => {
                    let head =
                        chat::STREAM_HEAD.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
                    connection.try_send(head);
                    send(connection, &["this is no gzip".into()], 400);
                    connection.try_send(chat::LAST_CHUNK)
                }
                "truncated" => {
                    connection.try_send(chat::STREAM_HEAD);
                    send(connection, &words, 5);
                    false
                }
                "error" => {
                    connection.try_send(chat::STREAM_HEAD);
                    send(connection, &words, 5);
                    send(connection, &["data: {\"error\":{\"message\":\"no\"}}\n\n".into()], 5);
                    connection.try_send(chat::LAST_CHUNK)
                }
                "500" => refused(connection, "500 Internal Server Error"),
                "503" => refused(connection, "503 Service Unavailable"),
                "429" | "rejected" => refused(connection, "429 Too Many Requests"),
                "400" => refused(connection, "400 Bad Request"),
                // For clients that disconnect.
                "no-head" | "by-default" => {
                    connection.wait_for_close();
                    false
                }
                "no-token" => {
                    connection.try_send(chat::STREAM_HEAD);
                    connection.wait_for_close();
                    false
                }
                "no-end" => {
                    connection.try_send(chat::STREAM_HEAD);
                    send(connection, &words, 5);
                    connection.wait_for_close();
                    false
                }
                other => panic!("no script {other}"),
            };
            if !goes_on {
                return;
            }
        }
    })
}

fn request(path: &str, model: &str, stream: bool) -> Vec<u8> {
    let body = json!({"model": model, "stream": stream, "messages": []}).to_string();
    chat::post(path, "", body.as_bytes())
}

/// A client that reads the response to its end.
fn patient(gauge: SocketAddr, request: Vec<u8>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut connection = RawConnection::connect(gauge);
        connection.send(request);
        // Some responses break off.
        drop(connection.try_read_message());
    })
}

/// A client that disconnects after this many milliseconds.
fn leaving(gauge: SocketAddr, request: Vec<u8>, after: u64) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut connection = RawConnection::connect(gauge);
        connection.send(request);
        pause(after);
    })
}

/// Verdict on a request in a class, from the raw fields of its log line. An independent version of the
/// definition in docs/goodput.md: limits as a table, and one rule after the other.
fn verdict(class: &str, line: &Value) -> Option<Option<bool>> {
    let text = |key: &str| line[key].as_str().unwrap_or("");
    let number = |key: &str| line[key].as_f64();
    let duration = number("duration_s").unwrap();
    let (inference, ok) = (text("operation") != "other", text("outcome") == "ok");
    let (is_of, limits): (bool, Vec<(&str, f64)>) = match class {
        "chat" => (
            text("operation") == "chat" && text("upstream") != "else",
            vec![("ttft", 0.25), ("tpot", 0.06), ("max_gap", 0.3)],
        ),
        "whole" => (true, vec![("latency", 0.55), ("normalized", 0.2)]),
        "long-models" => {
            let mut limits = vec![("tpot", 0.05)];
            match line["input_tokens"].as_u64() {
                Some(0..=3) => limits.push(("ttft", 0.133)),
                Some(4..=100) => limits.push(("ttft", 20.0)),
                _ => {}
            }
            (["long", "rejected"].contains(&text("model")), limits)
        }
        other => panic!("no class {other}"),
    };
    if !is_of || !inference {
        return None;
    }
    let left = text("outcome").starts_with("client_gone");
    if text("outcome") == "client_error" {
        return Some(None);
    }
    if !ok && !left {
        return Some(Some(false));
    }
    let stream = line["stream"] == true;
    if stream && number("ttft_s").is_none() && line["unparsed"] != 0 {
        return Some(None);
    }
    let took = |what: &str| match what {
        "ttft" if !stream => None,
        "ttft" => number("ttft_s").or(Some(duration)),
        "tpot" => number("tpot_s"),
        "latency" if ok => number("latency_s").or(Some(duration)),
        "latency" => Some(duration),
        "max_gap" => number("max_gap_s"),
        "normalized" if ok => number("output_tokens").filter(|n| *n > 0.0).map(|n| duration / n),
        _ => None,
    };
    let missed = limits.iter().any(|(what, limit)| took(what).is_some_and(|took| took > *limit));
    Some(if missed {
        Some(false)
    } else if left {
        None
    } else {
        Some(true)
    })
}

fn label(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "true",
        Some(false) => "false",
        None => "undecided",
    }
}

/// Fails unless the counters equal the sums over the log lines.
fn assert_counters_match(scrape: &MetricsScrape, lines: &[Value]) {
    for class in ["chat", "whole", "long-models"] {
        let mut all = 0;
        for met in [Some(true), Some(false), None] {
            let of_it: Vec<&Value> =
                lines.iter().filter(|line| verdict(class, line) == Some(met)).collect();
            let reported: Vec<&Value> = lines
                .iter()
                .filter(|line| {
                    line["slo"].get(class).is_some_and(|reported| *reported == json!(met))
                })
                .collect();
            let ids = |lines: &[&Value]| -> Vec<String> {
                lines.iter().map(|line| format!("{} {}", line["id"], line["model"])).collect()
            };
            assert_eq!(ids(&reported), ids(&of_it), "{class}, {met:?}: verdicts in the log");
            let labels = [&*format!("slo=\"{class}\""), &*format!("met=\"{}\"", label(met))];
            let counted = scrape.sum("streamgauge_slo_requests_total", &labels);
            assert_eq!(counted, of_it.len() as f64, "{class}, {met:?}: requests");
            let tokens: f64 = of_it.iter().filter_map(|line| line["output_tokens"].as_f64()).sum();
            let counted = scrape.sum("streamgauge_slo_tokens_total", &labels);
            assert_eq!(counted, tokens, "{class}, {met:?}: tokens");
            all += of_it.len();
        }
        println!("{class}: {all} of {} requests", lines.len());
    }
}

/// Starts Streamgauge with the classes, in front of these upstreams.
fn with_classes(upstreams: &[(&str, SocketAddr)]) -> Streamgauge {
    let proxies: String = upstreams
        .iter()
        .map(|(name, address)| {
            format!("[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:0'\nupstream = 'http://{address}'\n")
        })
        .collect();
    Streamgauge::with_file(&format!("{CLASSES}{proxies}"))
}

#[test]
fn counters_equal_a_count_over_the_log() {
    let disturbance = Disturbance::watch_alone();
    let scripted = scripted();
    let (sim, _) = simulate(EngineSpec::new("sim"));
    let upstreams =
        [("scripted", scripted.address), ("sim", sim), ("nobody", unused_address()), ("else", sim)];
    let gauge = with_classes(&upstreams);
    let [script, sim, nobody, other] = gauge.proxies[..] else { panic!("four proxies") };

    // The expected verdict in the class `chat`, so that each verdict occurs.
    let expected = [
        ("good", "true"),
        ("long", "true"),
        ("document", "true"),
        ("slow-document", "true"),
        ("slow-first", "false"),
        ("slow-tokens", "false"),
        ("empty", "false"),
        ("gap", "false"),
        ("truncated", "false"),
        ("error", "false"),
        ("500", "false"),
        ("503", "false"),
        ("429", "false"),
        ("rejected", "false"),
        ("400", "undecided"),
        ("unreadable", "undecided"),
    ];
    let mut clients: Vec<JoinHandle<()>> = Vec::new();
    for (model, _) in expected {
        let request = request("/v1/chat/completions", model, !model.ends_with("document"));
        clients.push(patient(script, request));
    }
    for model in ["no-head", "no-token", "no-end"] {
        for after in [120, 900] {
            clients.push(leaving(script, request("/v1/chat/completions", model, true), after));
        }
    }
    // Ollama streams by default.
    let by_default = chat::post("/api/chat", "", br#"{"model":"by-default"}"#);
    clients.push(leaving(script, by_default, 900));
    clients.push(patient(nobody, request("/v1/chat/completions", "rejected", true)));
    // Not an inference request.
    clients.push(patient(script, request("/api/pull", "good", true)));
    for i in 0..24 {
        let proxy = if i % 3 == 0 { other } else { sim };
        let mut body = json!({
            "model": if i % 8 == 7 { "unknown" } else { "sim" }, "stream": i % 5 != 4, "messages": [],
            "stream_options": {"include_usage": true},
            "sim": {"prompt_tokens": 20 * i, "output_tokens": 2 + i},
        });
        match i % 7 {
            5 => body["sim"]["break_after"] = json!(2),
            6 => body["sim"]["error_after"] = json!(1),
            _ => {}
        }
        clients.push(thread::spawn(move || drop(send_chat(proxy, &body))));
    }
    let count = clients.len();
    // A request is counted at its end, and once.
    let inference = ["gen_ai_operation_name=\"chat\""];
    loop {
        let scrape = gauge.scrape();
        let arrived = scrape.sum("streamgauge_arrivals_total", &inference);
        let judged = scrape.sum("streamgauge_slo_requests_total", &["slo=\"whole\""]);
        assert!(judged <= arrived);
        if clients.iter().all(JoinHandle::is_finished) {
            break;
        }
        pause(50);
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let lines = gauge.requests_when(count);
    assert_eq!(lines.len(), count);
    let scrape = gauge.scrape();
    scrape.assert_balanced();
    assert_counters_match(&scrape, &lines);

    // All arrivals have a verdict: none is in flight.
    let judged =
        |class: &str| scrape.sum("streamgauge_slo_requests_total", &[&format!("slo=\"{class}\"")]);
    assert_eq!(judged("whole"), scrape.sum("streamgauge_arrivals_total", &inference));
    assert_eq!(judged("whole"), (count - 1) as f64, "all but what is no inference");
    assert_eq!(judged("chat"), (count - 1 - 8) as f64, "nor what goes to the other upstream");
    assert_eq!(judged("long-models"), 3.0);

    let one = |model: &str, upstream: &str| {
        let found = lines.iter().find(|line| {
            line["model"] == model && line["upstream"] == upstream && line["path"] != "other"
        });
        found.unwrap_or_else(|| panic!("no line of {model}")).clone()
    };
    // The scripts keep 80 ms away from the limits.
    let is_disturbed = || disturbance.worst() > Duration::from_millis(25);
    for (model, met) in expected {
        let line = one(model, "scripted");
        let reported = serde_json::from_value::<Option<bool>>(line["slo"]["chat"].clone()).unwrap();
        // A delay can only make a request slower, so it never turns a missed objective into a met one.
        assert!(label(reported) == met || met == "true" && is_disturbed(), "{line}");
    }
    // The upstream never received the body, which names the model.
    let unreachable = lines.iter().find(|line| line["upstream"] == "nobody").unwrap();
    assert_eq!(unreachable["outcome"], "upstream_unreachable");
    assert_eq!(unreachable["slo"], json!({"chat": false, "long-models": false, "whole": false}));
    assert_eq!((&unreachable["model"], &unreachable["bytes_up"]), (&"rejected".into(), &0.into()));
    let good = &one("good", "scripted")["slo"];
    assert!(*good == json!({"chat": true, "whole": true}) || is_disturbed(), "{good}");
    assert_eq!(one("by-default", "scripted")["slo"]["chat"], false);
    assert_eq!(one("slow-document", "scripted")["slo"]["whole"], false);
    // With three input tokens the limits are 133 ms for the first token and 50 ms for the others.
    let long = &one("long", "scripted")["slo"]["long-models"];
    assert!(*long == true || is_disturbed(), "{long}");
    for model in ["no-head", "no-token", "no-end"] {
        let of_it = lines.iter().filter(|line| line["model"] == model);
        let mut met: Vec<_> = of_it.map(|line| line["slo"]["chat"].to_string()).collect();
        met.sort();
        let expected = ["false", "null"];
        assert!(
            met == expected || is_disturbed(),
            "{model}: {met:?}, and the limits are 250 and 300 ms"
        );
    }
    let none = lines.iter().find(|line| line["path"] == "/api/pull").unwrap();
    assert_eq!(none["slo"], json!({}));

    let mut open = RawConnection::connect(script);
    open.send(request("/v1/chat/completions", "no-end", true));
    wait_for("an open stream", || (gauge.scrape().in_phase("streaming") == 1.0).then_some(()));
    let scrape = gauge.scrape();
    let arrived = scrape.sum("streamgauge_arrivals_total", &inference);
    let in_flight = scrape.sum("streamgauge_in_flight_requests", &inference);
    let judged = scrape.sum("streamgauge_slo_requests_total", &["slo=\"whole\""]);
    assert_eq!((arrived, in_flight), (judged + in_flight, 1.0));
}

#[test]
fn the_model_of_a_refused_request_is_read_from_the_received_body() {
    let upstreams =
        [("scripted", unused_address()), ("sim", unused_address()), ("nobody", unused_address())];
    let disturbance = Disturbance::watch();
    let gauge = with_classes(&upstreams);
    let body = |prompt: usize| {
        let messages = json!([{"role": "user", "content": "x".repeat(prompt)}]);
        // OpenAI's client writes the model last.
        format!(r#"{{"messages":{messages},"model":"long"}}"#).into_bytes()
    };
    let refuse = |request: &[u8], rest: &[u8], number: usize| {
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(request);
        let answer = client.read_message();
        client.try_send(rest);
        let line = gauge.requests_when(number).pop().unwrap();
        assert_eq!(line["outcome"], "upstream_unreachable");
        (answer, line["model"].clone(), line["slo"]["long-models"].clone())
    };
    let small = chat::post("/v1/chat/completions", "", &body(10));
    let (answer, model, met) = refuse(&small, b"", 1);
    assert_eq!((answer.status(), model, met), (503, json!("long"), json!(false)));
    // The proxy does not wait for the rest of a body.
    let front = &small[..small.len() - 10];
    let (answer, model, met) = refuse(front, &small[small.len() - 10..], 2);
    assert_eq!((answer.status(), model, met), (503, Value::Null, Value::Null));
    // The proxy does not send 100 Continue either: the first response is the final one.
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n";
    let (answer, model, met) = refuse(head.as_bytes(), b"", 3);
    assert_eq!((answer.status(), model, met), (503, Value::Null, Value::Null));
    // Two requests on one connection: each starts with its own first byte.
    let mut client = RawConnection::connect(gauge.proxy);
    for number in [4, 5] {
        client.send(&small);
        assert_eq!(client.read_message().status(), 503);
        let line = gauge.requests_when(number).pop().unwrap();
        assert!(line["duration_s"].as_f64().unwrap() < disturbance.allow(0.4), "{line}");
        assert_eq!(line["model"], "long");
        pause(500);
    }
    // A body that is longer than the proxy reads.
    let large = chat::post("/v1/chat/completions", "", &body(4_000_000));
    let mut client = RawConnection::connect(gauge.proxy);
    client.try_send(&large);
    let line = gauge.requests_when(6).pop().unwrap();
    assert_eq!((&line["outcome"], &line["model"]), (&"upstream_unreachable".into(), &Value::Null));
}

#[test]
fn limits_are_bucket_edges_of_the_histograms_they_limit() {
    let scripted = scripted();
    let upstreams =
        [("scripted", scripted.address), ("sim", unused_address()), ("nobody", unused_address())];
    let gauge = with_classes(&upstreams);
    patient(gauge.proxy, request("/v1/chat/completions", "good", true)).join().unwrap();
    gauge.requests_when(1);
    let scrape = gauge.scrape();
    let edge = |name: &str, edge: &str| {
        let bucket = format!("{name}_bucket");
        let label = format!("le=\"{edge}\"");
        scrape.0.keys().any(|series| series.starts_with(&bucket) && series.contains(&label))
    };
    for (name, edges) in [
        ("gen_ai_server_time_to_first_token_seconds", &["0.25", "0.133", "20"][..]),
        ("gen_ai_server_time_per_output_token_seconds", &["0.06", "0.05"]),
        ("streamgauge_latency_seconds", &["0.55"]),
        ("gen_ai_server_request_duration_seconds", &["0.55"]),
        ("streamgauge_normalized_time_per_output_token_seconds", &["0.2"]),
    ] {
        for one in edges {
            assert!(edge(name, one), "{name} has no edge {one}");
        }
    }
    // Only those: other histograms that share a bucket set do not get the edge.
    assert!(!edge("streamgauge_time_to_first_answer_seconds", "0.133"));
    assert!(!edge("streamgauge_normalized_time_per_output_token_seconds", "0.06"));
}

#[test]
fn without_classes_nothing_is_counted() {
    let scripted = scripted();
    let upstream = scripted.address;
    let file = format!("slo = []\nlisten = '127.0.0.1:0'\nupstream = 'http://{upstream}'\n");
    let gauge = Streamgauge::with_file(&file);
    patient(gauge.proxy, request("/v1/chat/completions", "good", true)).join().unwrap();
    assert_eq!(gauge.requests_when(1)[0]["slo"], json!({}));
    assert!(!gauge.scrape().has("streamgauge_slo_requests_total"));
}
