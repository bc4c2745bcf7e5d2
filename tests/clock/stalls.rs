//! Stalls, bursts, and clients that give up, compared with the times at which the scripted server sent its events.

use crate::support::clock::assert_within;
use crate::support::connection::chunk;
use crate::support::upstream::EventReceiver;
use crate::support::{
    Bracket, Disturbance, MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, chat,
    wait_for,
};
use serde_json::Value;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const STALLS: &str = "streamgauge_stalls_total";
const OLDEST: &str = "streamgauge_oldest_silent_stream_seconds";
const PING: &str = ": ping\n\n";
/// The `stall_seconds` of most tests, and as a key.
const STALL_SECONDS: f64 = 0.3;
const STALL_KEY: (&str, &str) = ("stall_seconds", "0.3");

fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn number(record: &Value, key: &str) -> f64 {
    record[key].as_f64().unwrap_or_else(|| panic!("{key} of {record}"))
}

fn with(upstream: &ScriptedUpstream, keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(upstream.address, keys, FaultInjection::default())
}

/// A completed request, and when its parts were sent.
struct PlayedStream {
    record: Value,
    scrape: MetricsScrape,
    request: Bracket,
    events: Vec<Bracket>,
}

impl PlayedStream {
    /// Each possible duration of the gaps between events, in seconds.
    fn gaps(&self) -> Vec<(f64, f64)> {
        self.events.windows(2).map(|pair| pair[1].since(pair[0])).collect()
    }
}

/// The longest of these gaps.
fn longest(gaps: &[(f64, f64)]) -> (f64, f64) {
    let longest = |seconds: fn(&(f64, f64)) -> f64| gaps.iter().map(seconds).fold(0.0, f64::max);
    (longest(|gap| gap.0), longest(|gap| gap.1))
}

/// Fails unless `stalls` is the number of gaps longer than [`STALL_SECONDS`]. A gap within `allowed` seconds of it may
/// count or not.
fn assert_stalls(stalls: f64, gaps: &[(f64, f64)], allowed: f64) {
    let least = gaps.iter().filter(|gap| gap.0 > STALL_SECONDS + allowed).count();
    let most = gaps.iter().filter(|gap| gap.1 > STALL_SECONDS - allowed).count();
    let expected = least as f64..=most as f64;
    assert!(expected.contains(&stalls), "{stalls} stalls, expected {expected:?} of {gaps:?}");
}

/// Completes one request, whose response has these events, each after a pause in milliseconds.
fn play(events: &[(u64, String)], keys: &[(&'static str, &str)]) -> PlayedStream {
    let scripted = events.to_vec();
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(chat::STREAM_HEAD);
        for (pause, event) in &scripted {
            sleep(*pause);
            report(Bracket::around(|| connection.send(chunk(event))).1);
        }
        connection.send(chat::LAST_CHUNK);
        connection.wait_for_close();
    });
    let gauge = with(&upstream, keys);
    let mut client = RawConnection::connect(gauge.proxy);
    let ((), request) = Bracket::around(|| client.send(chat::request()));
    client.read_message();
    let record = gauge.requests_when(1).remove(0);
    let events = events.iter().map(|_| sent.wait()).collect();
    PlayedStream { record, scrape: gauge.scrape(), request, events }
}

