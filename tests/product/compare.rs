//! `streamgauge compare`: differences that it finds and does not find, and its messages about unusable logs.

use crate::support::process::command;
use crate::support::sim::{send_chat, simulate};
use crate::support::simulated_log::{BASE_SCENARIO, LogScenario, named_reader, to_lines};
use crate::support::{Streamgauge, TemporaryLog, assert_golden, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use streamgauge::testing::FaultInjection;
use streamgauge::testing::compare::{
    Comparison, ComparisonReport, ComparisonRow, Conclusion, RowStatistic, Selection, compare,
};
use streamgauge_core::meter::{RequestRecord, TokenSource};
use streamgauge_sim::EngineSpec;

/// A server of the same speed with shorter tokens.
const OTHER_TOKENIZER: LogScenario =
    LogScenario { model: "beta", characters_per_token: 3.2, ..BASE_SCENARIO };
const FASTER: LogScenario =
    LogScenario { ms_per_character: BASE_SCENARIO.ms_per_character / 1.1, ..OTHER_TOKENIZER };

fn try_compare(a: &str, b: &str) -> Result<ComparisonReport, String> {
    let all = Selection::default();
    compare(named_reader("a.jsonl", a), &all, named_reader("b.jsonl", b), &all)
        .map_err(|error| error.to_string())
}

fn compared(a: &str, b: &str) -> ComparisonReport {
    try_compare(a, b).unwrap()
}

fn row<'a>(
    comparison: &'a Comparison,
    quantity: &str,
    statistic: RowStatistic,
) -> &'a ComparisonRow {
    let is = |row: &&ComparisonRow| row.quantity == quantity && row.statistic == statistic;
    comparison.rows.iter().find(is).unwrap_or_else(|| panic!("no {quantity} in {comparison:#?}"))
}

fn median<'a>(report: &'a ComparisonReport, quantity: &str) -> &'a ComparisonRow {
    row(&report.comparisons[0], quantity, RowStatistic::Median)
}

#[track_caller]
fn assert_note(report: &ComparisonReport, words: &str) {
    assert!(report.notes.iter().any(|note| note.contains(words)), "{words}: {:#?}", report.notes);
}

/// A hundred reports on pairs of logs of these servers, each pair with other seeds.
fn hundred(a: &LogScenario, b: &LogScenario) -> Vec<ComparisonReport> {
    let pair = |seed: u64| {
        let a = LogScenario { seed: 2 * seed + 1, ..a.clone() };
        let b = LogScenario { seed: 2 * seed + 2, ..b.clone() };
        compared(&a.log(), &b.log())
    };
    (0..100).map(pair).collect()
}

/// Fails if a line of the hundred reports calls one of two equal servers better more often than chance does.
#[track_caller]
fn assert_equal(name: &str, a: &LogScenario, b: &LogScenario) {
    let reports = hundred(a, b);
    for (at, line) in reports[0].comparisons[0].rows.iter().enumerate() {
        let is_called = |report: &&ComparisonReport| {
            let row = &report.comparisons[0].rows[at];
            assert_eq!((row.quantity, row.statistic), (line.quantity, line.statistic));
            matches!(row.finding, Conclusion::Better | Conclusion::Worse)
        };
        let called = reports.iter().filter(is_called).count();
        println!("{name}: {} {}: {called} of 100", line.quantity, line.statistic.label());
        // At a level of 5 %, more than 10 of 100 have a probability of 1.1 %.
        assert!(called <= 10, "{name}: {} differs in {called} of 100", line.quantity);
    }
}

#[test]
fn equal_servers_are_not_called_different() {
    assert_equal("steady", &BASE_SCENARIO, &BASE_SCENARIO);
    // Consecutive requests share the load, so they are not independent.
    let busy = LogScenario { rate: 8.0, ..BASE_SCENARIO };
    assert_equal("busy", &busy, &busy);
    let bursts = LogScenario { bursts: true, ..BASE_SCENARIO };
    assert_equal("bursts", &bursts, &bursts);
    assert_equal(
        "prompts of twice the size",
        &BASE_SCENARIO,
        &LogScenario { prompt: 8.2, ..BASE_SCENARIO },
    );
}

