use super::*;
use std::time::Duration;
use streamgauge_core::meter::RequestRecord;

fn record(second: u64) -> RequestRecord {
    RequestRecord {
        time: Duration::from_secs(1_764_028_800 + second),
        operation: "chat",
        outcome: "ok",
        stream: true,
        duration_s: 2.0,
        bytes_up: 1000,
        ..RequestRecord::default()
    }
}

fn lines(records: &[RequestRecord]) -> String {
    records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
}

fn read(kept: usize, text: &str) -> Log {
    Log::read_within(kept, text.as_bytes(), &Selection::default()).unwrap()
}

#[test]
fn every_quantity_comes_from_a_field_that_the_log_has() {
    let full = RequestRecord {
        characters_per_second: Some(1.0),
        ttft_s: Some(1.0),
        answer_s: Some(1.0),
        tpot_s: Some(1.0),
        max_gap_s: Some(1.0),
        queue_s: Some(1.0),
        input_tokens: Some(1),
        output_tokens: Some(1),
        output_tokens_source: Some(streamgauge_core::meter::TokenSource::Engine),
        answer_chars: Some(1),
        ..record(0)
    };
    for (at, quantity) in TABLE.iter().enumerate() {
        let source = quantity.name.strip_prefix("queue wait, ");
        let queue_source = source.or(Some("none"));
        let log = read(10, &lines(&[RequestRecord { queue_source, ..full.clone() }]));
        assert!(log.requests[0].value(at).is_some(), "{}", quantity.name);
        let log = read(10, &lines(&[RequestRecord { outcome: "ok", ..record(0) }]));
        let always = ["request duration", "bytes of the request"].contains(&quantity.name);
        assert_eq!(log.requests[0].value(at).is_some(), always, "{}", quantity.name);
    }
}

#[test]
fn a_long_log_is_thinned_evenly() {
    let records: Vec<RequestRecord> = (0..1000).map(record).collect();
    for (kept, stride, left) in [(1000, 1, 1000), (999, 2, 500), (100, 16, 63), (64, 16, 63)] {
        let log = read(kept, &lines(&records));
        assert_eq!((log.stride, log.requests.len()), (stride, left), "{kept}");
        let start = log.requests[0].time;
        for (at, request) in log.requests.iter().enumerate() {
            assert_eq!(request.time - start, (at as u64 * stride) as f64);
        }
        assert_eq!(log.selected, 1000);
        // One a second, two seconds each.
        assert!((log.in_flight().unwrap() - 2.0).abs() < 0.05, "{:?}", log.in_flight());
    }
}

#[test]
fn lines_are_sorted_by_their_beginning() {
    let log = read(10, &lines(&[record(5), record(1), record(3)]));
    let start = log.requests[0].time;
    let times: Vec<f64> = log.requests.iter().map(|request| request.time - start).collect();
    assert_eq!(times, [0.0, 2.0, 4.0]);
    assert_eq!(log.period().unwrap().1 - start, 6.0);
}

#[test]
fn what_is_no_request_is_counted() {
    let good = lines(&[record(0)]);
    let good = good.trim();
    let over = format!("{{\"x\":\"{}\"}}", "y".repeat(LONGEST as usize));
    let no_time = good.replace("2025-", "noon-");
    let text = [good, "", "[]", &over, good, &no_time, good].join("\n");
    let log = read(10, &text);
    assert_eq!((log.lines, log.bad, log.selected), (6, 3, 3));
    let (number, reason) = log.first_bad.unwrap();
    assert_eq!(number, 3);
    assert!(reason.contains("invalid length 0"), "{reason}");
    let log = read(10, &no_time);
    assert!(log.first_bad.unwrap().1.ends_with("is no time"));
}

#[test]
fn classes_of_size() {
    for (bytes, expected) in [(0, 0), (1, 0), (256, 16), (362, 16), (363, 17), (512, 18)] {
        assert_eq!(stratum(bytes), expected, "{bytes}");
    }
}

#[test]
fn every_outcome_ends_as_something() {
    use streamgauge_core::meter::Outcome;
    use strum::VariantArray;
    let of = |ending| {
        let is = |outcome: &&Outcome| Ending::of(outcome.label()) == ending;
        Outcome::VARIANTS.iter().filter(is).count()
    };
    let all = [Ending::Ok, Ending::Failed, Ending::Left, Ending::Other].map(of);
    assert_eq!(all, [1, 6, 3, 4]);
}