#[test]
fn a_stall_is_counted_once_while_it_lasts_and_pings_do_not_hide_it() {
    let disturbance = Disturbance::watch();
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        let word = |connection: &mut RawConnection, text| {
            let event = chunk(chat::content_event(text));
            Bracket::around(|| connection.send(event)).1
        };
        connection.read_message();
        connection.send(chat::STREAM_HEAD);
        word(connection, "a");
        sleep(50);
        report(word(connection, "b"));
        while wait.lock().unwrap().try_recv().is_err() {
            connection.send(chunk(PING));
            sleep(20);
        }
        report(word(connection, "c"));
        sleep(50);
        let end = [chunk(chat::finish_event()), chunk(chat::DONE), chat::LAST_CHUNK.into()];
        connection.send(end.concat());
        connection.wait_for_close();
    });
    let gauge = with(&upstream, &[STALL_KEY]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let before = sent.wait();
    wait_for("the stall", || (gauge.scrape().sum(STALLS, &[]) > 0.0).then_some(()));
    let (_, silence) = Bracket::at(Instant::now()).since(before);
    assert!(silence >= STALL_SECONDS, "counted after {silence} s");
    let scrape = gauge.scrape();
    assert_eq!(scrape.in_phase("streaming"), 1.0, "the stall is counted while it lasts");
    assert!(scrape.sum(OLDEST, &[]) >= STALL_SECONDS, "{}", scrape.sum(OLDEST, &[]));
    wait_for("a longer silence", || (gauge.scrape().sum(OLDEST, &[]) > 0.6).then_some(()));
    go.send(()).unwrap();
    let gap = sent.wait().since(before);
    client.read_message();
    let record = gauge.requests_when(1).remove(0);
    assert_within("max gap", number(&record, "max_gap_s"), gap, disturbance.allow(0.002));
    let scrape = gauge.scrape();
    // The pauses of 50 ms become stalls only if this machine stands still.
    let is_disturbed = disturbance.worst() > Duration::from_millis(80);
    assert!(scrape.sum(STALLS, &[]) == 1.0 || is_disturbed, "one gap is one stall");
    assert_eq!(scrape.sum(OLDEST, &[]), 0.0, "no stream is open");
    assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 1.0);
    let sum = scrape.sum("streamgauge_stream_max_gap_seconds_sum", &[]);
    assert_eq!(sum, number(&record, "max_gap_s"));
}

#[test]
fn stalls_are_counted_without_a_scrape_while_they_last() {
    let disturbance = Disturbance::watch();
    // The check of open streams allows for the proxy's own delay, so it does not see stalls this short.
    let words = [0, 340, 60, 340, 60, 340].map(|pause| (pause, chat::content_event("x")));
    let events = [&words[..], &[(0, chat::DONE.into())]].concat();
    let played = play(&events, &[STALL_KEY]);
    assert_stalls(played.scrape.sum(STALLS, &[]), &played.gaps(), disturbance.allow(0.002));
    let played = play(&events, &[]);
    assert_eq!(played.scrape.sum(STALLS, &[]), 0.0, "{}", played.record);
    let gap = longest(&played.gaps());
    assert_within("max gap", number(&played.record, "max_gap_s"), gap, disturbance.allow(0.002));
}

#[test]
fn the_silence_before_the_end_of_a_stream_is_a_gap() {
    let disturbance = Disturbance::watch();
    // The gap ends with the event that completes the stream, not with later ones.
    let word = |pause| (pause, chat::content_event("x"));
    let events = [word(0), word(50), (450, chat::finish_event()), (700, chat::DONE.into())];
    let played = play(&events, &[STALL_KEY]);
    let gaps = &played.gaps()[..2];
    let measured = number(&played.record, "max_gap_s");
    assert_within("max gap to the end", measured, longest(gaps), disturbance.allow(0.002));
    assert_eq!(played.record["outcome"], "ok");
    assert_stalls(played.scrape.sum(STALLS, &[]), gaps, disturbance.allow(0.002));
    // The connection's end also ends a gap.
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        let start = [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("a"))].concat();
        report(Bracket::around(|| connection.send(start)).1);
        sleep(450);
        let close = || drop(connection.socket.shutdown(Shutdown::Both));
        report(Bracket::around(close).1);
    });
    let gauge = with(&upstream, &[STALL_KEY]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    client.read_to_end();
    let record = gauge.assert_single_request("truncated");
    let start = sent.wait();
    let gap = sent.wait().since(start);
    let measured = number(&record, "max_gap_s");
    assert_within("max gap of a broken stream", measured, gap, disturbance.allow(0.01));
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(STALLS, &[]), 1.0);
    assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 1.0);
}

