//! No false cold starts, and bounded memory and probing.

use super::super::detector::{MAX_MODELS, MAX_NAME};
use super::super::*;
use super::evaluation::rng::EvalRng;
use super::simulated_world::{ScriptedRequest, SimulatedState, SimulatedWorld, WARM_REQUEST, secs};
use crate::meter::queue::ExpectedTtft;
use std::time::Duration;

/// Runs warm requests whose TTFT has this distribution around 0.3 s, some of them after a long pause, with broken
/// connections and timeouts in between. Asserts that no cold start is found.
fn assert_no_cold_start(
    seed: u64,
    requests: usize,
    ttft: impl Fn(&mut EvalRng) -> f64,
    log_spread: f64,
) {
    let mut rng = EvalRng::new(seed);
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    let mut at = 1.0;
    let mut pauses = 0;
    for number in 0..requests {
        let expected = ExpectedTtft {
            ttft: secs(0.3),
            log_spread,
            samples: number.min(400),
            largest_bytes: 2000,
        };
        let ttft = 0.3 * ttft(&mut rng);
        at += rng.exponential() * 0.4;
        if rng.unit() < 0.02 {
            at += rng.between(60.0, 1000.0);
            pauses += 1;
        }
        if rng.unit() < 0.01 {
            world.break_one_request(at);
        }
        if rng.unit() < 0.001 {
            world.set_state(at, SimulatedState::Unresponsive, false);
            world.set_state(at + 3.0, SimulatedState::Ready, false);
        }
        let decode = rng.exponential();
        world.request(
            at,
            ScriptedRequest { ttft, decode, expected: Some(expected), ..WARM_REQUEST },
        );
        if number % 1000 == 0 {
            world.run(at);
        }
    }
    world.run(at + 1e6);
    assert!(pauses > requests / 100);
    world.assert_cold_starts(&format!("seed {seed}"), &[]);
    assert_eq!(world.cold_requests(), 0);
}

#[test]
fn lognormal_times_give_no_false_cold_start() {
    // The robust standard deviation of ln TTFT is 1.
    assert_no_cold_start(1, 100_000, |rng| rng.normal().exp(), 1.0);
}

#[test]
fn power_law_times_give_no_false_cold_start() {
    // Pareto with index 1.5 and median 1. The robust standard deviation of ln TTFT is 0.476.
    assert_no_cold_start(
        2,
        100_000,
        |rng| (rng.exponential() / 1.5).exp() / 2f64.powf(1.0 / 1.5),
        0.476,
    );
}

#[test]
fn memory_is_bounded() {
    let mut detector = SimulatedWorld::new(SimulatedState::Ready, false).detector;
    for number in 0..10_000u32 {
        let at = Duration::from_secs(number.into());
        let model = format!("{number}{}", "\u{20ac}".repeat(200));
        let request_id = detector.on_request(at);
        let output = FirstOutput {
            at,
            sent: None,
            model: &model,
            bytes: 1,
            is_stream: true,
            expected: None,
            reports_load: true,
        };
        detector.on_first_output(request_id, &output);
        detector.on_response_end(
            request_id,
            &output,
            ReportedTimes { load: Some(0.1), ..ReportedTimes::default() },
            None,
        );
        detector.on_request_end(request_id, &model, at);
    }
    assert_eq!(detector.models.len(), MAX_MODELS);
    assert!(detector.models.keys().all(|name| name.len() <= MAX_NAME));
    assert!(detector.in_flight.is_empty());
}

#[test]
fn a_load_time_longer_than_the_wait_is_ignored() {
    let mut detector = SimulatedWorld::new(SimulatedState::Ready, false).detector;
    for load in [5.0, f64::NAN, -1.0, 1e300] {
        let request_id = detector.on_request(secs(1.0));
        let at = secs(1.4);
        let output = FirstOutput {
            at,
            sent: None,
            model: "m",
            bytes: 1,
            is_stream: true,
            expected: None,
            reports_load: true,
        };
        detector.on_first_output(request_id, &output);
        let reported = ReportedTimes { load: Some(load), ..ReportedTimes::default() };
        assert_eq!(
            detector.on_response_end(request_id, &output, reported, None),
            ColdVerdict::default(),
            "{load}"
        );
        detector.on_request_end(request_id, "m", secs(2.0));
    }
}