#[test]
fn another_tokenizer_is_not_another_speed() {
    let reports = hundred(&BASE_SCENARIO, &OTHER_TOKENIZER);
    let headline = |report: &&ComparisonReport| {
        let row = median(report, "characters per second");
        assert!(row.headline);
        row.finding != Conclusion::NoDifferenceShown
    };
    let called = reports.iter().filter(headline).count();
    println!("{called} of 100");
    assert!(called <= 10, "{called} of 100");
    for report in &reports {
        for quantity in ["time per output token", "output tokens per second", "output tokens"] {
            assert_eq!(median(report, quantity).finding, Conclusion::NotComparable);
        }
        assert_note(report, "the tokenizers differ");
    }
}

#[test]
fn ten_percent_are_found_across_tokenizers() {
    let reports = hundred(&BASE_SCENARIO, &FASTER);
    let found = |quantity| {
        let is =
            |report: &&ComparisonReport| median(report, quantity).finding == Conclusion::Better;
        reports.iter().filter(is).count()
    };
    let (rate, duration) = (found("characters per second"), found("duration per character"));
    println!("characters per second: {rate} of 100; duration per character: {duration} of 100");
    assert!(rate >= 99, "{rate} of 100");
    let mut ratios: Vec<f64> = reports
        .iter()
        .map(|report| {
            let row = median(report, "characters per second");
            row.b.unwrap() / row.a.unwrap()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("{:.3} to {:.3}, half of them below {:.3}", ratios[0], ratios[99], ratios[50]);
    // The faster server also has fewer concurrent requests, which is worth half a percent.
    assert!((ratios[50] - 1.105).abs() < 0.01, "{}", ratios[50]);
    assert!(ratios[0] > 1.05 && ratios[99] < 1.16, "{ratios:?}");
}

#[test]
fn tokens_of_other_models_are_compared_only_if_shown_to_be_alike() {
    const BY_TOKENS: [&str; 4] =
        ["time per output token", "output tokens per second", "output tokens", "input tokens"];
    let are_compared = |report: &ComparisonReport| {
        let is =
            BY_TOKENS.map(|quantity| median(report, quantity).finding != Conclusion::NotComparable);
        assert!(is.iter().all(|other| *other == is[0]), "{is:?}");
        is[0]
    };
    // All requests have one size, so each side counts all of them.
    let log = |model: &'static str, requests: usize, seed: u64| {
        let mut records = LogScenario { model, requests, seed, ..BASE_SCENARIO }.records();
        records.iter_mut().for_each(|record| record.bytes_up = 1_000);
        to_lines(&records)
    };
    let many = compared(&log("alpha", 300, 1), &log("beta", 300, 2));
    assert!(are_compared(&many));
    assert_note(&many, "about the same number of characters on both sides");

    let few = compared(&log("alpha", 24, 1), &log("beta", 24, 2));
    println!("{few}");
    let known = median(&few, "characters per token");
    assert_eq!(
        known.finding,
        Conclusion::NoDifferenceShown,
        "neither a difference nor equality is shown"
    );
    assert!(!are_compared(&few));
    let words = "not comparable: not enough data about the tokenizers";
    assert_eq!(median(&few, "output tokens").words, words);
    assert_note(&few, "to treat the tokens of two models as equal");

    assert!(are_compared(&compared(&log("alpha", 24, 1), &log("alpha", 24, 2))), "one model");
    let fewer = compared(&log("alpha", 10, 1), &log("beta", 10, 2));
    assert!(!are_compared(&fewer), "nothing is known");
    assert_note(&fewer, "not enough data on characters per token");
}

/// The log of an embedding server, from the size and the duration of each request.
fn embeddings(requests: usize, of: impl Fn(usize) -> (u64, f64)) -> String {
    let record = |at: usize| {
        let (bytes_up, duration_s) = of(at);
        RequestRecord {
            time: Duration::from_secs(1_764_028_800 + at as u64),
            operation: "embeddings",
            outcome: "ok",
            stream: Some(false),
            duration_s,
            input_tokens: Some(200),
            bytes_up,
            ..RequestRecord::default()
        }
    };
    to_lines(&(0..requests).map(record).collect::<Vec<_>>())
}

#[test]
fn a_context_line_is_never_the_headline() {
    let mark = |report: &ComparisonReport| {
        let rows = &report.comparisons[0].rows;
        rows.iter().find(|row| row.headline).map(|row| row.quantity)
    };
    let steady = embeddings(20, |at| (1_000, 0.1 + 0.001 * (at * 7 % 20) as f64));
    let report = compared(&steady, &steady);
    assert_eq!(mark(&report), Some("request duration"));
    assert!(report.to_string().contains("does not depend on the tokenizer"));

    // Half of A's weight is on five requests, first two fast and then three slow ones, so it has no quantile
    // of times.
    let a = embeddings(40, |at| match at {
        0..2 => (1_000, 0.1),
        2..37 => (2_000, 0.2 + 0.001 * at as f64),
        _ => (1_000, 1.0 + 0.1 * at as f64),
    });
    let b = embeddings(105, |at| (if at < 100 { 1_000 } else { 2_000 }, 0.1 + 0.001 * at as f64));
    let report = compared(&a, &b);
    assert_eq!(median(&report, "request duration").finding, Conclusion::TooFew);
    assert_ne!(median(&report, "bytes of the request").finding, Conclusion::TooFew);
    assert_eq!(mark(&report), None);
    assert!(!report.to_string().contains("* "), "no mark, and no legend of it: {report}");
}

#[test]
fn the_table_equals_the_golden_file() {
    let report = compared(&BASE_SCENARIO.log(), &LogScenario { seed: 2, ..FASTER }.log());
    assert_golden("tests/golden/compare.txt", &report.to_string());
}

#[test]
fn the_same_log_twice_has_no_difference() {
    let log = BASE_SCENARIO.log();
    let report = compared(&log, &log);
    for row in &report.comparisons[0].rows {
        assert_eq!(row.finding, Conclusion::NoDifferenceShown, "{row:?}");
        assert_eq!(row.a, row.b);
    }
    assert_note(&report, "about the same number of characters");
}

#[test]
fn requests_that_differ_are_left_out_and_counted() {
    let (mut a, mut b) =
        (BASE_SCENARIO.records(), LogScenario { seed: 2, ..BASE_SCENARIO }.records());
    for (at, record) in a.iter_mut().enumerate() {
        record.cached_tokens = record.input_tokens;
        match at {
            0..20 => record.outcome = "server_error",
            20..50 => record.outcome = "client_gone_before_token",
            50..100 => record.stream = Some(false),
            100..130 => record.queue_source = Some("slots"),
            130..140 => record.operation = "other",
            140..150 => record.operation = "embeddings",
            150..200 => record.output_tokens_source = Some(TokenSource::Events),
            200..250 => record.degraded = true,
            _ => {}
        }
    }
    for record in &mut b {
        record.queue_source = Some("slots");
        record.duration_s += 1.0;
        record.answer_chars = record.answer_chars.map(|chars| 2 * chars);
    }
    let report = compared(&to_lines(&a), &to_lines(&b));
    assert_eq!(report.comparisons.len(), 1, "only streamed chats are on both sides");
    let comparison = &report.comparisons[0];
    let [of_a, of_b] = [0, 1].map(|at| comparison.compared[at] + comparison.unmatched[at]);
    assert_eq!((of_a, of_b), (180, 300));
    let left = row(comparison, "left by the client", RowStatistic::Share);
    assert_eq!((left.requests, left.finding), ([230, 300], Conclusion::Better));
    assert!((left.a.unwrap() - 30.0 / 230.0).abs() < 1e-9 && left.b == Some(0.0));
    assert!(median(&report, "time per output token").requests[0] <= 130);
    assert_eq!(median(&report, "queue wait, reported").finding, Conclusion::TooFew);
    for words in [
        "only A has chat, not streamed (50), embeddings, streamed (10); not compared",
        "A: 10 requests are excluded: they are not inference",
        "A: 50 requests have a count of events but no token count from the server",
        "A: 17.2 % of the requests are degraded",
        "the queue wait of A is reported and estimated, that of B is estimated",
        "the load differs",
        "of A's input tokens as cached, and 0.0 % of B's",
        "whose client disconnected differ",
        "B's answers are longer",
        "no cold-start data",
        "A request log does not contain",
    ] {
        assert_note(&report, words);
    }
}

/// The records as a version writes them that logs cold starts.
fn with_cold(records: &[RequestRecord], is_cold: impl Fn(usize) -> bool) -> String {
    let line = |(at, line): (usize, &str)| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line["cold"] = json!(is_cold(at));
        line.to_string() + "\n"
    };
    to_lines(records).lines().enumerate().map(line).collect()
}

