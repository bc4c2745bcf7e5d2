//! Ways in which a server is, or only seems, not ready. Each cold start is found exactly once.

use super::super::*;
use super::evaluation::rng::EvalRng;
use super::simulated_world::{ScriptedRequest, SimulatedState, SimulatedWorld, WARM_REQUEST, secs};
use crate::meter::queue::ExpectedTtft;
use std::time::Duration;

/// Runs a scenario with twenty seeds.
pub(super) fn for_each_seed(situation: impl Fn(&mut EvalRng, &str)) {
    (0..20).for_each(|seed| situation(&mut EvalRng::new(seed * 7919 + 1), &format!("seed {seed}")));
}

/// Requests of clients at random times, about two per second. The clients retry refused requests.
pub(super) fn random_requests(
    world: &mut SimulatedWorld,
    rng: &mut EvalRng,
    from: f64,
    to: f64,
    request: ScriptedRequest,
) {
    let mut at = from;
    loop {
        at += rng.exponential() * 0.5;
        if at >= to {
            return;
        }
        world.request(
            at,
            ScriptedRequest {
                retry_after: Some(rng.between(0.2, 1.0)),
                ttft: rng.between(0.1, 0.5),
                ..request
            },
        );
    }
}

fn baseline(ttft: f64) -> Option<ExpectedTtft> {
    Some(ExpectedTtft { ttft: secs(ttft), log_spread: 0.1, samples: 40, largest_bytes: 2000 })
}

/// Warm requests one after the other, ten seconds apart.
pub(super) fn sequential_requests(
    world: &mut SimulatedWorld,
    rng: &mut EvalRng,
    from: f64,
    count: usize,
    request: ScriptedRequest,
) -> f64 {
    for at in 0..count {
        let ttft = request.ttft * (0.1 * rng.normal()).exp();
        world.request(from + 10.0 * at as f64, ScriptedRequest { ttft, ..request });
    }
    from + 10.0 * count as f64
}

#[test]
fn connections_refused_until_ready() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let ready = rng.between(0.5, 300.0);
            let mut world = SimulatedWorld::new(SimulatedState::Down, has_health);
            random_requests(&mut world, rng, 0.3, ready + 20.0, WARM_REQUEST);
            world.set_state(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            world.assert_cold_starts(seed, &[(ColdReason::Boot, secs(0.0), secs(ready))]);
            assert_eq!(world.cold_requests(), 0, "{seed}: all were refused, so none waited");
            let BootTimes { port_open, healthy, first_token } = world.detector.boot_times();
            let off = port_open.unwrap().abs_diff(secs(ready));
            assert!(off <= secs(ready * 0.05).max(secs(0.05)), "{seed}");
            assert_eq!(healthy.is_some(), has_health);
            assert!(first_token >= port_open);
        }
    });
}

#[test]
fn a_boot_without_requests() {
    for_each_seed(|rng, seed| {
        let ready = rng.between(0.5, 300.0);
        let mut world = SimulatedWorld::new(SimulatedState::Down, false);
        world.set_state(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        world.assert_cold_starts(seed, &[(ColdReason::Boot, secs(0.0), secs(ready))]);
        let probes = world.probes;
        world.run(10_000.0);
        assert_eq!(world.probes, probes, "an idle server is not probed");
    });
}

#[test]
fn a_server_that_is_ready_at_the_start() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, true);
    random_requests(&mut world, &mut EvalRng::new(1), 0.3, 100.0, WARM_REQUEST);
    world.run(200.0);
    world.assert_cold_starts("", &[]);
    assert_eq!((world.probes, world.detector.boot_times()), (1, BootTimes::default()));
}

#[test]
fn a_boot_whose_port_opens_before_it_is_ready() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (open, load) = (rng.between(0.2, 10.0), rng.between(2.0, 100.0));
            let ready = open + load;
            let mut world = SimulatedWorld::new(SimulatedState::Down, has_health);
            random_requests(&mut world, rng, 0.1, ready + 20.0, WARM_REQUEST);
            world.set_state(open, SimulatedState::Loading, false);
            world.set_state(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            let ended = if has_health { secs(ready) } else { world.output_after(ready) };
            // Without a health path, only requests show when the server is ready.
            world.assert_cold_starts(seed, &[(ColdReason::Boot, secs(0.0), ended)]);
        }
    });
}