#[test]
fn events_in_one_chunk_have_no_gap() {
    let all = [chat::content_event("a"), chat::content_event("b"), chat::DONE.into()].concat();
    let PlayedStream { record, scrape, .. } = play(&[(0, all)], &[]);
    assert_eq!(record["max_gap_s"], Value::Null);
    assert_eq!(scrape.sum("streamgauge_stream_max_gap_seconds_count", &[]), 0.0);
}

#[test]
fn a_client_that_does_not_read_is_no_stall_of_the_server() {
    let disturbance = Disturbance::watch();
    let (report, sent) = EventReceiver::channel();
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        let start = [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("a"))].concat();
        connection.send(start);
        // More than all sockets on the way can hold.
        let filler = chunk(format!(": {}\n\n", "x".repeat(1 << 20)));
        if (0..24).all(|_| connection.try_send(&filler)) {
            let event = chunk(chat::content_event("second"));
            report(Bracket::around(|| connection.send(event)).1);
            wait.lock().unwrap().recv().unwrap();
            // This stall is the server's.
            sleep(1300);
            let event = chunk(chat::content_event("third"));
            report(Bracket::around(|| connection.send(event)).1);
            connection.send([chunk(chat::DONE), chat::LAST_CHUNK.into()].concat());
            connection.wait_for_close();
        }
    });
    let gauge = with(&upstream, &[("stall_seconds", "1")]);
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    wait_for("output", || (gauge.scrape().in_phase("streaming") == 1.0).then_some(()));
    // The client is slow, not the server: the test waits to see that nothing is counted.
    sleep(2500);
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(STALLS, &[]), 0.0);
    let oldest = scrape.sum(OLDEST, &[]);
    assert!(oldest < 1.0, "the oldest silence is {oldest}");
    client.read_until(b"second").unwrap();
    // The second output waited behind the filler, at most until now.
    let second = Bracket::between(sent.wait().earliest(), Instant::now());
    go.send(()).unwrap();
    client.read_until(format!("{}{}", "[DONE]\n\n\r\n", chat::LAST_CHUNK).as_bytes()).unwrap();
    let record = gauge.requests_when(1).remove(0);
    println!("max gap {}, client {}", record["max_gap_s"], record["client_stall_s"]);
    assert!(number(&record, "client_stall_s") > 2.0, "{record}");
    let gap = sent.wait().since(second);
    assert_within("max gap", number(&record, "max_gap_s"), gap, disturbance.allow(0.002));
    let scrape = gauge.scrape();
    assert_eq!(scrape.sum(STALLS, &[]), 1.0, "only the server's stall");
    assert_eq!(scrape.sum("streamgauge_client_stall_seconds_count", &[]), 1.0);
}

