//! Silence, bursts and clients that give up, against scripts that know the truth.

use crate::support::upstream::Moment;
use crate::support::wire::chunk;
use crate::support::{Gauge, Scrape, Upstream, Wire, against_the_clock, chat, wait_for};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use streamgauge::tap::FaultInjection;

const STALLS: &str = "streamgauge_stalls_total";
const OLDEST: &str = "streamgauge_oldest_silent_stream_seconds";
const PING: &str = ": ping\n\n";

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn number(record: &Value, key: &str) -> f64 {
    record[key].as_f64().unwrap_or_else(|| panic!("{key} of {record}"))
}

fn assert_near(what: &str, measured: f64, truth: f64) {
    assert!((measured - truth).abs() < 0.02, "{what}: measured {measured}, true {truth}");
}

fn with(upstream: &Upstream, keys: &[(&'static str, &str)]) -> Gauge {
    Gauge::with(upstream.address, keys, FaultInjection::default())
}

/// One request whose answer is these events, each after so many milliseconds, to its end.
fn play(events: &[(u64, String)], keys: &[(&'static str, &str)]) -> (Value, Scrape) {
    let events = events.to_vec();
    let upstream = Upstream::each(move |_, wire| {
        wire.message();
        wire.send(chat::STREAM);
        for (after, event) in &events {
            sleep(*after);
            wire.send(chunk(event));
        }
        wire.send(chat::LAST);
        wire.gone();
    });
    let gauge = with(&upstream, keys);
    let mut client = Wire::connect(gauge.proxy);
    client.send(chat::request());
    client.message();
    let record = gauge.requests_when(1).remove(0);
    (record, gauge.scrape())
}

#[test]
fn a_stall_is_counted_once_while_it_lasts_and_pings_do_not_hide_it() {
    against_the_clock(|| {
        let (go, wait) = channel::<()>();
        let wait = Mutex::new(wait);
        let (tell, silence) = Moment::pair();
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("a"))].concat());
            sleep(50);
            wire.send(chunk(chat::word("b")));
            tell(Instant::now());
            while wait.lock().unwrap().try_recv().is_err() {
                wire.send(chunk(PING));
                sleep(20);
            }
            wire.send(chunk(chat::word("c")));
            tell(Instant::now());
            sleep(50);
            wire.send([chunk(chat::finish()), chunk(chat::DONE), chat::LAST.into()].concat());
            wire.gone();
        });
        let gauge = with(&upstream, &[("stall_seconds", "0.3")]);
        let mut client = Wire::connect(gauge.proxy);
        client.send(chat::request());
        let began = silence.wait();
        let scrape = gauge.scrape();
        assert!(scrape.has(STALLS) && scrape.sum(STALLS, &[]) == 0.0, "none so far");
        let scrape = wait_for("the stall", || {
            Some(gauge.scrape()).filter(|scrape| scrape.sum(STALLS, &[]) > 0.0)
        });
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        assert_eq!(scrape.in_phase("streaming"), 1.0, "it is counted while it lasts");
        assert!(scrape.sum(OLDEST, &[]) >= 0.3, "{}", scrape.sum(OLDEST, &[]));
        wait_for("a longer silence", || (gauge.scrape().sum(OLDEST, &[]) > 1.0).then_some(()));
        go.send(()).unwrap();
        let truth = (silence.wait() - began).as_secs_f64();
        client.message();
        let record = gauge.requests_when(1).remove(0);
        assert_near("max gap", number(&record, "max_gap_s"), truth);
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(STALLS, &[]), 1.0, "one gap, one stall");
        assert_eq!(scrape.sum(OLDEST, &[]), 0.0, "no stream runs");
        assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 1.0);
        let sum = scrape.sum("streamgauge_stream_max_gap_seconds_sum", &[]);
        assert_eq!(sum, number(&record, "max_gap_s"));
    });
}

#[test]
fn nobody_needs_to_look_while_a_stall_lasts() {
    against_the_clock(|| {
        // Too short for who looks at running streams, which allows for our own delay.
        let stalls = [0, 340, 60, 340, 60, 340].map(|after| (after, chat::word("x")));
        let events = [&stalls[..], &[(0, chat::DONE.into())]].concat();
        let (record, scrape) = play(&events, &[("stall_seconds", "0.3")]);
        assert_eq!(scrape.sum(STALLS, &[]), 3.0, "{record}");
        let (record, scrape) = play(&events, &[]);
        assert_eq!(scrape.sum(STALLS, &[]), 0.0, "{record}");
        assert_near("max gap", number(&record, "max_gap_s"), 0.34);
    });
}

