//! Accuracy of the estimate on simulated servers with virtual time, and special cases of the estimator.

#[path = "../../../benches/queue_wait/cell.rs"]
#[allow(dead_code, reason = "the evaluation uses all of it")]
mod cell;

use super::*;
use cell::{EngineBehaviour, EvalCell, is_within, summary};

fn seconds(at: f64) -> Duration {
    Duration::from_secs_f64(at)
}

/// Expected wait of a new request, in seconds.
fn current_wait(estimator: &QueueEstimator, at: f64) -> f64 {
    estimator.current_wait(seconds(at)).expect("a baseline").seconds
}

const WARM: Option<ServedRequest> = Some(ServedRequest { prompt_tokens: None, is_warm: true });

/// Runs one request with nothing else in flight. Returns its estimated wait.
fn run_alone(
    estimator: &mut QueueEstimator,
    at: f64,
    bytes: u64,
    ttft: f64,
) -> Option<WaitEstimate> {
    let mut entry = estimator.arrive(seconds(at), bytes, true);
    estimator.first_output(&mut entry, seconds(at + ttft));
    estimator.finish(entry, seconds(at + ttft + 0.1), WARM)
}

/// Runs one request while another is in flight, which ends without a response. Returns its estimated wait.
fn run_beside_another(
    estimator: &mut QueueEstimator,
    at: f64,
    bytes: u64,
    ttft: f64,
) -> WaitEstimate {
    let other = estimator.arrive(seconds(at - 0.01), bytes, true);
    let wait = run_alone(estimator, at, bytes, ttft).expect("a baseline");
    estimator.finish(other, seconds(at + 1.0), None);
    wait
}

/// Runs 32 requests beside others, which do not make them wait.
fn show_that_nobody_waits(estimator: &mut QueueEstimator, at: f64, bytes: u64, ttft: f64) {
    for i in 0..32 {
        let noise = 0.99 + 0.02 * f64::from(i % 2);
        run_beside_another(estimator, at + 2.0 * f64::from(i), bytes, ttft * noise);
    }
}

#[test]
fn estimates_are_accurate_for_any_number_of_slots() {
    let cell = |slots, utilisation, is_bursty, behaviour, reports_usage| EvalCell {
        slots,
        utilisation,
        is_bursty,
        behaviour,
        reports_usage,
        seed: 11,
    };
    let cells = [
        cell(1, 0.2, false, EngineBehaviour::Plain, true),
        cell(1, 0.95, true, EngineBehaviour::All, false),
        cell(4, 0.5, true, EngineBehaviour::Cache, false),
        cell(4, 0.9, false, EngineBehaviour::Chunked, true),
        cell(16, 0.2, false, EngineBehaviour::All, false),
        cell(16, 0.5, false, EngineBehaviour::All, true),
        cell(16, 0.95, false, EngineBehaviour::All, false),
    ];
    for cell in cells {
        let waits = cell::run(&cell);
        let (truth, estimate) = (summary(&waits.truth), summary(&waits.estimate));
        assert!(is_within(&waits), "{cell:?}: {estimate:?} for {truth:?}, {waits:?}");
        if cell.utilisation == 0.2 && cell.slots == 16 {
            assert!(estimate.0 < 0.005, "no wait must be reported: {estimate:?}");
        }
        if cell.utilisation >= 0.9 {
            assert_eq!(waits.slots, Some(cell.slots), "{cell:?}");
        }
    }
}

#[test]
fn there_is_no_estimate_before_the_baseline() {
    let mut estimator = QueueEstimator::default();
    for i in 0..5 {
        assert_eq!(
            (estimator.current_wait(seconds(f64::from(i))), estimator.expected_ttft(100)),
            (None, None)
        );
        run_alone(&mut estimator, f64::from(i), 100, 0.05);
    }
    assert_eq!(current_wait(&estimator, 5.0), 0.0);
    let expected = estimator.expected_ttft(100).unwrap();
    assert!((expected.ttft.as_secs_f64() - 0.05).abs() < 1e-6, "{expected:?}");
    assert_eq!((expected.samples, expected.largest_bytes), (5, 100));
}

