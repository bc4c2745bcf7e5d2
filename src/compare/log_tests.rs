use super::*;
use std::time::Duration;
use streamgauge_core::meter::RequestRecord;

fn record(second: u64) -> RequestRecord {
    RequestRecord {
        time: Duration::from_secs(1_764_028_800 + second),
        operation: "chat",
        outcome: "ok",
        stream: Some(true),
        duration_s: 2.0,
        bytes_up: 1000,
        ..RequestRecord::default()
    }
}

fn lines(records: &[RequestRecord]) -> String {
    records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
}

fn read(kept: usize, text: &str) -> LogContent {
    LogContent::read_within(kept, text.as_bytes(), &Selection::default()).unwrap()
}

#[test]
fn every_quantity_is_read_from_a_field_of_the_log() {
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
    for (at, quantity) in QUANTITIES.iter().enumerate() {
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
fn long_log_is_sampled_evenly() {
    let records: Vec<RequestRecord> = (0..1000).map(record).collect();
    for (kept, stride, left) in [(1000, 1, 1000), (999, 2, 500), (100, 16, 63), (64, 16, 63)] {
        let log = read(kept, &lines(&records));
        assert_eq!((log.stride, log.requests.len()), (stride, left), "{kept}");
        let start = log.requests[0].time;
        for (at, request) in log.requests.iter().enumerate() {
            assert_eq!(request.time - start, (at as u64 * stride) as f64);
        }
        assert_eq!(log.selected, 1000);
        // One request per second, each of two seconds.
        assert!((log.in_flight().unwrap() - 2.0).abs() < 0.05, "{:?}", log.in_flight());
    }
}

#[test]
fn requests_are_sorted_by_arrival() {
    let log = read(10, &lines(&[record(5), record(1), record(3)]));
    let start = log.requests[0].time;
    let times: Vec<f64> = log.requests.iter().map(|request| request.time - start).collect();
    assert_eq!(times, [0.0, 2.0, 4.0]);
    assert_eq!(log.period().unwrap().1 - start, 6.0);
}

#[test]
fn lines_that_are_not_requests_are_counted() {
    let good = lines(&[record(0)]);
    let good = good.trim();
    let over = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_LINE as usize));
    let no_time = good.replace("2025-", "noon-");
    let text = [good, "", "[]", &over, good, &no_time, good].join("\n");
    let log = read(10, &text);
    assert_eq!((log.lines, log.bad, log.selected), (6, 3, 3));
    let (number, reason) = log.first_bad.unwrap();
    assert_eq!(number, 3);
    assert!(reason.contains("invalid length 0"), "{reason}");
    let log = read(10, &no_time);
    assert!(log.first_bad.unwrap().1.ends_with("is not an RFC 3339 time"));
}

#[test]
fn size_classes_start_at_their_bounds() {
    for (bytes, expected) in [(0, 0), (1, 0), (256, 16), (362, 16), (363, 17), (512, 18)] {
        assert_eq!(size_class(bytes), expected, "{bytes}");
    }
}

#[test]
fn every_outcome_maps_to_an_ending() {
    use streamgauge_core::meter::Outcome;
    use strum::VariantArray;
    let of = |ending| {
        let is = |outcome: &&Outcome| RequestEnding::of(outcome.label()) == ending;
        Outcome::VARIANTS.iter().filter(is).count()
    };
    let all =
        [RequestEnding::Ok, RequestEnding::Failed, RequestEnding::ClientGone, RequestEnding::Other]
            .map(of);
    assert_eq!(all, [1, 6, 3, 4]);
}
