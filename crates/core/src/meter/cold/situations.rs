//! Situations in which a server is not ready, or only seems so: each cold start is found once.

use super::world::{JOB, Rng, ScriptedRequest, SimulatedState, SimulatedWorld, secs};
use super::*;

/// Runs a situation with twenty seeds.
pub(super) fn each_seed(situation: impl Fn(&mut Rng, &str)) {
    (0..20).for_each(|seed| situation(&mut Rng(seed * 7919 + 1), &format!("seed {seed}")));
}

/// Clients of a server that come by chance, some two a second, and ask again when refused.
pub(super) fn crowd(
    world: &mut SimulatedWorld,
    rng: &mut Rng,
    from: f64,
    to: f64,
    job: ScriptedRequest,
) {
    let mut at = from;
    loop {
        at += rng.exponential() * 0.5;
        if at >= to {
            return;
        }
        world.ask(
            at,
            ScriptedRequest {
                again: Some(rng.between(0.2, 1.0)),
                ttft: rng.between(0.1, 0.5),
                ..job
            },
        );
    }
}

fn baseline(ttft: f64) -> Option<ExpectedTtft> {
    Some(ExpectedTtft { ttft: secs(ttft), log_spread: 0.1, samples: 40, largest_bytes: 2000 })
}

/// Warm requests one by one, ten seconds apart.
pub(super) fn one_by_one(
    world: &mut SimulatedWorld,
    rng: &mut Rng,
    from: f64,
    count: usize,
    job: ScriptedRequest,
) -> f64 {
    for at in 0..count {
        let ttft = job.ttft * (0.1 * rng.normal()).exp();
        world.ask(from + 10.0 * at as f64, ScriptedRequest { ttft, ..job });
    }
    from + 10.0 * count as f64
}

#[test]
fn refused_then_ready() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            let ready = rng.between(0.5, 300.0);
            let mut world = SimulatedWorld::new(SimulatedState::Down, has_health);
            crowd(&mut world, rng, 0.3, ready + 20.0, JOB);
            world.become_(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            world.assert_found(seed, &[(ColdReason::Boot, secs(0.0), secs(ready))]);
            assert_eq!(world.cold_ones(), 0, "{seed}: nobody waited, all were refused");
            let BootTimes { port_open, healthy, first_token } = world.cold.boot_times();
            let off = port_open.unwrap().abs_diff(secs(ready));
            assert!(off <= secs(ready * 0.05).max(secs(0.05)), "{seed}");
            assert_eq!(healthy.is_some(), has_health);
            assert!(first_token >= port_open);
        }
    });
}

#[test]
fn nobody_asks_a_server_that_boots() {
    each_seed(|rng, seed| {
        let ready = rng.between(0.5, 300.0);
        let mut world = SimulatedWorld::new(SimulatedState::Down, false);
        world.become_(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        world.assert_found(seed, &[(ColdReason::Boot, secs(0.0), secs(ready))]);
        let probes = world.probes;
        world.run(10_000.0);
        assert_eq!(world.probes, probes, "an idle server is not probed");
    });
}

#[test]
fn a_server_that_was_there_before_us() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, true);
    crowd(&mut world, &mut Rng(1), 0.3, 100.0, JOB);
    world.run(200.0);
    world.assert_found("", &[]);
    assert_eq!((world.probes, world.cold.boot_times()), (1, BootTimes::default()));
}

#[test]
fn a_boot_whose_port_opens_before_it_is_ready() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (open, load) = (rng.between(0.2, 10.0), rng.between(2.0, 100.0));
            let ready = open + load;
            let mut world = SimulatedWorld::new(SimulatedState::Down, has_health);
            crowd(&mut world, rng, 0.1, ready + 20.0, JOB);
            world.become_(open, SimulatedState::Loading, false);
            world.become_(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            let ended = if has_health { secs(ready) } else { world.output_after(ready) };
            // Without a health path those who ask tell when it is ready.
            world.assert_found(seed, &[(ColdReason::Boot, secs(0.0), ended)]);
        }
    });
}