#[test]
fn a_ttft_above_the_baseline_is_a_wait() {
    let mut estimator = QueueEstimator::default();
    for i in 0..20_u32 {
        // 20 ms, and 1 ms for each 100 bytes.
        let bytes = u64::from(i) * 100;
        run_alone(&mut estimator, f64::from(i), bytes, 0.02 + f64::from(i) * 1e-3);
    }
    show_that_nobody_waits(&mut estimator, 40.0, 1000, 0.03);
    let wait = run_beside_another(&mut estimator, 120.0, 1000, 0.03 + 0.5);
    assert!((wait.seconds - 0.5).abs() < 0.002, "{wait:?}");
    assert_eq!(wait.source, EstimateSource::Baseline);
    assert!(wait.low < 0.5 && 0.5 <= wait.high, "{wait:?}");
    let wait = run_beside_another(&mut estimator, 130.0, 1000, 0.0305);
    assert_eq!(wait.seconds, 0.0, "noise is not a wait");
}

#[test]
fn lone_requests_do_not_show_whether_others_wait() {
    let mut estimator = QueueEstimator::default();
    for i in 0..100 {
        run_alone(&mut estimator, f64::from(i), 100, 0.03);
    }
    // One client becomes eight. Eight prompts at a time take longer, but none of them waits.
    for i in 0..15 {
        let at = 200.0 + 10.0 * f64::from(i);
        let mut entries = [0; 8].map(|_| estimator.arrive(seconds(at), 100, true));
        for entry in &mut entries {
            estimator.first_output(entry, seconds(at + 0.24));
        }
        for entry in entries.into_iter().skip(1) {
            let wait = estimator.finish(entry, seconds(at + 1.0), WARM).unwrap();
            assert!(wait.seconds == 0.0 && wait.high > 0.2, "{i}: {wait:?}");
        }
    }
}

#[test]
fn a_lone_request_does_not_wait() {
    let mut estimator = QueueEstimator::default();
    let mut rng = streamgauge_sim::rng::SplitMix64::new(7);
    for i in 0..10_000 {
        // Prompts of the same size take 20 ms to 20 s, so most of them are far above the baseline.
        let ttft = 0.02 * 1000_f64.powf(rng.unit());
        let wait = run_alone(&mut estimator, f64::from(i) * 60.0, 100, ttft).unwrap();
        assert_eq!((wait.seconds, wait.low, wait.high), (0.0, 0.0, 0.0), "{i}: {ttft}");
    }
}

#[test]
fn one_slot_is_found_and_predicts_the_wait_of_a_new_request() {
    let mut estimator = QueueEstimator::default();
    let mut serve = |at: f64| {
        // 20 ms to the first output, 1 s in total. The second request is sent 0.1 s after the first. A third one gives up.
        let entries = [0.0, 0.1].map(|after| estimator.arrive(seconds(at + after), 100, true));
        let third = estimator.arrive(seconds(at + 0.2), 100, true);
        assert_eq!(estimator.finish(third, seconds(at + 0.5), None), None);
        let mut waits = Vec::new();
        for (mut entry, begin) in entries.into_iter().zip([at, at + 1.0]) {
            estimator.first_output(&mut entry, seconds(begin + 0.02));
            waits.push(estimator.finish(entry, seconds(begin + 1.0), WARM));
        }
        waits
    };
    let mut waits = Vec::new();
    for i in 0..60 {
        waits = serve(3.0 * f64::from(i));
    }
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}");
    near(waits[0].unwrap().seconds, 0.0);
    near(waits[1].unwrap().seconds, 0.9);
    let SlotModel { span, count, holding_seconds, .. } = *estimator.slot_model().unwrap();
    assert_eq!((span, count), (SlotSpan::Response, 1));
    near(holding_seconds, 1.0);
    near(current_wait(&estimator, 190.0), 0.0);
    let not_streamed = [0.0, 0.1].map(|after| estimator.arrive(seconds(200.0 + after), 100, true));
    let wait = current_wait(&estimator, 200.2);
    // A second each. Requests wait for 0.9 s of each second, so the rate that is learned is up to a ninth too high.
    assert!((1.8..=2.0).contains(&wait), "{wait}");
    let waits = not_streamed.map(|one| {
        let left = 201.0 + one.position.number as f64 % 2.0;
        estimator.finish(one, seconds(left), WARM).unwrap().seconds
    });
    near(waits[0], 0.0);
    near(waits[1], 0.9);
}

