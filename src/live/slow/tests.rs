//! The list of slow requests, from records with known parts.

use super::*;
use std::time::Duration;

const NOW: f64 = 1_000.0;

/// A usual request: sent after 1 ms, 20 ms in the queue, 80 ms of prefill, 100 tokens in 2 s.
fn usual(id: u64) -> RequestRecord {
    RequestRecord {
        id,
        upstream: "up".into(),
        operation: "chat",
        outcome: "ok",
        stream: Some(true),
        status: Some(200),
        sent_s: Some(0.001),
        head_s: Some(0.1),
        queue_s: Some(0.02),
        queue_source: Some("slots"),
        ttft_s: Some(0.101),
        answer_s: Some(0.101),
        latency_s: Some(2.101),
        duration_s: 2.102,
        max_gap_s: Some(0.03),
        input_tokens: Some(100),
        output_tokens: Some(100),
        cold: Some(false),
        ..RequestRecord::default()
    }
}

fn labelled(record: RequestRecord) -> LabelledRecord {
    let is_error = streamgauge_core::meter::Outcome::is_failure_label(record.outcome);
    LabelledRecord {
        record: Arc::new(record),
        model: "m".into(),
        ended_at: NOW,
        is_error,
        weight: 1.0,
        cause: None,
    }
}

/// The list after twenty usual requests and these.
fn list(records: Vec<RequestRecord>) -> Vec<SlowRequest> {
    let mut history = SlowHistory::default();
    history.add(&(0..20).map(|id| labelled(usual(id))).collect::<Vec<_>>(), NOW);
    history.add(&records.into_iter().map(labelled).collect::<Vec<_>>(), NOW);
    history.list(&[], (Duration::from_secs(100), NOW)).requests
}

/// Delays everything from the first output on.
fn delayed(record: &mut RequestRecord, by: f64) {
    for at in [&mut record.ttft_s, &mut record.answer_s, &mut record.latency_s] {
        *at = at.map(|at| at + by);
    }
    record.duration_s += by;
}

#[test]
fn each_cause_is_named() {
    type Change = fn(&mut RequestRecord);
    let cases: [(Change, Option<PartKind>, &str); 11] = [
        (
            |record| {
                record.queue_s = Some(6.02);
                delayed(record, 6.0);
            },
            Some(PartKind::Queue),
            "Waited 6.02 s in the server's queue; usual for this model is 20.0 ms.",
        ),
        (
            |record| {
                record.input_tokens = Some(200);
                delayed(record, 3.0);
            },
            Some(PartKind::Prefill),
            "Prefill took 3.08 s for a prompt of 200 tokens; usual for this model and input size is 80.0 ms.",
        ),
        (
            // No other prompt has this size: the baseline is that of the others.
            |record| {
                record.input_tokens = Some(30_000);
                delayed(record, 3.0);
            },
            Some(PartKind::Prefill),
            "Prefill took 3.08 s for a prompt of 30,000 tokens; usual for prompts of other sizes is 80.0 ms.",
        ),
        (
            |record| {
                (record.cold, record.cold_reason, record.queue_s) =
                    (Some(true), Some("loading"), None);
                delayed(record, 20.0);
            },
            Some(PartKind::ColdStart),
            "Waited 20.1 s for a cold start: the server was loading the model; a warm request of this model waits \
             100 ms.",
        ),
        (
            |record| {
                record.max_gap_s = Some(4.0);
                (record.latency_s, record.duration_s) = (Some(6.1), 6.101);
            },
            Some(PartKind::LongestGap),
            "The server sent no output for 4.00 s within the response; the usual longest gap of this model is 30.0 ms.",
        ),
        (
            |record| {
                record.client_stall_s = Some(5.0);
                (record.latency_s, record.duration_s) = (Some(7.1), 7.101);
            },
            Some(PartKind::ClientStall),
            "The client accepted no bytes for 5.00 s.",
        ),
        (
            |record| (record.latency_s, record.duration_s) = (Some(8.101), 8.102),
            Some(PartKind::Answer),
            "Generating the answer took 8.00 s for 100 tokens; usual for this model and output is 2.00 s.",
        ),
        (
            |record| {
                (record.outcome, record.ttft_s, record.answer_s) =
                    ("client_gone_before_head", None, None);
                (record.latency_s, record.head_s, record.queue_s) = (None, None, None);
                (record.output_tokens, record.max_gap_s, record.duration_s) = (None, None, 10.001);
            },
            Some(PartKind::FirstOutput),
            "The client gave up after 10.0 s without output. Waited 10.0 s for the first output; usual for this model \
             and input size is 100 ms.",
        ),
        (
            |record| {
                record.outcome = "truncated";
                (record.output_tokens, record.max_gap_s) = (Some(12), Some(1.5));
            },
            None,
            "The response broke off after 2.10 s and 12 output tokens; its longest silence was 1.50 s.",
        ),
        (
            |record| {
                (record.outcome, record.status, record.duration_s) = ("rejected", Some(429), 0.003)
            },
            None,
            "The server rejected the request with status 429 after 3.0 ms.",
        ),
        (
            |record| {
                record.connect_s = Some(2.0);
                record.sent_s = Some(2.001);
                delayed(record, 2.0);
            },
            Some(PartKind::Connect),
            "Opening a connection to the server took 2.00 s; usual for this model is 0 ms.",
        ),
    ];
    for (at, (change, kind, sentence)) in cases.into_iter().enumerate() {
        let mut record = usual(1000 + at as u64);
        change(&mut record);
        let requests = list(vec![record]);
        let [request] = &requests[..] else { panic!("{sentence}: {requests:?}") };
        assert_eq!(request.sentence, sentence);
        if kind.is_some() {
            assert_eq!(request.unusual, kind, "{sentence}");
        }
    }
}