#[test]
fn a_boot_that_holds_requests() {
    for_each_seed(|rng, seed| {
        let (open, ready) = (rng.between(0.2, 5.0), rng.between(10.0, 100.0));
        let mut world = SimulatedWorld::new(SimulatedState::Down, true);
        random_requests(&mut world, rng, 0.1, ready + 20.0, WARM_REQUEST);
        world.set_state(open, SimulatedState::Holding, false);
        world.set_state(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        let ended = world.output_after(ready);
        world.assert_cold_starts(seed, &[(ColdReason::Boot, secs(0.0), ended)]);
        // The last failed probe was at most one pause, 4 % of the time so far, before the server was ready.
        let last_failed_from = secs(ready - (ready * 0.041).clamp(0.06, 2.1));
        for (arrived, _, cold) in &world.served {
            let is_cold = cold.is_some();
            assert!(is_cold || *arrived >= last_failed_from, "{seed}: {arrived:?} of {ready}");
            assert!(!is_cold || *arrived < secs(ready), "{seed}: {arrived:?} of {ready}");
        }
    });
}

#[test]
fn loading_reported_with_503() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (from, load) = (rng.between(5.0, 30.0), rng.between(2.0, 120.0));
            let ready = from + load;
            let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
            random_requests(&mut world, rng, 1.0, ready + 20.0, WARM_REQUEST);
            world.set_state(from, SimulatedState::Loading, false);
            world.set_state(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            let began = world.refused.iter().copied().min().unwrap();
            let ended = if has_health { secs(ready) } else { world.output_after(ready) };
            world.assert_cold_starts(seed, &[(ColdReason::Loading, began, ended)]);
        }
    });
}

#[test]
fn loading_after_the_client_gave_up() {
    for_each_seed(|rng, seed| {
        // The client doubles its pauses three times, and then gives up.
        let mut world = SimulatedWorld::new(SimulatedState::Loading, false);
        let mut at = 1.0;
        for _ in 0..4 {
            world.request(at, WARM_REQUEST);
            at = 1.0 + 2.0 * (at - 1.0) + rng.between(0.5, 1.0);
        }
        world.set_state(20.0, SimulatedState::Ready, false);
        world.request(500.0, WARM_REQUEST);
        world.run(600.0);
        let last = world.refused.iter().copied().max().unwrap();
        world.assert_cold_starts(seed, &[(ColdReason::Loading, secs(1.0), last)]);
        assert_eq!(world.cold_requests(), 0);
    });
}

#[test]
fn loading_reported_in_the_stream() {
    for_each_seed(|rng, seed| {
        let load = rng.between(1.0, 60.0);
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        world.request(5.0, ScriptedRequest { load, reports_loading: true, ..WARM_REQUEST });
        world.request(5.0 + 0.5 * load, WARM_REQUEST);
        world.run(200.0);
        world.assert_cold_starts(seed, &[(ColdReason::Loading, secs(5.0), secs(5.3 + load))]);
        assert_eq!(world.cold_requests(), 2);
    });
}

#[test]
fn load_time_reported_at_the_end() {
    for_each_seed(|rng, seed| {
        let load = rng.between(0.8, 60.0);
        let request = ScriptedRequest {
            warm_load: Some(rng.between(0.05, 0.12)),
            expected: baseline(0.3),
            ..WARM_REQUEST
        };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        // The first request, and one after an idle time. Others wait for the same load.
        let mut truth = Vec::new();
        for from in [5.0, 2000.0] {
            world.request(from, ScriptedRequest { load, decode: rng.between(0.5, 9.0), ..request });
            for _ in 0..3 {
                let at = from + rng.between(0.01, 0.5) * load;
                world.request(at, ScriptedRequest { decode: rng.between(0.5, 9.0), ..request });
            }
            sequential_requests(&mut world, rng, from + load + 100.0, 30, request);
            truth.push((ColdReason::ReportedLoad, secs(from), secs(from + load + 0.3)));
        }
        world.run(5000.0);
        world.assert_cold_starts(seed, &truth);
        assert_eq!(world.cold_requests(), 8, "{seed}");
    });
}