#[test]
fn a_boot_that_holds_requests() {
    each_seed(|rng, seed| {
        let (open, ready) = (rng.between(0.2, 5.0), rng.between(10.0, 100.0));
        let mut world = SimulatedWorld::new(SimulatedState::Down, true);
        crowd(&mut world, rng, 0.1, ready + 20.0, JOB);
        world.become_(open, SimulatedState::Holding, false);
        world.become_(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        let ended = world.output_after(ready);
        world.assert_found(seed, &[(ColdReason::Boot, secs(0.0), ended)]);
        for (asked, _, cold) in &world.served {
            assert_eq!(cold.is_some(), *asked < ended, "{seed}");
        }
    });
}

#[test]
fn loading_refused_with_503() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (from, load) = (rng.between(5.0, 30.0), rng.between(2.0, 120.0));
            let ready = from + load;
            let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
            crowd(&mut world, rng, 1.0, ready + 20.0, JOB);
            world.become_(from, SimulatedState::Loading, false);
            world.become_(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            let began = world.refused.iter().copied().min().unwrap();
            let ended = if has_health { secs(ready) } else { world.output_after(ready) };
            world.assert_found(seed, &[(ColdReason::Loading, began, ended)]);
        }
    });
}

#[test]
fn loading_that_nobody_waits_for() {
    each_seed(|rng, seed| {
        // The client doubles its pauses three times, and then gives up.
        let mut world = SimulatedWorld::new(SimulatedState::Loading, false);
        let mut at = 1.0;
        for _ in 0..4 {
            world.ask(at, JOB);
            at = 1.0 + 2.0 * (at - 1.0) + rng.between(0.5, 1.0);
        }
        world.become_(20.0, SimulatedState::Ready, false);
        world.ask(500.0, JOB);
        world.run(600.0);
        let last = world.refused.iter().copied().max().unwrap();
        world.assert_found(seed, &[(ColdReason::Loading, secs(1.0), last)]);
        assert_eq!(world.cold_ones(), 0);
    });
}

#[test]
fn loading_told_in_the_stream() {
    each_seed(|rng, seed| {
        let load = rng.between(1.0, 60.0);
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        world.ask(5.0, ScriptedRequest { load, says: true, ..JOB });
        world.ask(5.0 + 0.5 * load, JOB);
        world.run(200.0);
        world.assert_found(seed, &[(ColdReason::Loading, secs(5.0), secs(5.3 + load))]);
        assert_eq!(world.cold_ones(), 2);
    });
}

#[test]
fn a_load_that_is_told_at_the_end() {
    each_seed(|rng, seed| {
        let load = rng.between(0.8, 60.0);
        let job = ScriptedRequest {
            tells: Some(rng.between(0.05, 0.12)),
            expected: baseline(0.3),
            ..JOB
        };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        // The first request ever, and one after idleness; others wait on the same load.
        let mut truth = Vec::new();
        for from in [5.0, 2000.0] {
            world.ask(from, ScriptedRequest { load, decode: rng.between(0.5, 9.0), ..job });
            for _ in 0..3 {
                let at = from + rng.between(0.01, 0.5) * load;
                world.ask(at, ScriptedRequest { decode: rng.between(0.5, 9.0), ..job });
            }
            one_by_one(&mut world, rng, from + load + 100.0, 30, job);
            truth.push((ColdReason::ReportedLoad, secs(from), secs(from + load + 0.3)));
        }
        world.run(5000.0);
        world.assert_found(seed, &truth);
        assert_eq!(world.cold_ones(), 8, "{seed}");
    });
}

#[test]
fn idle_unload_then_slow() {
    each_seed(|rng, seed| {
        let load = rng.between(2.0, 60.0);
        let job = ScriptedRequest { expected: baseline(0.3), ..JOB };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = one_by_one(&mut world, rng, 5.0, 40, job) + rng.between(70.0, 1000.0);
        world.ask(at, ScriptedRequest { load, ..job });
        world.ask(at + 0.5 * load, job);
        world.ask(at + load + 30.0, job);
        world.run(5000.0);
        world.assert_found(seed, &[(ColdReason::Idle, secs(at), world.output_after(at))]);
        assert_eq!(world.cold_ones(), 2, "{seed}: the one, and who waited with it");
    });
}

#[test]
fn restarted_under_load() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            let (crash, away) = (rng.between(10.0, 30.0), rng.between(1.0, 200.0));
            let ready = crash + away;
            let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
            crowd(&mut world, rng, 1.0, ready + 20.0, JOB);
            world.ask(crash - 0.2, ScriptedRequest { again: Some(0.5), ..JOB });
            world.become_(crash, SimulatedState::Down, true);
            world.become_(ready, SimulatedState::Ready, false);
            world.run(ready + 100.0);
            world.assert_found(seed, &[(ColdReason::Restarted, secs(crash), secs(ready))]);
        }
    });
}