#[test]
fn the_silence_at_the_end_is_a_gap() {
    against_the_clock(|| {
        // Until what completes the stream came, and not what came behind it.
        let word = |after| (after, chat::word("x"));
        let events = [word(0), word(50), (450, chat::finish()), (700, chat::DONE.into())];
        let (record, scrape) = play(&events, &[("stall_seconds", "0.3")]);
        assert_near("max gap to the end", number(&record, "max_gap_s"), 0.45);
        assert_eq!((&record["outcome"], scrape.sum(STALLS, &[])), (&"ok".into(), 1.0));
        // Until it broke off.
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("a"))].concat());
            sleep(450);
        });
        let gauge = with(&upstream, &[("stall_seconds", "0.3")]);
        let mut client = Wire::connect(gauge.proxy);
        client.send(chat::request());
        client.rest();
        let record = gauge.assert_one("truncated");
        assert_near("max gap of what broke off", number(&record, "max_gap_s"), 0.45);
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(STALLS, &[]), 1.0);
        assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 1.0);
    });
}

#[test]
fn what_comes_at_once_has_no_gap() {
    let all = [chat::word("a"), chat::word("b"), chat::DONE.into()].concat();
    let (record, scrape) = play(&[(0, all)], &[]);
    assert_eq!(record["max_gap_s"], Value::Null);
    assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 0.0);
}

#[test]
fn a_client_that_takes_nothing_is_no_stall_of_the_server() {
    against_the_clock(|| {
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            wire.send([chat::STREAM.as_bytes(), &chunk(chat::word("a"))].concat());
            // More than all sockets on the way hold.
            let filler = chunk(format!(": {}\n\n", "x".repeat(1 << 20)));
            if (0..24).all(|_| wire.try_send(&filler)) {
                wire.send(chunk(chat::word("b")));
                // This one is the server's.
                sleep(1300);
                wire.send([chunk(chat::word("c")), chunk(chat::DONE), chat::LAST.into()].concat());
                wire.gone();
            }
        });
        let gauge = with(&upstream, &[("stall_seconds", "1")]);
        let mut client = Wire::connect(gauge.proxy);
        client.send(chat::request());
        wait_for("output", || (gauge.scrape().in_phase("streaming") == 1.0).then_some(()));
        // It is the client who is slow: what is waited for is that nothing is counted.
        sleep(2500);
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(STALLS, &[]), 0.0);
        let oldest = scrape.sum(OLDEST, &[]);
        assert!(oldest < 1.0, "the oldest silence is {oldest}");
        client.message();
        let record = gauge.requests_when(1).remove(0);
        println!("max gap {}, client {}", record["max_gap_s"], record["client_stall_s"]);
        assert!(number(&record, "client_stall_s") > 2.0, "{record}");
        assert_near("max gap", number(&record, "max_gap_s"), 1.3);
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(STALLS, &[]), 1.0, "the server's own");
        assert_eq!(scrape.sum("streamgauge_client_stall_seconds_count", &[]), 1.0);
    });
}

#[test]
fn tokens_per_chunk_and_bursts() {
    const CHUNK: &str = "streamgauge_tokens_per_chunk";
    const BURST: &str = "streamgauge_burst_ratio";
    let words = |count: usize, after: u64| vec![(after, chat::word("seven!!")); count];
    let end = |tokens| [(0, chat::finish()), (0, chat::usage(tokens)), (0, chat::DONE.into())];
    // Even: half a second of output, of which the last tenth is some 5 words of 50.
    let (record, scrape) = play(&[words(50, 10), end(200).to_vec()].concat(), &[]);
    let ratio = number(&record, "burst_ratio");
    assert!((0.04..=0.25).contains(&ratio), "{ratio}");
    assert_eq!(scrape.sum(&format!("{CHUNK}_sum"), &[]), 4.0);
    assert_eq!(scrape.sum(&format!("{BURST}_sum"), &[]), ratio);
    assert_eq!(scrape.sum(&format!("{BURST}_count"), &[]), 1.0);
    // Fake streaming: all of it in one go, at the end.
    let at_once = words(10, 0).into_iter().map(|(_, word)| word).collect::<String>();
    let (record, scrape) = play(&[(300, at_once + chat::DONE)], &[]);
    assert_eq!(number(&record, "burst_ratio"), 1.0);
    assert_eq!(scrape.sum(&format!("{CHUNK}_count"), &[]), 0.0, "nobody told the tokens");
    // All in the beginning, and then nothing.
    let late_end = [(0, chat::word(&"x".repeat(40))), (300, chat::DONE.into())];
    let (record, scrape) = play(&late_end, &[]);
    assert_eq!(number(&record, "burst_ratio"), 0.0);
    assert_eq!(scrape.sum(&format!("{BURST}_bucket"), &["le=\"0.1\""]), 1.0);
    // A word, and what broke off, tell nothing.
    let (record, _) = play(&[(0, chat::word("Yes.") + chat::DONE)], &[]);
    assert_eq!(record["burst_ratio"], Value::Null);
    let (record, scrape) = play(&words(10, 0), &[]);
    assert_eq!((&record["outcome"], &record["burst_ratio"]), (&"truncated".into(), &Value::Null));
    assert!(!scrape.has(&format!("{BURST}_count")));
}