#[test]
fn slow_request_after_an_idle_unload() {
    for_each_seed(|rng, seed| {
        let load = rng.between(2.0, 60.0);
        let request = ScriptedRequest { expected: baseline(0.3), ..WARM_REQUEST };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = sequential_requests(&mut world, rng, 5.0, 40, request) + rng.between(70.0, 1000.0);
        world.request(at, ScriptedRequest { load, ..request });
        world.request(at + 0.5 * load, request);
        world.request(at + load + 30.0, request);
        world.run(5000.0);
        world.assert_cold_starts(seed, &[(ColdReason::Idle, secs(at), world.output_after(at))]);
        assert_eq!(
            world.cold_requests(),
            2,
            "{seed}: the first one, and the one that waited with it"
        );
    });
}

#[test]
fn restarted_under_load() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (crash, away) = (rng.between(10.0, 30.0), rng.between(1.0, 200.0));
            let ready = crash + away;
            let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
            random_requests(&mut world, rng, 1.0, ready + 20.0, WARM_REQUEST);
            world.request(crash - 0.2, ScriptedRequest { retry_after: Some(0.5), ..WARM_REQUEST });
            world.set_state(crash, SimulatedState::Down, true);
            world.set_state(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            world.assert_cold_starts(seed, &[(ColdReason::Restarted, secs(crash), secs(ready))]);
        }
    });
}

#[test]
fn a_restart_that_breaks_connections_before_it_refuses() {
    for_each_seed(|rng, seed| {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        world.request(9.0, WARM_REQUEST);
        world.break_one_request(10.0);
        // The port is still open for the next probe.
        world.set_state(10.2, SimulatedState::Down, false);
        let arrived = rng.between(10.3, 14.0);
        world.request(arrived, WARM_REQUEST);
        world.set_state(40.0, SimulatedState::Ready, false);
        world.request(60.0, WARM_REQUEST);
        world.run(100.0);
        world.assert_cold_starts(seed, &[(ColdReason::Restarted, secs(arrived), secs(40.0))]);
    });
}

#[test]
fn a_graceful_restart() {
    for_each_seed(|rng, seed| {
        let (stop, away) = (rng.between(10.0, 30.0), rng.between(5.0, 100.0));
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        random_requests(&mut world, rng, 1.0, stop + away + 20.0, WARM_REQUEST);
        world.request(stop - 0.1, ScriptedRequest { ttft: 4.0, ..WARM_REQUEST });
        world.set_state(stop, SimulatedState::Down, false);
        world.set_state(stop + away, SimulatedState::Ready, false);
        world.run(stop + away + 100.0);
        let began = world.refused.iter().copied().min().unwrap();
        world.assert_cold_starts(seed, &[(ColdReason::Unreachable, began, secs(stop + away))]);
    });
}

#[test]
fn a_stream_that_outlasts_a_restart_does_not_wait_for_it() {
    for has_health in [false, true] {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
        world.request(5.0, ScriptedRequest { decode: 200.0, ..WARM_REQUEST });
        world.set_state(10.0, SimulatedState::Down, false);
        world.request(11.0, WARM_REQUEST);
        world.set_state(40.0, SimulatedState::Ready, false);
        world.request(100.0, WARM_REQUEST);
        world.run(300.0);
        world.assert_cold_starts("", &[(ColdReason::Unreachable, secs(11.0), secs(40.0))]);
        assert_eq!(world.cold_requests(), 0);
    }
}