#[test]
fn a_change_of_the_machine_is_detected() {
    // Eight requests show the change, at the next fit; the previous fit may have seen up to 15 more.
    const SHOWN: u32 = 8 + 15;
    for (before, after) in [(0.02, 0.2), (0.2, 0.02)] {
        for known in (16..48).chain(280..296) {
            let mut estimator = QueueEstimator::default();
            let noise = |i: u32| 1.0 + 0.005 * f64::from(i % 7);
            for i in 0..known {
                run_alone(&mut estimator, f64::from(i), 100, before * noise(i));
            }
            for i in known..known + SHOWN {
                run_alone(&mut estimator, f64::from(i), 100, after * noise(i));
            }
            let expected = estimator.expected_ttft(100).unwrap().ttft.as_secs_f64();
            assert!((expected / after - 1.0).abs() < 0.05, "{expected} for {after}, {known} known");
            assert_eq!(run_beside_another(&mut estimator, 999.0, 100, after).seconds, 0.0);
            show_that_nobody_waits(&mut estimator, 1010.0, 100, after);
            let wait = run_beside_another(&mut estimator, 1100.0, 100, 2.0 * after).seconds;
            assert!((wait / after - 1.0).abs() < 0.05, "{wait} for {after}");
        }
    }
}

#[test]
fn a_deep_queue_does_not_make_a_fit_larger() {
    let mut estimator = QueueEstimator::default();
    let mut open = VecDeque::new();
    // One slot, held for about a second, at full load.
    let left = |i: u32| f64::from(i) + 0.8 + 0.04 * f64::from(i % 5);
    for i in 0..3000 {
        open.push_back(estimator.arrive(seconds(f64::from(i)), 100, true));
        if open.len() < 900 {
            continue;
        }
        let mut entry = open.pop_front().unwrap();
        estimator.first_output(&mut entry, seconds(left(i - 1) + 0.25));
        let mut wait = None;
        let counted = allocation_counter::measure(|| {
            wait = estimator.finish(entry, seconds(left(i)), WARM);
        });
        assert!(counted.bytes_max < 100 * 1024, "{counted:?}");
        if i > 2000 {
            let truth = left(i - 1) - f64::from(i - 899);
            assert!((wait.unwrap().seconds - truth).abs() < 1e-6, "{wait:?} for {truth}");
        }
    }
    assert_eq!(
        estimator.slot_model().map(|slots| (slots.span, slots.count)),
        Some((SlotSpan::Response, 1))
    );
}

#[test]
fn cold_and_failed_requests_are_not_used() {
    let mut estimator = QueueEstimator::default();
    for i in 0..20 {
        let mut entry = estimator.arrive(seconds(f64::from(i)), 100, true);
        estimator.first_output(&mut entry, seconds(f64::from(i) + 30.0));
        let served = (i % 2 == 0).then_some(ServedRequest { prompt_tokens: None, is_warm: false });
        assert_eq!(estimator.finish(entry, seconds(f64::from(i) + 31.0), served), None);
    }
    assert!(estimator.baseline().is_none() && estimator.is_unused());
}

#[test]
fn memory_is_bounded() {
    let mut estimator = QueueEstimator::default();
    for i in 0..20_000 {
        run_alone(&mut estimator, f64::from(i), 100, 0.02);
    }
    assert_eq!((estimator.window.len(), estimator.lone.len()), (WINDOW, MAX_LONE));
    let bytes = (WINDOW + MAX_LONE) * size_of::<ObservedRequest>()
        + 2 * releases::MAX_RELEASES * size_of::<(f64, u64)>()
        + 2 * 64 * size_of::<f64>()
        + size_of::<QueueEstimator>();
    assert!(bytes < 72 * 1024, "{bytes} bytes, more than documented");
}