#[test]
fn cold_requests_are_left_out() {
    let mut a = BASE_SCENARIO.records();
    a.iter_mut().take(30).for_each(|record| record.ttft_s = Some(60.0));
    let a = with_cold(&a, |at| at < 30);
    let b = with_cold(&LogScenario { seed: 2, ..BASE_SCENARIO }.records(), |_| false);
    let report = compared(&a, &b);
    assert_eq!(report.comparisons[0].cold, [30, 0]);
    assert_note(&report, "30 requests of A are excluded: they waited for a cold start");
    assert!(!report.notes.iter().any(|note| note.contains("has no cold-start data")));
    let tail = row(&report.comparisons[0], "time to first token", RowStatistic::P90);
    assert!(tail.a.unwrap() < 1.0, "{tail:?}");
}

#[test]
fn only_requests_with_output_can_lack_the_cold_field() {
    let mut records = BASE_SCENARIO.records();
    for (at, record) in records.iter_mut().enumerate() {
        record.cold = Some(false);
        match at {
            0..10 => record.outcome = "rejected",
            10..20 => record.outcome = "client_gone_before_token",
            // A response without output.
            20..30 => (),
            _ => continue,
        }
        (record.cold, record.ttft_s) = (None, None);
    }
    let log = to_lines(&records);
    let report = compared(&log, &log);
    let is_said =
        |report: &ComparisonReport| report.notes.iter().any(|note| note.contains("cold start"));
    assert!(!is_said(&report), "{:#?}", report.notes);

    records.iter_mut().skip(290).for_each(|record| record.cold = None);
    let report = compared(&log, &to_lines(&records));
    assert_note(&report, "B: the log has no cold-start data for 10 complete requests");
    // A response that is not a stream is its own output.
    let unknown = embeddings(20, |at| (1_000, 0.1 + 0.001 * at as f64));
    let report = compared(&unknown, &unknown);
    assert_note(&report, "A and B: the log has no cold-start data for all complete requests");
}