#[test]
fn a_boot_without_requests_does_not_count_for_a_later_request() {
    for_each_seed(|rng, seed| {
        for (idle, away) in [(2400.0, 120.0), (4000.0, 30.0)] {
            let arrived = idle + rng.between(0.0, 10.0);
            let mut world = SimulatedWorld::new(SimulatedState::Down, false);
            world.request(arrived, ScriptedRequest { retry_after: Some(3.0), ..WARM_REQUEST });
            world.set_state(arrived + away, SimulatedState::Ready, false);
            world.run(arrived);
            assert_eq!(
                world.detector.outage(secs(arrived)),
                None,
                "{seed}: without requests it is not an outage"
            );
            world.run(arrived + 1000.0);
            let truth = [(ColdReason::Unreachable, secs(arrived), secs(arrived + away))];
            world.assert_cold_starts(seed, &truth);
        }
    });
}

#[test]
fn an_outage_without_requests_does_not_count_for_a_later_request() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    world.set_state(10.0, SimulatedState::Down, false);
    world.request(11.0, WARM_REQUEST);
    world.run(3700.0);
    assert_eq!(world.detector.outage(secs(3700.0)), Some(secs(11.0)));
    world.request(5000.0, WARM_REQUEST);
    world.set_state(5060.0, SimulatedState::Ready, false);
    world.run(6000.0);
    world.assert_cold_starts("", &[(ColdReason::Unreachable, secs(5000.0), secs(5060.0))]);
}

#[test]
fn scale_to_zero_and_back() {
    for_each_seed(|rng, seed| {
        for retry_after in [None, Some(0.7)] {
            let (idle, away) = (rng.between(300.0, 3000.0), rng.between(1.0, 200.0));
            let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
            random_requests(&mut world, rng, 1.0, 50.0, WARM_REQUEST);
            world.set_state(200.0, SimulatedState::Down, false);
            let arrived = 200.0 + idle;
            world.request(arrived, ScriptedRequest { retry_after, ..WARM_REQUEST });
            world.set_state(arrived + away, SimulatedState::Ready, false);
            world.request(arrived + away + 100.0, WARM_REQUEST);
            world.run(arrived + away + 200.0);
            let truth = [(ColdReason::Unreachable, secs(arrived), secs(arrived + away))];
            world.assert_cold_starts(seed, &truth);
        }
    });
}

#[test]
fn an_outage_is_not_a_cold_start() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    world.set_state(10.0, SimulatedState::Down, false);
    world.request(11.0, ScriptedRequest { retry_after: Some(5.0), ..WARM_REQUEST });
    world.set_state(4000.0, SimulatedState::Ready, false);
    world.run(3000.0);
    assert_eq!(world.detector.outage(secs(3000.0)), None);
    world.run(3700.0);
    assert_eq!(world.detector.outage(secs(3700.0)), Some(secs(11.0)));
    assert_eq!(world.detector.outage(secs(3701.0)), None, "returned once");
    assert_eq!(world.detector.is_up(), Some(false));
    world.run(5000.0);
    world.assert_cold_starts("", &[]);
    assert_eq!(world.detector.is_up(), Some(true));
}

#[test]
fn a_slow_upload_is_not_a_slow_model() {
    for_each_seed(|rng, seed| {
        let request = ScriptedRequest { expected: baseline(0.3), ..WARM_REQUEST };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = sequential_requests(&mut world, rng, 5.0, 40, request) + 100.0;
        let upload = rng.between(5.0, 60.0);
        world.request(at, ScriptedRequest { upload, ttft: upload + 0.3, ..request });
        world.run(5000.0);
        world.assert_cold_starts(seed, &[]);
    });
}

#[test]
fn a_long_prefill_is_not_a_cold_start() {
    for_each_seed(|rng, seed| {
        let request =
            ScriptedRequest { expected: baseline(0.3), prefill: Some(0.25), ..WARM_REQUEST };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let mut at = sequential_requests(&mut world, rng, 5.0, 40, request) + 100.0;
        for _ in 0..5 {
            let ttft = rng.between(5.0, 30.0);
            world.request(at, ScriptedRequest { ttft, prefill: Some(0.9 * ttft), ..request });
            at += 1000.0;
        }
        // A load is not prefill. A request that waits for the same load is found cold once the first one has ended.
        let load = rng.between(5.0, 60.0);
        world.request(at, ScriptedRequest { load, decode: 1.0, ..request });
        world.request(at + 0.5 * load, ScriptedRequest { decode: 2.0, ..request });
        world.run(10_000.0);
        world.assert_cold_starts(seed, &[(ColdReason::Idle, secs(at), world.output_after(at))]);
        assert_eq!(world.cold_requests(), 2, "{seed}");
    });
}