#[test]
fn an_unresponsive_server_at_the_start_is_not_a_boot() {
    for (becomes, truth) in [
        (SimulatedState::Ready, vec![]),
        (SimulatedState::Down, vec![(ColdReason::Boot, secs(0.0), secs(50.0))]),
    ] {
        let mut world = SimulatedWorld::new(SimulatedState::Unresponsive, false);
        world.run(4.0);
        assert_eq!(world.detector.is_up(), None);
        assert!(world.probes > 2);
        world.set_state(20.0, becomes, false);
        world.set_state(50.0, SimulatedState::Ready, false);
        world.run(200.0);
        world.assert_cold_starts("", &truth);
        assert_eq!(world.detector.is_up(), Some(true));
    }
}

#[test]
fn an_unresponsive_server_is_not_probed_without_requests() {
    // From the start on, and after a request.
    for before in [SimulatedState::Unresponsive, SimulatedState::Ready] {
        let mut world = SimulatedWorld::new(before, false);
        world.set_state(5.0, SimulatedState::Unresponsive, false);
        world.request(10.0, WARM_REQUEST);
        world.run(100.0);
        let probes = world.probes;
        world.run(10_000.0);
        assert_eq!(world.probes, probes);
        assert!(probes > 20);
        // The next request starts a new period.
        world.set_state(10_000.0, SimulatedState::Down, false);
        world.request(10_001.0, WARM_REQUEST);
        world.set_state(10_031.0, SimulatedState::Ready, false);
        world.run(10_100.0);
        // The time before it is unknown and does not count.
        let truth = [(ColdReason::Unreachable, secs(10_001.0), secs(10_031.0))];
        world.assert_cold_starts("", &truth);
    }
}

#[test]
fn an_unresponsive_server_that_later_refuses() {
    // Soon after the start it is a boot. Hours later, the period begins with the refused request.
    for (arrived, truth) in [
        (300.0, (ColdReason::Boot, secs(0.0), secs(330.0))),
        (20_000.0, (ColdReason::Unreachable, secs(20_000.0), secs(20_030.0))),
    ] {
        let mut world = SimulatedWorld::new(SimulatedState::Unresponsive, false);
        world.set_state(arrived - 1.0, SimulatedState::Down, false);
        world.request(arrived, WARM_REQUEST);
        world.set_state(arrived + 30.0, SimulatedState::Ready, false);
        world.run(arrived + 5.0);
        assert_eq!(world.detector.outage(secs(arrived + 5.0)), None);
        world.run(arrived + 100.0);
        world.assert_cold_starts("", &[truth]);
        assert_eq!(world.detector.is_up(), Some(true));
    }
}

#[test]
fn a_wrong_health_path_is_not_a_boot() {
    let mut world = SimulatedWorld::new(SimulatedState::WrongHealthPath, true);
    world.request(5.0, WARM_REQUEST);
    world.run(200.0);
    world.assert_cold_starts("", &[]);
    assert_eq!((world.probes, world.detector.boot_times()), (1, BootTimes::default()));
}

#[test]
fn probes_pause_between_failed_requests() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    for at in 0..1000 {
        world.request(
            10.0 + 0.001 * f64::from(at),
            ScriptedRequest { ttft: 0.0002, decode: 0.0004, ..WARM_REQUEST },
        );
        world.break_one_request(10.0003 + 0.001 * f64::from(at));
    }
    world.run(100.0);
    assert!((15..=25).contains(&world.probes), "{} in a second", world.probes);
}