#[test]
fn a_log_of_an_older_version_gives_fewer_lines() {
    let fields =
        ["time", "operation", "outcome", "stream", "duration_s", "bytes_up", "ttft_s", "model"];
    let older: String = BASE_SCENARIO
        .log()
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().retain(|key, _| fields.contains(&key.as_str()));
            line.to_string() + "\n"
        })
        .collect();
    let report = compared(&older, &LogScenario { seed: 2, ..BASE_SCENARIO }.log());
    assert_eq!(median(&report, "characters per second").finding, Conclusion::TooFew);
    let ttft = median(&report, "time to first token");
    assert_eq!((ttft.finding, ttft.headline), (Conclusion::NoDifferenceShown, true));
    assert_eq!(report.a.bad_lines, 0);
}

#[test]
fn each_side_has_its_own_selection() {
    let both = BASE_SCENARIO.log() + &FASTER.log();
    let of = |model: &str| Selection { model: Some(model.into()), ..Selection::default() };
    let compare = |a: &str, b: &str| {
        compare(
            named_reader("both.jsonl", &both),
            &of(a),
            named_reader("both.jsonl", &both),
            &of(b),
        )
    };
    let report = compare("alpha", "beta").unwrap();
    assert_eq!((report.a.requests, report.b.requests), (300, 300));
    assert_eq!(median(&report, "characters per second").finding, Conclusion::Better);
    assert_note(&report, "A and B: 300 requests are not selected");
    let error = compare("alpha", "gamma").unwrap_err().to_string();
    let expected = "no request in both.jsonl matches the selection: the file has the models alpha, beta; \
                    the upstreams gpu; the operations chat";
    assert_eq!(error, expected);
}

#[test]
fn bad_lines_are_counted_and_skipped() {
    let log = BASE_SCENARIO.log();
    let mut lines: Vec<&str> = log.lines().collect();
    let long = format!("{{\"time\":\"{}\"}}", "x".repeat(3 << 20));
    lines.insert(7, "{\"time\":\"2026-01-01T00:00:00Z\",\"operation\":");
    lines.insert(8, "");
    lines.insert(9, "{\"time\":\"2026-01-01T00:00:00Z\",\"operation\":\"chat\"}");
    lines.insert(10, &long);
    let report = compared(&lines.join("\n"), &log);
    assert_eq!((report.a.bad_lines, report.a.lines, report.a.requests), (3, 303, 300));
    assert_note(
        &report,
        "A: 3 of 303 lines are not requests and are excluded; the first is line 8: EOF while parsing a value",
    );
}

