//! Clients choose model names. Names neither break `/metrics` nor make it grow without bound.

use crate::support::text_format::{parse, promtool};
use crate::support::{RawConnection, ScriptedUpstream, Streamgauge, chat, scrape};
use std::collections::BTreeSet;
use streamgauge::testing::FaultInjection;

/// The exported values of a label.
fn values(metrics: &str, label: &str) -> BTreeSet<String> {
    let samples = parse(metrics);
    samples.keys().filter_map(|(_, labels)| labels.get(label).cloned()).collect()
}

#[test]
fn odd_model_names_are_escaped() {
    let answer = chat::stream_response(&[
        chat::content_event("Hi"),
        chat::finish_event(),
        chat::DONE.into(),
    ]);
    let upstream = ScriptedUpstream::responding_with(answer);
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    let long = "l".repeat(10_000);
    let names = [
        "quote\"} 1\nevil{x=\"",
        "back\\slash\\",
        "\\",
        "line\nbreak\r\n# HELP evil",
        "control\u{0}\u{1}\u{7f}\u{9b}",
        "separators\u{85}\u{2028}\u{2029}",
        "sp ace, comma}",
        "\u{1f600} \u{20ac}\u{202e}\u{2066}",
        "=\"\"",
        long.as_str(),
    ];
    for name in names {
        client.send(chat::request_for(name));
        assert_eq!(client.read_message().status(), 200);
    }
    let metrics = scrape::get(gauge.admin, "/metrics");
    let found = values(&metrics, "gen_ai_request_model");
    let labels = [
        names[0].replace('\n', "\\n"),
        names[1].into(),
        names[2].into(),
        "line\\nbreak\\r\\n# HELP evil".into(),
        "control\\u0000\\u0001\\u007f\\u009b".into(),
        "separators\\u0085\\u2028\\u2029".into(),
        names[6].into(),
        "\u{1f600} \u{20ac}\\u202e\\u2066".into(),
        names[8].into(),
    ];
    for label in labels {
        assert!(found.contains(&label), "{label:?} is not in {found:?}");
    }
    let is_hidden =
        |c: char| (c.is_control() && c != '\n') || "\u{2028}\u{2029}\u{202e}\u{2066}".contains(c);
    let page_has = metrics.chars().find(|c| is_hidden(*c));
    assert_eq!(page_has, None, "a character that no line of /metrics may have");
    assert!(found.contains(&long[..128]) && found.iter().all(|name| name.len() <= 128));
    assert_eq!(found.len(), names.len());
    promtool(&["check", "metrics"], &metrics);
    // The log has the full names, up to a bound.
    let records = gauge.requests_when(names.len());
    assert_eq!(records[0]["model"], names[0]);
    assert_eq!(records[5]["model"], names[5]);
    let lines = scrape::get(gauge.admin, "/requests");
    assert_eq!(lines.chars().find(|c| is_hidden(*c)), None, "a character of a log line");
    assert!(records[9]["model"].as_str().is_none_or(|model| model.len() <= 4096));
}

#[test]
fn ten_thousand_models_make_a_few_series() {
    const MODELS: usize = 10_000;
    let upstream =
        ScriptedUpstream::responding_with(chat::response("200 OK", "application/json", b"{}"));
    let gauge =
        Streamgauge::with(upstream.address, &[("max_models", "20")], FaultInjection::default());
    std::thread::scope(|scope| {
        for part in 0..4 {
            let proxy = gauge.proxy;
            scope.spawn(move || {
                let mut client = RawConnection::connect(proxy);
                for i in (part..MODELS).step_by(4) {
                    client.send(chat::request_for(&format!("model-{i}")));
                    assert_eq!(client.read_message().status(), 200);
                    client.received.clear();
                }
            });
        }
    });
    let metrics = scrape::get(gauge.admin, "/metrics");
    let found = values(&metrics, "gen_ai_request_model");
    assert_eq!(found.len(), 21, "twenty models and `other`: {found:?}");
    assert!(metrics.len() < 1_000_000, "{} bytes", metrics.len());
    let scrape = gauge.scrape();
    assert_eq!(scrape.ended() as usize, MODELS);
    let overflow = scrape.sum("streamgauge_label_overflow_total", &[]);
    assert_eq!(overflow as usize, MODELS - 20);
}

#[test]
fn a_model_is_a_label_only_after_success() {
    for status in ["404 Not Found", "400 Bad Request", "500 Internal Server Error", "302 Found"] {
        let upstream =
            ScriptedUpstream::responding_with(chat::response(status, "application/json", b"{}"));
        let gauge = Streamgauge::new(upstream.address);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request_for("ghost"));
        client.read_message();
        let metrics = scrape::get(gauge.admin, "/metrics");
        assert!(!metrics.contains("ghost"), "{status}");
        assert_eq!(values(&metrics, "gen_ai_request_model"), BTreeSet::from(["other".to_owned()]));
        // The log has the name, to find the caller.
        assert_eq!(gauge.requests_when(1)[0]["model"], "ghost");
    }
    let gauge = Streamgauge::new(crate::support::upstream::unused_address());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request_for("ghost"));
    client.read_message();
    assert!(!scrape::get(gauge.admin, "/metrics").contains("ghost"));
}

#[test]
fn paths_methods_and_unknown_statuses_are_no_labels() {
    let upstream = ScriptedUpstream::with_script(|number, connection| {
        while connection.try_read_message().is_some() {
            connection.send(chat::response(
                &format!("{} Odd", 700 + number % 2),
                "text/plain",
                b"",
            ));
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let mut client = RawConnection::connect(gauge.proxy);
    for i in 0..50 {
        client.send(format!("X-{i} /path-{i}?key=value-{i} HTTP/1.1\r\nHost: host-{i}\r\n\r\n"));
        client.read_message();
    }
    let metrics = scrape::get(gauge.admin, "/metrics");
    for ((name, labels), _) in parse(&metrics) {
        let has = |value: &String| {
            ["path-", "value-", "host-", "X-"].iter().any(|text| value.contains(text))
        };
        assert!(!labels.values().any(has), "{name} {labels:?}");
    }
    assert_eq!(values(&metrics, "code"), BTreeSet::from(["other".to_owned()]));
}