#[test]
fn frequent_loads_do_not_become_usual() {
    for_each_seed(|rng, seed| {
        let request = ScriptedRequest { expected: baseline(0.3), ..WARM_REQUEST };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let mut at = sequential_requests(&mut world, rng, 5.0, 40, request);
        for _ in 0..60 {
            at += 100.0;
            world.request(at, ScriptedRequest { ttft: rng.between(5.0, 10.0), ..request });
            at = sequential_requests(&mut world, rng, at + 20.0, 3, request);
        }
        world.run(at + 100.0);
        assert_eq!(world.found.len(), 60, "{seed}: {:?}", world.found);
    });
}

#[test]
fn slow_but_warm_long_prompt() {
    for_each_seed(|rng, seed| {
        let request = ScriptedRequest { expected: baseline(0.3), ..WARM_REQUEST };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = sequential_requests(&mut world, rng, 5.0, 40, request) + 100.0;
        // By far the largest prompt, with a time that grows with its square.
        let longer = rng.between(3.0, 20.0);
        let bytes = (2000.0 * longer) as u64;
        world.request(at, ScriptedRequest { bytes, ttft: 0.3 * longer * longer, ..request });
        world.run(5000.0);
        world.assert_cold_starts(seed, &[]);
    });
}

#[test]
fn an_overloaded_server_is_not_cold() {
    for_each_seed(|rng, seed| {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        random_requests(
            &mut world,
            rng,
            1.0,
            300.0,
            ScriptedRequest { expected: baseline(0.3), ..WARM_REQUEST },
        );
        for _ in 0..40 {
            world.break_one_request(rng.between(10.0, 300.0));
        }
        // Connections of requests and of probes are not accepted in time.
        for _ in 0..5 {
            let at = rng.between(10.0, 250.0);
            world.set_state(at, SimulatedState::Unresponsive, false);
            world.set_state(at + rng.between(0.5, 8.0), SimulatedState::Ready, false);
        }
        world.run(1000.0);
        world.assert_cold_starts(seed, &[]);
        assert_eq!(world.detector.is_up(), Some(true));
        assert_eq!(world.cold_requests(), 0);
    });
}

/// What one model reports holds for all: the TTFT of the first request for a second model is not recorded as warm before the
/// end of its response has shown the load.
#[test]
fn the_first_request_for_a_second_model_is_decided_at_its_end() {
    let config = ColdStartConfig {
        idle: secs(60.0),
        outage: secs(3600.0),
        has_health: false,
        has_metrics_page: false,
    };
    let mut detector = ColdStartDetector::new(config, Duration::ZERO);
    let mut run = |at: f64, model: &str, ttft: f64, prefill: f64| {
        let request = detector.on_request(secs(at));
        let output = FirstOutput {
            at: secs(at + ttft),
            model,
            sent: Some(secs(at)),
            bytes: 100,
            is_stream: true,
            expected: None,
            reports_load: false,
        };
        let needs_end = detector.on_first_output(request, &output).needs_end;
        let reported = ReportedTimes { prefill: Some(prefill), ..ReportedTimes::default() };
        let reason = detector.on_response_end(request, &output, reported, None).reason;
        detector.on_request_end(request, model, secs(at + ttft + 1.0));
        (needs_end, reason)
    };
    assert_eq!(run(1.0, "a", 0.2, 0.19), (false, None));
    // A load of 1.5 s, before a prompt that takes longer.
    assert_eq!(run(10.0, "b", 4.0, 2.5), (true, Some(ColdReason::Swapped)));
    assert_eq!(run(20.0, "b", 2.5, 2.49), (false, None));
}