#[test]
fn a_failed_comparison_gives_its_reason() {
    let log = BASE_SCENARIO.log();
    let other = log.replace("\"chat\"", "\"embeddings\"");
    let probes = log.replace("\"chat\"", "\"other\"");
    for (a, b, expected) in [
        ("", &*log, "a.jsonl contains no inference request (it is empty): give a file written by"),
        (
            &log,
            "hello\n",
            "b.jsonl contains no inference request (1 of 1 lines are not requests; line 1: expected value, at column 1)",
        ),
        (&log, "{}\n", "line 1: missing field `time`"),
        (&probes, &log, "a.jsonl contains no inference request: give"),
        (
            &log,
            &other,
            "no operation in common: a.jsonl has chat, streamed (300); b.jsonl has embeddings, streamed (300)",
        ),
    ] {
        let error = try_compare(a, b).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // No pair of equal size is a result, not an error.
    let small = LogScenario { prompt: 1.0, ..BASE_SCENARIO }.log();
    let report =
        compared(&LogScenario { prompt: 12.0, requests: 30, ..BASE_SCENARIO }.log(), &small);
    assert_note(&report, "send both servers the same prompts");
    assert_eq!(median(&report, "time to first token").finding, Conclusion::TooFew);
}

#[test]
fn wrong_arguments_are_reported() {
    let log = TemporaryLog::default();
    std::fs::write(log.path(), BASE_SCENARIO.log()).unwrap();
    let log = log.path();
    for (arguments, expected) in [
        (&["compare"][..], "<A>"),
        (&["compare", log], "<B>"),
        (&["compare", log, "/nowhere/b.jsonl"], "cannot read /nowhere/b.jsonl: No such file"),
        (&["compare", log, "/"], "cannot read /: "),
        (&["compare", log, "/dev/null"], "/dev/null contains no inference request (it is empty)"),
        (
            &["compare", log, log, "--model", "a", "--model", "b", "--model", "c"],
            "--model is given too often",
        ),
        (&["compare", log, log, "--operation", "embeddings"], "the operations chat"),
    ] {
        let output = command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(output.stdout.is_empty());
    }
}

/// Sends some requests, a few at a time.
fn drive(proxy: SocketAddr, requests: usize) {
    let body = |number: usize| {
        let content = "x".repeat(500 + number % 7 * 20);
        json!({
            "model": "sim", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": content}],
            "sim": {"output_tokens": 25 + number % 5},
        })
    };
    std::thread::scope(|scope| {
        for client in 0..3 {
            scope.spawn(move || {
                for number in 0..requests / 3 {
                    let answer = send_chat(proxy, &body(3 * number + client));
                    assert!(answer.contains("[DONE]"), "{answer}");
                }
            });
        }
    });
}

#[test]
fn logs_of_the_proxy_are_compared_by_the_program() {
    let logs = [TemporaryLog::default(), TemporaryLog::default()];
    std::thread::scope(|scope| {
        for (log, step) in logs.iter().zip([6.0, 4.0]) {
            scope.spawn(move || {
                let decode_base = std::time::Duration::from_secs_f64(step / 1e3);
                let (server, _) = simulate(EngineSpec { decode_base, ..EngineSpec::new("sim") });
                let gauge = Streamgauge::with(
                    server,
                    &[("request_log", log.path())],
                    FaultInjection::default(),
                );
                drive(gauge.proxy, 60);
                wait_for("the log", || (log.records().len() == 60).then_some(()));
                let rates = log
                    .records()
                    .into_iter()
                    .map(|record| record["characters_per_second"].as_f64().unwrap());
                let logged: f64 = rates.sum();
                let name = "streamgauge_output_characters_per_second_sum";
                let observed = gauge.scrape().sum(name, &[]);
                assert!((logged / observed - 1.0).abs() < 1e-9, "{logged} {observed}");
            });
        }
    });
    let records = logs[0].records();
    for record in &records {
        let number = |key: &str| record[key].as_f64().unwrap();
        let all = number("answer_chars") / (number("latency_s") - number("ttft_s"));
        let rate = number("characters_per_second");
        // The characters of the first arrival do not count; on a busy machine they can be many.
        assert!(rate > 0.0 && rate < all, "{record}");
    }
    let [a, b] = [logs[0].path(), logs[1].path()];
    let output = command(&["compare", a, b, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["comparisons"][0]["rows"].as_array().unwrap();
    let headline = rows.iter().find(|row| row["headline"] == true).unwrap();
    assert_eq!(headline["quantity"], "characters per second");
    assert_eq!(headline["finding"], "better", "{headline}");
    assert_eq!(headline["requests"], json!([60, 60]));
    let ratio = headline["change"]["ratio"]["value"].as_f64().unwrap();
    assert!(ratio > 1.2 && ratio < 1.6, "{headline}");
    let output = command(&["compare", a, b]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(text.contains("* characters per second") && text.contains("B is faster by"));
}