#[test]
fn requests_sent_at_once_may_be_served_in_either_order() {
    let mut estimator = QueueEstimator::default();
    // One slot, 20 ms to the first output, 1 s in total. Two more requests are sent nearly at once while it is taken. The
    // server takes the later one first every other time.
    let mut waits = [None, None];
    for i in 0..60 {
        let at = 4.0 * f64::from(i);
        let [mut first, a, b] =
            [0.0, 0.1, 0.1002].map(|after| estimator.arrive(seconds(at + after), 100, true));
        estimator.first_output(&mut first, seconds(at + 0.02));
        estimator.finish(first, seconds(at + 1.0), WARM);
        let order = if i % 2 == 0 { [a, b] } else { [b, a] };
        let mut begin = at + 1.0;
        waits = order.map(|mut entry| {
            estimator.first_output(&mut entry, seconds(begin + 0.02));
            begin += 1.0;
            estimator.finish(entry, seconds(begin), WARM)
        });
    }
    for (wait, expected) in waits.into_iter().zip([0.8998, 1.9]) {
        let wait = wait.unwrap().seconds;
        assert!((wait - expected).abs() < 1e-6, "{wait} for {expected}");
    }
    assert_eq!(
        estimator.slot_model().map(|slots| (slots.span, slots.count)),
        Some((SlotSpan::Response, 1))
    );
}

#[test]
fn a_wait_ends_when_another_request_ends() {
    // 30 to 70 ms to the first output, as with prompts that are partly cached.
    for (left, expected) in [(121.0, 0.5), (120.8, 0.48)] {
        let mut estimator = QueueEstimator::default();
        for i in 0..21_u32 {
            run_alone(&mut estimator, f64::from(i), 100, 0.03 + 0.02 * f64::from(i % 3));
        }
        show_that_nobody_waits(&mut estimator, 30.0, 100, 0.05);
        let other = estimator.arrive(seconds(120.0), 100, true);
        let mut entry = estimator.arrive(seconds(120.5), 100, true);
        estimator.finish(other, seconds(left), WARM);
        estimator.first_output(&mut entry, seconds(121.03));
        let wait = estimator.finish(entry, seconds(122.0), WARM).unwrap().seconds;
        assert!((wait - expected).abs() < 1e-6, "{wait} where another request ended at {left}");
        assert!(estimator.slot_model().is_none(), "one wait is not enough to find slots");
    }
}

#[test]
fn the_path_into_and_out_of_the_server_is_not_a_wait() {
    let cell = EvalCell {
        slots: 2,
        utilisation: 0.5,
        is_bursty: false,
        behaviour: EngineBehaviour::Plain,
        reports_usage: false,
        seed: 11,
    };
    let waits = cell::run_behind(&cell, 0.015, 0.01);
    let (truth, estimate) = (summary(&waits.truth), summary(&waits.estimate));
    let is_near = |estimate: f64, truth: f64| (estimate - truth).abs() < 0.006;
    assert!(
        is_near(estimate.0, truth.0) && is_near(estimate.1, truth.1),
        "{estimate:?} for {truth:?}"
    );
}

/// Serves requests one after the other in slots that are held for a second each, as many as are sent. Returns the
/// instant after the last one, and the open requests.
struct SlotsOfOneSecond {
    slots: usize,
    estimator: QueueEstimator,
    now: f64,
}

impl SlotsOfOneSecond {
    /// Learns the slots: three groups of requests at a time, each of which fills all slots.
    fn new(slots: usize) -> Self {
        let mut server = Self { slots, estimator: QueueEstimator::default(), now: 0.0 };
        for _ in 0..40 {
            let entries = server.send(3 * slots);
            server.serve(entries);
            server.now += 1.0;
        }
        assert_eq!(server.estimator.model(), QueueModel::Slots);
        server
    }

    /// Sends requests, one each millisecond.
    fn send(&mut self, count: usize) -> VecDeque<QueueEntry> {
        let mut send = |_| {
            self.now += 0.001;
            self.estimator.arrive(seconds(self.now), 100, true)
        };
        (0..count).map(&mut send).collect()
    }