#[test]
fn a_restart_that_breaks_before_it_refuses() {
    each_seed(|rng, seed| {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        world.ask(9.0, JOB);
        world.break_one(10.0);
        // The probe that follows finds it listening still.
        world.become_(10.2, SimulatedState::Down, false);
        let asked = rng.between(10.3, 14.0);
        world.ask(asked, JOB);
        world.become_(40.0, SimulatedState::Ready, false);
        world.ask(60.0, JOB);
        world.run(100.0);
        world.assert_found(seed, &[(ColdReason::Restarted, secs(asked), secs(40.0))]);
    });
}

#[test]
fn a_restart_that_lets_streams_finish() {
    each_seed(|rng, seed| {
        let (stop, away) = (rng.between(10.0, 30.0), rng.between(5.0, 100.0));
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        crowd(&mut world, rng, 1.0, stop + away + 20.0, JOB);
        world.ask(stop - 0.1, ScriptedRequest { ttft: 4.0, ..JOB });
        world.become_(stop, SimulatedState::Down, false);
        world.become_(stop + away, SimulatedState::Ready, false);
        world.run(stop + away + 100.0);
        let began = world.refused.iter().copied().min().unwrap();
        world.assert_found(seed, &[(ColdReason::Unreachable, began, secs(stop + away))]);
    });
}

#[test]
fn a_stream_that_outlasts_a_restart_does_not_wait_for_it() {
    for has_health in [false, true] {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
        world.ask(5.0, ScriptedRequest { decode: 200.0, ..JOB });
        world.become_(10.0, SimulatedState::Down, false);
        world.ask(11.0, JOB);
        world.become_(40.0, SimulatedState::Ready, false);
        world.ask(100.0, JOB);
        world.run(300.0);
        world.assert_found("", &[(ColdReason::Unreachable, secs(11.0), secs(40.0))]);
        assert_eq!(world.cold_ones(), 0);
    }
}

#[test]
fn a_boot_that_nobody_asked_for_is_not_that_of_who_asks_later() {
    each_seed(|rng, seed| {
        for (idle, away) in [(2400.0, 120.0), (4000.0, 30.0)] {
            let asked = idle + rng.between(0.0, 10.0);
            let mut world = SimulatedWorld::new(SimulatedState::Down, false);
            world.ask(asked, ScriptedRequest { again: Some(3.0), ..JOB });
            world.become_(asked + away, SimulatedState::Ready, false);
            world.run(asked);
            assert_eq!(world.cold.outage(secs(asked)), None, "{seed}: nobody missed it");
            world.run(asked + 1000.0);
            let truth = [(ColdReason::Unreachable, secs(asked), secs(asked + away))];
            world.assert_found(seed, &truth);
        }
    });
}

#[test]
fn an_outage_that_everybody_left_is_over() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    world.become_(10.0, SimulatedState::Down, false);
    world.ask(11.0, JOB);
    world.run(3700.0);
    assert_eq!(world.cold.outage(secs(3700.0)), Some(secs(11.0)));
    world.ask(5000.0, JOB);
    world.become_(5060.0, SimulatedState::Ready, false);
    world.run(6000.0);
    world.assert_found("", &[(ColdReason::Unreachable, secs(5000.0), secs(5060.0))]);
}

#[test]
fn scaled_to_zero_and_back() {
    each_seed(|rng, seed| {
        for again in [None, Some(0.7)] {
            let (idle, away) = (rng.between(300.0, 3000.0), rng.between(1.0, 200.0));
            let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
            crowd(&mut world, rng, 1.0, 50.0, JOB);
            world.become_(200.0, SimulatedState::Down, false);
            let asked = 200.0 + idle;
            world.ask(asked, ScriptedRequest { again, ..JOB });
            world.become_(asked + away, SimulatedState::Ready, false);
            world.ask(asked + away + 100.0, JOB);
            world.run(asked + away + 200.0);
            let truth = [(ColdReason::Unreachable, secs(asked), secs(asked + away))];
            world.assert_found(seed, &truth);
        }
    });
}