/// A server generates 400 KiB every 20 ms. Its client pauses twice, for longer than `stall_seconds`: the server has to
/// wait, and bytes lie in all sockets on the way.
fn assert_pauses_are_no_gaps(clock: &str) {
    const EVENTS: usize = 120;
    let disturbance = Disturbance::watch();
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        connection.send(chat::STREAM_HEAD);
        let event = chunk(chat::content_event(&"x".repeat(400 * 1024)));
        for _ in 0..EVENTS {
            sleep(20);
            // From the end of a write to the begin of the next one, the server generates.
            report(Bracket::around(|| connection.send(&event)).1);
        }
        connection.send([chunk(chat::DONE), chat::LAST_CHUNK.into()].concat());
        connection.wait_for_close();
    });
    let slo = "slo = [{ name = 'gap', max_gap_seconds = 1.0 }]\nstall_seconds = 1\n";
    let keys = format!(
        "listen = '127.0.0.1:0'\nclock = '{clock}'\nupstream = 'http://{}'\n",
        upstream.address
    );
    let gauge = Streamgauge::with_file(&(keys + slo));
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    for _ in 0..2 {
        client.read_exactly(1 << 20).unwrap();
        sleep(2500);
    }
    client.read_until(format!("{}{}", "[DONE]\n\n\r\n", chat::LAST_CHUNK).as_bytes()).unwrap();
    let record = gauge.requests_when(1).remove(0);
    let events: Vec<Bracket> = (0..EVENTS).map(|_| sent.wait()).collect();
    let generating = || events.windows(2).map(|pair| pair[1].since(pair[0]).0);
    let (longest, sum) = (generating().fold(0.0, f64::max), generating().sum::<f64>());
    assert!(number(&record, "client_stall_s") > 3.0, "the client paused: {record}");
    // A write takes time on its way, too: an event of 400 KiB is many reads.
    let allowed = disturbance.allow(0.1);
    let gap = number(&record, "max_gap_s");
    println!("clock {clock}: max gap {gap}, the server's {longest}, {record}");
    assert!(gap <= longest + allowed, "{clock}: {gap} s, and the server's longest is {longest} s");
    let tpot = number(&record, "tpot_s") * (EVENTS - 1) as f64;
    assert!(
        tpot <= sum + 1.0 + allowed,
        "{clock}: {tpot} s from first to last, and {sum} s of the server"
    );
    if gap <= 1.0 {
        let scrape = gauge.scrape();
        assert_eq!(scrape.sum(STALLS, &[]), 0.0, "{clock}");
        assert_eq!(record["slo"]["gap"], true, "{clock}");
        for name in ["inter_token_latency", "inter_chunk_latency"] {
            let name = format!("streamgauge_{name}_seconds");
            let all = scrape.sum(&format!("{name}_count"), &[]);
            let short = scrape.sum(&format!("{name}_bucket"), &["le=\"1\""]);
            assert_eq!(short, all, "{clock} {name}");
        }
    }
}

#[test]
fn a_pause_of_the_client_makes_no_gap_longer() {
    assert_pauses_are_no_gaps("kernel");
    assert_pauses_are_no_gaps("program");
}

/// Share of the events that were sent in the last part of a request, which starts at `edge` of its duration.
fn share_after(played: &PlayedStream, outputs: usize, edge: f64) -> f64 {
    let seconds = |event: &Bracket| event.since(played.request).1;
    let end = played.events.last().map_or(0.0, seconds);
    let outputs = &played.events[..outputs];
    let late = outputs.iter().filter(|event| seconds(event) > end * edge).count();
    late as f64 / outputs.len() as f64
}

#[test]
fn tokens_per_chunk_and_burst_ratio() {
    const CHUNK: &str = "streamgauge_tokens_per_chunk";
    const BURST: &str = "streamgauge_burst_ratio";
    let words = |count: usize, pause: u64| vec![(pause, chat::content_event("seven!!")); count];
    let end = |tokens| {
        [(0, chat::finish_event()), (0, chat::usage_event(tokens)), (0, chat::DONE.into())]
    };
    // Evenly spread: about a tenth of the output comes in the last tenth of the time.
    let disturbance = Disturbance::watch();
    let played = play(&[words(50, 10), end(200).to_vec()].concat(), &[]);
    let ratio = number(&played.record, "burst_ratio");
    let truth = (share_after(&played, 50, 0.92), share_after(&played, 50, 0.88));
    assert_within("burst ratio", ratio, truth, 0.04 + disturbance.worst().as_secs_f64());
    assert_eq!(played.scrape.sum(&format!("{CHUNK}_sum"), &[]), 4.0);
    assert_eq!(played.scrape.sum(&format!("{BURST}_sum"), &[]), ratio);
    assert_eq!(played.scrape.sum(&format!("{BURST}_count"), &[]), 1.0);
    // All output in one chunk at the end: fake streaming.
    let at_once = words(10, 0).into_iter().map(|(_, word)| word).collect::<String>();
    let PlayedStream { record, scrape, .. } = play(&[(300, at_once + chat::DONE)], &[]);
    assert_eq!(number(&record, "burst_ratio"), 1.0);
    assert_eq!(scrape.sum(&format!("{CHUNK}_count"), &[]), 0.0, "no token count was reported");
    // All output at the start, then silence.
    let late_end = [(0, chat::content_event(&"x".repeat(40))), (300, chat::DONE.into())];
    let PlayedStream { record, scrape, .. } = play(&late_end, &[]);
    assert_eq!(number(&record, "burst_ratio"), 0.0);
    assert_eq!(scrape.sum(&format!("{BURST}_bucket"), &["le=\"0.1\""]), 1.0);
    // A short answer and a broken stream have no ratio.
    let PlayedStream { record, .. } = play(&[(0, chat::content_event("Yes.") + chat::DONE)], &[]);
    assert_eq!(record["burst_ratio"], Value::Null);
    let PlayedStream { record, scrape, .. } = play(&words(10, 0), &[]);
    assert_eq!((&record["outcome"], &record["burst_ratio"]), (&"truncated".into(), &Value::Null));
    assert!(!scrape.has(&format!("{BURST}_count")));
}