    /// Serves all of these requests.
    fn serve(&mut self, mut entries: VecDeque<QueueEntry>) {
        while !entries.is_empty() {
            let mut running: Vec<QueueEntry> =
                entries.drain(..self.slots.min(entries.len())).collect();
            for (i, entry) in running.iter_mut().enumerate() {
                let at = self.now + 0.02 + 0.01 * i as f64;
                self.estimator.first_output(entry, seconds(at));
            }
            for (i, entry) in running.into_iter().enumerate() {
                let at = self.now + 1.0 + 0.01 * i as f64;
                self.estimator.finish(entry, seconds(at), WARM);
            }
            self.now += 1.0 + 0.01 * self.slots as f64;
        }
    }
}

#[test]
fn a_deep_queue_waits_for_the_rate_of_the_server() {
    let mut server = SlotsOfOneSecond::new(4);
    let open = server.send(400);
    let wait = server.estimator.current_wait(seconds(server.now)).unwrap();
    // 397 of 400 requests must end, four a second.
    assert!((85.0..115.0).contains(&wait.seconds), "{wait:?}");
    assert!(wait.low < wait.seconds && wait.seconds < wait.high.unwrap(), "{wait:?}");
    server.serve(open);
    assert_eq!(current_wait(&server.estimator, server.now), 0.0, "idle");
}

#[test]
fn more_slots_are_seen_at_the_first_outputs() {
    let mut server = SlotsOfOneSecond::new(4);
    let mut open = server.send(80);
    let before = current_wait(&server.estimator, server.now);
    for entry in open.iter_mut().take(8) {
        server.estimator.first_output(entry, seconds(server.now + 0.1));
    }
    let after = current_wait(&server.estimator, server.now + 0.1);
    assert!((0.4..0.7).contains(&(after / before)), "{after} after {before}");
}

#[test]
fn a_server_that_hangs_has_at_least_the_wait_that_is_visible() {
    let hang = |mut server: SlotsOfOneSecond| {
        let _open = server.send(2);
        let wait = server.estimator.current_wait(seconds(server.now + 20.0)).unwrap();
        assert!((19.9..20.1).contains(&wait.low) && wait.seconds >= wait.low, "{wait:?}");
    };
    hang(SlotsOfOneSecond::new(4));
    // Never full, so no slots are known.
    let mut server = SlotsOfOneSecond { slots: 4, estimator: QueueEstimator::default(), now: 0.0 };
    for _ in 0..40 {
        let entries = server.send(2);
        server.serve(entries);
    }
    assert_eq!(server.estimator.model(), QueueModel::Unknown);
    hang(server);
}

#[test]
fn requests_of_clients_that_left_are_still_served_if_there_is_no_output_meanwhile() {
    let mut server = SlotsOfOneSecond::new(1);
    let left = server.send(30);
    let _open = server.send(1);
    for entry in left {
        assert_eq!(server.estimator.finish(entry, seconds(server.now + 2.0), None), None);
    }
    let wait = current_wait(&server.estimator, server.now + 10.0);
    assert!((15.0..25.0).contains(&wait), "30 s of work, of which 10 s are over: {wait}");
}

#[test]
fn responses_that_are_not_streamed_show_a_hang_and_no_waits() {
    let mut estimator = QueueEstimator::default();
    for i in 0..20 {
        let at = 10.0 * f64::from(i);
        let pair = [0.0, 0.1].map(|after| estimator.arrive(seconds(at + after), 100, false));
        let [first, second] = pair.map(|entry| estimator.finish(entry, seconds(at + 2.0), WARM));
        assert_eq!(first.unwrap().seconds, 0.0, "it was alone");
        assert_eq!(second, None);
    }
    let _open = estimator.arrive(seconds(500.0), 100, false);
    assert_eq!(current_wait(&estimator, 501.0), 0.0);
    let wait = estimator.current_wait(seconds(520.0)).unwrap();
    assert!((wait.low - 18.0).abs() < 1e-6 && wait.high.is_none(), "{wait:?}");
}