#[test]
fn an_outage_is_no_cold_start() {
    let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
    world.become_(10.0, SimulatedState::Down, false);
    world.ask(11.0, ScriptedRequest { again: Some(5.0), ..JOB });
    world.become_(4000.0, SimulatedState::Ready, false);
    world.run(3000.0);
    assert_eq!(world.cold.outage(secs(3000.0)), None);
    world.run(3700.0);
    assert_eq!(world.cold.outage(secs(3700.0)), Some(secs(11.0)));
    assert_eq!(world.cold.outage(secs(3701.0)), None, "told once");
    assert_eq!(world.cold.is_up(), Some(false));
    world.run(5000.0);
    world.assert_found("", &[]);
    assert_eq!(world.cold.is_up(), Some(true));
}

#[test]
fn a_slow_upload_is_not_the_models() {
    each_seed(|rng, seed| {
        let job = ScriptedRequest { expected: baseline(0.3), ..JOB };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = one_by_one(&mut world, rng, 5.0, 40, job) + 100.0;
        let upload = rng.between(5.0, 60.0);
        world.ask(at, ScriptedRequest { upload, ttft: upload + 0.3, ..job });
        world.run(5000.0);
        world.assert_found(seed, &[]);
    });
}

#[test]
fn a_prompt_without_a_cached_prefix_is_told_by_its_prefill() {
    each_seed(|rng, seed| {
        let job = ScriptedRequest { expected: baseline(0.3), prefill: Some(0.25), ..JOB };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let mut at = one_by_one(&mut world, rng, 5.0, 40, job) + 100.0;
        for _ in 0..5 {
            let ttft = rng.between(5.0, 30.0);
            world.ask(at, ScriptedRequest { ttft, prefill: Some(0.9 * ttft), ..job });
            at += 1000.0;
        }
        // A load is none of the prompt; who waits for it too is known if that one has ended.
        let load = rng.between(5.0, 60.0);
        world.ask(at, ScriptedRequest { load, decode: 1.0, ..job });
        world.ask(at + 0.5 * load, ScriptedRequest { decode: 2.0, ..job });
        world.run(10_000.0);
        world.assert_found(seed, &[(ColdReason::Idle, secs(at), world.output_after(at))]);
        assert_eq!(world.cold_ones(), 2, "{seed}");
    });
}

#[test]
fn what_is_slow_again_and_again_is_unlearned() {
    each_seed(|rng, seed| {
        let job = ScriptedRequest { expected: baseline(0.3), ..JOB };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let mut at = one_by_one(&mut world, rng, 5.0, 40, job);
        for _ in 0..30 {
            at += 100.0;
            world.ask(at, ScriptedRequest { ttft: rng.between(5.0, 10.0), ..job });
            at = one_by_one(&mut world, rng, at + 20.0, 5, job);
        }
        world.run(at + 100.0);
        assert_eq!(world.found.len(), 17, "{seed}: {:?}", world.found);
    });
}

#[test]
fn slow_but_warm_long_prompt() {
    each_seed(|rng, seed| {
        let job = ScriptedRequest { expected: baseline(0.3), ..JOB };
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        let at = one_by_one(&mut world, rng, 5.0, 40, job) + 100.0;
        // The largest prompt by far, whose time has grown with its square.
        let longer = rng.between(3.0, 20.0);
        let bytes = (2000.0 * longer) as u64;
        world.ask(at, ScriptedRequest { bytes, ttft: 0.3 * longer * longer, ..job });
        // Long, and its baseline knows it.
        world.ask(at + 1000.0, ScriptedRequest { ttft: 30.0, expected: baseline(25.0), ..job });
        world.run(5000.0);
        world.assert_found(seed, &[]);
    });
}

#[test]
fn overload() {
    each_seed(|rng, seed| {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, false);
        crowd(&mut world, rng, 1.0, 300.0, ScriptedRequest { expected: baseline(0.3), ..JOB });
        for _ in 0..40 {
            world.break_one(rng.between(10.0, 300.0));
        }
        // Connections are not accepted in time, nor are those of the probes.
        for _ in 0..5 {
            let at = rng.between(10.0, 250.0);
            world.become_(at, SimulatedState::Silent, false);
            world.become_(at + rng.between(0.5, 8.0), SimulatedState::Ready, false);
        }
        world.run(1000.0);
        world.assert_found(seed, &[]);
        assert_eq!(world.cold.is_up(), Some(true));
        assert_eq!(world.cold_ones(), 0);
    });
}