#[test]
fn when_clients_gave_up_and_what_was_generated_for_them() {
    let words: Vec<u8> = ["a", "b", "c"].iter().flat_map(|text| chunk(chat::word(text))).collect();
    let head = [chat::STREAM.as_bytes(), &chunk(PING)].concat();
    let cases = [
        ("before_head", Vec::new(), 0.0),
        ("before_token", head.clone(), 0.0),
        ("mid_stream", [head, words].concat(), 3.0),
    ];
    for (phase, answer, tokens) in cases {
        let expected = answer.clone();
        let (tell, arrived) = Moment::pair();
        let upstream = Upstream::each(move |_, wire| {
            wire.message();
            wire.send(&answer);
            tell(Instant::now());
            wire.gone();
        });
        let gauge = with(&upstream, &[]);
        let mut client = Wire::connect(gauge.proxy);
        let start = Instant::now();
        client.send(chat::request());
        arrived.wait();
        assert_eq!(client.exactly(expected.len()).unwrap(), expected);
        sleep(100);
        let least = start.elapsed().as_secs_f64();
        drop(client);
        let record = gauge.assert_one(&format!("client_gone_{phase}"));
        let scrape = gauge.scrape();
        let label = format!("phase=\"{phase}\"");
        for labels in [&[][..], &[&*label]] {
            assert_eq!(scrape.sum("streamgauge_abandoned_seconds_count", labels), 1.0, "{phase}");
        }
        let after = scrape.sum("streamgauge_abandoned_seconds_sum", &[]);
        assert_eq!(after, number(&record, "duration_s"));
        assert!(after > least - 0.01, "{after} s, and the client left after {least} s");
        assert_eq!(scrape.sum("streamgauge_wasted_output_tokens_total", &[]), tokens, "{phase}");
    }
    // Who stays wastes nothing.
    let (_, scrape) = play(&[(0, chat::word("a") + chat::DONE)], &[]);
    assert!(!scrape.has("streamgauge_abandoned_seconds_count"));
    assert!(!scrape.has("streamgauge_wasted_output_tokens_total"));
}

#[test]
fn time_to_first_token_by_input_size_is_asked_for() {
    const NAME: &str = "streamgauge_time_to_first_token_by_input_seconds";
    let told = [(50, chat::word("a")), (0, chat::usage(1)), (0, chat::DONE.into())];
    let keys = [("ttft_by_input_size", "true")];
    let (record, scrape) = play(&told, &keys);
    let sum = scrape.sum(&format!("{NAME}_sum"), &["input_size=\"256\""]);
    assert_eq!(sum, number(&record, "ttft_s"));
    assert_eq!(scrape.sum(&format!("{NAME}_count"), &[]), 1.0);
    let (_, scrape) = play(&[(0, chat::word("a") + chat::DONE)], &keys);
    let unknown = scrape.sum(&format!("{NAME}_count"), &["input_size=\"unknown\""]);
    assert_eq!(unknown, 1.0, "it is not guessed");
    let (_, scrape) = play(&told, &[]);
    assert!(!scrape.has(&format!("{NAME}_count")), "off by default");
}

#[test]
fn constant_labels_of_upstreams() {
    let file = std::env::temp_dir().join(format!("streamgauge-{}-labels.toml", std::process::id()));
    let proxy = |name: &str, more: &str| {
        let keys = "listen = '127.0.0.1:0'\nupstream = 'http://127.0.0.1:9'\nengine = 'vllm'\n";
        format!("[[proxies]]\nname = '{name}'\n{keys}{more}\n")
    };
    let labels = "labels = { gpu = 'H100', precision = 'fp8' }\n";
    let own = "labels = { gpu = 'L4', gpu_count = 2 }";
    std::fs::write(&file, labels.to_owned() + &proxy("a", "") + &proxy("b", own)).unwrap();
    let sources = streamgauge::config::Sources {
        file: Some(file.clone()),
        flags: vec![("admin", "127.0.0.1:0".into())],
        ..Default::default()
    };
    let gauge = Gauge::start(&sources, FaultInjection::default());
    std::fs::remove_file(file).unwrap();
    let scrape = gauge.scrape();
    let found: Vec<_> =
        scrape.0.keys().filter(|series| series.starts_with("streamgauge_upstream_info")).collect();
    let line = |gpu: &str, count: &str, upstream: &str| {
        format!(
            "streamgauge_upstream_info{{engine=\"vllm\",gpu=\"{gpu}\",gpu_count=\"{count}\",\
             precision=\"fp8\",upstream=\"{upstream}\"}}"
        )
    };
    assert_eq!(found, [&line("H100", "", "a"), &line("L4", "2", "b")]);
}