#[test]
fn abandoned_requests_count_their_duration_and_wasted_tokens() {
    let words: Vec<u8> =
        ["a", "b", "c"].iter().flat_map(|text| chunk(chat::content_event(text))).collect();
    let head = [chat::STREAM_HEAD.as_bytes(), &chunk(PING)].concat();
    let cases = [
        ("before_head", Vec::new(), 0.0),
        ("before_token", head.clone(), 0.0),
        ("mid_stream", [head, words].concat(), 3.0),
    ];
    for (phase, answer, tokens) in cases {
        let expected = answer.clone();
        let (report, sent) = EventReceiver::channel();
        let upstream = ScriptedUpstream::with_script(move |_, connection| {
            connection.read_message();
            connection.send(&answer);
            report(Instant::now());
            connection.wait_for_close();
        });
        let gauge = with(&upstream, &[]);
        let mut client = RawConnection::connect(gauge.proxy);
        client.send(chat::request());
        let start = Instant::now();
        sent.wait();
        assert_eq!(client.read_exactly(expected.len()).unwrap(), expected);
        sleep(100);
        let least = start.elapsed().as_secs_f64();
        drop(client);
        let record = gauge.assert_single_request(&format!("client_gone_{phase}"));
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
    // A completed request wastes nothing.
    let PlayedStream { scrape, .. } = play(&[(0, chat::content_event("a") + chat::DONE)], &[]);
    assert!(!scrape.has("streamgauge_abandoned_seconds_count"));
    assert!(!scrape.has("streamgauge_wasted_output_tokens_total"));
}

#[test]
fn time_to_first_token_by_input_size_is_off_by_default() {
    const NAME: &str = "streamgauge_time_to_first_token_by_input_seconds";
    let events =
        [(50, chat::content_event("a")), (0, chat::usage_event(1)), (0, chat::DONE.into())];
    let keys = [("ttft_by_input_size", "true")];
    let PlayedStream { record, scrape, .. } = play(&events, &keys);
    let sum = scrape.sum(&format!("{NAME}_sum"), &["input_size=\"256\""]);
    assert_eq!(sum, number(&record, "ttft_s"));
    assert_eq!(scrape.sum(&format!("{NAME}_count"), &[]), 1.0);
    let played = play(&[(0, chat::content_event("a") + chat::DONE)], &keys);
    let unknown = played.scrape.sum(&format!("{NAME}_count"), &["input_size=\"unknown\""]);
    assert_eq!(unknown, 1.0, "the size is not guessed");
    let PlayedStream { scrape, .. } = play(&events, &[]);
    assert!(!scrape.has(&format!("{NAME}_count")), "off by default");
}

#[test]
fn constant_labels_appear_in_upstream_info() {
    let proxy = |name: &str, more: &str| {
        let keys = "listen = '127.0.0.1:0'\nupstream = 'http://127.0.0.1:9'\nengine = 'vllm'\n";
        format!("[[proxies]]\nname = '{name}'\n{keys}{more}\n")
    };
    let labels = "labels = { gpu = 'H100', precision = 'fp8' }\n";
    let own = "labels = { gpu = 'L4', gpu_count = 2 }";
    let text = labels.to_owned() + &proxy("a", "") + &proxy("b", own);
    let gauge = Streamgauge::with_file(&text);
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