#[test]
fn a_long_answer_is_not_slow() {
    let mut long = usual(1000);
    (long.output_tokens, long.latency_s, long.duration_s) = (Some(1000), Some(20.1), 20.11);
    assert_eq!(list(vec![long, usual(1001)]), []);
}

#[test]
fn the_request_that_lost_the_most_time_comes_first() {
    let mut short = usual(1000);
    (short.output_tokens, short.latency_s, short.duration_s) = (Some(2), Some(0.12), 0.121);
    delayed(&mut short, 3.0);
    let mut long = usual(1001);
    delayed(&mut long, 4.0);
    let listed = list(vec![short, long]);
    let ids: Vec<&str> = listed.iter().map(|one| &*one.id).collect();
    assert_eq!(ids, [1001, 1000].map(|id| format!("{id:016x}")));
    assert!(
        listed[0].slowness < listed[1].slowness,
        "although it is less slow relative to the usual"
    );
}

#[test]
fn without_a_baseline_only_cold_starts_and_failures_are_listed() {
    let mut history = SlowHistory::default();
    let mut slow = usual(1);
    delayed(&mut slow, 60.0);
    let mut cold = usual(2);
    (cold.cold, cold.cold_reason) = (Some(true), Some("boot"));
    history.add(&[labelled(slow), labelled(cold)], NOW);
    let list = history.list(&[], (Duration::ZERO, NOW));
    let [request] = &list.requests[..] else { panic!("{list:?}") };
    assert_eq!((request.unusual, request.slowness), (Some(PartKind::ColdStart), None));
    assert!(request.parts.iter().all(|part| part.usual_s.is_none()));
    let later = NOW + 601.0;
    history.add(&[], later);
    assert_eq!(history.list(&[], (Duration::ZERO, later)).requests, []);
}

#[test]
fn the_parts_add_up() {
    let mut record = usual(1000);
    record.connect_s = Some(0.0005);
    record.answer_s = Some(1.0);
    delayed(&mut record, 3.0);
    let requests = list(vec![record]);
    let parts = &requests[0].parts;
    let kinds: Vec<PartKind> = parts.iter().map(|part| part.kind).collect();
    use PartKind::*;
    assert_eq!(kinds, [Connect, Upload, Queue, Prefill, Reasoning, Answer, End, LongestGap]);
    let sum: f64 = parts.iter().filter(|one| one.start_s.is_some()).map(|one| one.duration_s).sum();
    assert!((sum - requests[0].duration_s).abs() < 0.01, "{sum}");
}

#[test]
fn running_requests_that_wait_too_long_come_first() {
    let mut history = SlowHistory::default();
    history.add(&(0..20).map(|id| labelled(usual(id))).collect::<Vec<_>>(), NOW);
    let at = Duration::from_secs;
    let waiting = |id, started| InFlightRequest {
        id,
        started_at: at(started),
        model: Some("m".into()),
        operation: "chat",
        phase: crate::metrics::RequestPhase::Waiting,
        sent: Some(at(started)),
        output_events: None,
        silence: None,
    };
    let silent = InFlightRequest {
        phase: crate::metrics::RequestPhase::Streaming,
        output_events: Some(5),
        silence: Some(at(12)),
        ..waiting(3, 60)
    };
    let running = [waiting(1, 58), waiting(2, 99), silent].map(|one| ("up".into(), one));
    let requests = history.list(&running, (at(100), NOW)).requests;
    let sentences: Vec<&str> = requests.iter().map(|one| &*one.sentence).collect();
    assert_eq!(
        sentences,
        [
            "Still running: has waited 42.0 s for its first output; usual for this model is 100 ms.",
            "Still running: no output for 12.0 s; the usual longest gap of this model is 30.0 ms.",
        ]
    );
    assert!(requests.iter().all(|one| one.is_running && one.outcome.is_none()));
}

#[test]
fn one_cause_does_not_fill_the_list() {
    let cold = |id| RequestRecord { cold: Some(true), cold_reason: Some("boot"), ..usual(id) };
    let refused = |id| RequestRecord { outcome: "upstream_unreachable", ..usual(id) };
    let records = (100..200).map(cold).chain((200..300).map(refused)).collect();
    assert_eq!(list(records).len(), 2 * MAX_OF_CAUSE);
}
