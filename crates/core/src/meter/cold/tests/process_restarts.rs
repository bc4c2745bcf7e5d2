//! Servers whose metrics page is read: each restart is found once, whether a request met it or not.

use super::super::*;
use super::evaluation::rng::EvalRng;
use super::scenarios::{for_each_seed, random_requests, sequential_requests};
use super::simulated_world::{
    ScriptedRequest, ServerClock, SimulatedState, SimulatedWorld, WARM_REQUEST, secs,
};

/// A ready server whose metrics page has a start time.
fn world(rng: &mut EvalRng, has_health: bool) -> SimulatedWorld {
    let clock = ServerClock::new(rng);
    SimulatedWorld::with_metrics_page(SimulatedState::Ready, has_health, Some(clock))
}

#[test]
fn a_restart_between_two_requests() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let mut world = world(rng, has_health);
            sequential_requests(&mut world, rng, 5.0, 40, WARM_REQUEST);
            // Between the end of a request and the next one.
            let from = 5.0 + 10.0 * rng.between(3.0, 9.0).floor();
            let (down, up) = (from + rng.between(4.0, 6.0), from + rng.between(6.5, 9.5));
            world.set_state(down, SimulatedState::Down, false);
            world.set_state(up, SimulatedState::Ready, false);
            world.run(down);
            assert_eq!(world.unmet_restarts(), 0);
            world.run(up + 30.0);
            assert_eq!(world.unmet_restarts(), 1, "{seed}: {:?}", world.found);
            world.run(500.0);
            assert_eq!(world.unmet_restarts(), 1, "{seed}: returned once");
            world.assert_cold_starts(seed, &[]);
            assert_eq!(world.cold_requests(), 0);
        }
    });
}

#[test]
fn a_restart_that_ends_before_the_first_probe() {
    for_each_seed(|rng, seed| {
        let mut world = world(rng, false);
        random_requests(&mut world, rng, 1.0, 100.0, WARM_REQUEST);
        let at = rng.between(20.0, 80.0);
        world.request(at - 0.2, ScriptedRequest { retry_after: Some(0.5), ..WARM_REQUEST });
        world.replace_process(at);
        world.break_one_request(at);
        world.run(200.0);
        world.assert_cold_starts(seed, &[]);
        assert_eq!(
            world.unmet_restarts(),
            1,
            "{seed}: a broken connection alone does not show a restart"
        );
    });
}

#[test]
fn a_graceful_restart_is_found_by_the_metrics_page() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            for has_start_time in [false, true] {
                let mut world = world(rng, has_health);
                world.clock.as_mut().unwrap().has_start_time = has_start_time;
                let (stop, away) = (rng.between(10.0, 30.0), rng.between(5.0, 100.0));
                random_requests(&mut world, rng, 1.0, stop + away + 60.0, WARM_REQUEST);
                world.request(stop - 0.1, ScriptedRequest { ttft: 4.0, ..WARM_REQUEST });
                world.set_state(stop, SimulatedState::Down, false);
                world.set_state(stop + away, SimulatedState::Ready, false);
                world.run(stop + away + 100.0);
                let began = world.refused.iter().copied().min().unwrap();
                // Without a start time, the page changes nothing.
                let reason =
                    if has_start_time { ColdReason::Restarted } else { ColdReason::Unreachable };
                world.assert_cold_starts(seed, &[(reason, began, secs(stop + away))]);
                assert_eq!(world.unmet_restarts(), 0, "{seed}: once");
            }
        }
    });
}

#[test]
fn a_restart_under_load_is_counted_once() {
    for_each_seed(|rng, seed| {
        let mut world = world(rng, false);
        let (crash, away) = (rng.between(10.0, 30.0), rng.between(1.0, 200.0));
        let ready = crash + away;
        random_requests(&mut world, rng, 1.0, ready + 60.0, WARM_REQUEST);
        world.request(crash - 0.2, ScriptedRequest { retry_after: Some(0.5), ..WARM_REQUEST });
        world.set_state(crash, SimulatedState::Down, true);
        world.set_state(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        world.assert_cold_starts(seed, &[(ColdReason::Restarted, secs(crash), secs(ready))]);
        assert_eq!(world.unmet_restarts(), 0, "{seed}");
    });
}

#[test]
fn scale_to_zero_is_not_a_restart_and_pages_do_not_prevent_it() {
    for_each_seed(|rng, seed| {
        for retry_after in [None, Some(0.7)] {
            let (idle, away) = (rng.between(300.0, 3000.0), rng.between(1.0, 200.0));
            let mut world = world(rng, false);
            random_requests(&mut world, rng, 1.0, 50.0, WARM_REQUEST);
            world.run(100.0);
            let pages = world.pages;
            assert!((3..=6).contains(&pages), "{seed}: {pages}");
            world.set_state(200.0, SimulatedState::Down, false);
            let arrived = 200.0 + idle;
            world.request(arrived, ScriptedRequest { retry_after, ..WARM_REQUEST });
            world.set_state(arrived + away, SimulatedState::Ready, false);
            world.run(arrived - 1.0);
            assert_eq!(world.pages, pages, "{seed}: an idle server is not probed");
            world.request(arrived + away + 100.0, WARM_REQUEST);
            world.run(arrived + away + 200.0);
            let truth = [(ColdReason::Unreachable, secs(arrived), secs(arrived + away))];
            world.assert_cold_starts(seed, &truth);
            assert_eq!(world.unmet_restarts(), 0, "{seed}");
        }
    });
}

#[test]
fn an_activator_that_holds_requests_is_not_a_restart() {
    for_each_seed(|rng, seed| {
        let mut world = world(rng, false);
        random_requests(&mut world, rng, 1.0, 50.0, WARM_REQUEST);
        let arrived = rng.between(120.0, 1000.0);
        world.set_state(arrived - 0.2, SimulatedState::Holding, false);
        world.replace_process(arrived - 0.1);
        world.request(arrived, WARM_REQUEST);
        world.set_state(arrived + 20.0, SimulatedState::Ready, false);
        random_requests(&mut world, rng, arrived + 30.0, arrived + 90.0, WARM_REQUEST);
        world.run(arrived + 200.0);
        world.assert_cold_starts(seed, &[]);
        assert_eq!(world.unmet_restarts(), 0, "{seed}");
    });
}

#[test]
fn an_outage_or_a_boot_is_not_a_restart() {
    for_each_seed(|rng, seed| {
        let mut out = world(rng, false);
        random_requests(&mut out, rng, 1.0, 9.0, WARM_REQUEST);
        out.set_state(10.0, SimulatedState::Down, true);
        out.request(11.0, ScriptedRequest { retry_after: Some(5.0), ..WARM_REQUEST });
        out.set_state(4000.0, SimulatedState::Ready, false);
        out.run(5000.0);
        out.assert_cold_starts(seed, &[]);
        assert_eq!(out.unmet_restarts(), 0, "{seed}");
        let clock = ServerClock::new(rng);
        let mut boot = SimulatedWorld::with_metrics_page(SimulatedState::Down, false, Some(clock));
        random_requests(&mut boot, rng, 1.0, 100.0, WARM_REQUEST);
        boot.set_state(20.0, SimulatedState::Ready, false);
        boot.run(200.0);
        boot.assert_cold_starts(seed, &[(ColdReason::Boot, secs(0.0), secs(20.0))]);
        assert_eq!(boot.unmet_restarts(), 0, "{seed}");
    });
}

#[test]
fn pages_of_several_servers_at_one_address_are_not_used() {
    for_each_seed(|rng, seed| {
        let mut world = world(rng, false);
        world.clock.as_mut().unwrap().second_server_age = Some(rng.between(60.0, 1e5));
        random_requests(&mut world, rng, 1.0, 300.0, WARM_REQUEST);
        world.run(400.0);
        assert_eq!(
            (world.unmet_restarts(), world.detector.has_several_processes()),
            (0, true),
            "{seed}"
        );
        assert_eq!(world.pages, 2, "{seed}: no further page is requested");
        // Cold starts that requests meet are found without pages.
        random_requests(&mut world, rng, 401.0, 500.0, WARM_REQUEST);
        world.set_state(430.0, SimulatedState::Down, false);
        world.set_state(450.0, SimulatedState::Ready, false);
        world.run(600.0);
        let began = world.refused.iter().copied().min().unwrap();
        world.assert_cold_starts(seed, &[(ColdReason::Unreachable, began, secs(450.0))]);
    });
}

#[test]
fn setting_the_clock_is_not_a_restart() {
    for_each_seed(|rng, seed| {
        for step in [3600.0, -3600.0] {
            let mut world = world(rng, false);
            random_requests(&mut world, rng, 1.0, 100.0, WARM_REQUEST);
            world.run(50.0);
            // Libraries that derive the start time from the uptime move it with the clock.
            world.clock.as_mut().unwrap().offset += step;
            world.run(200.0);
            assert_eq!(world.unmet_restarts(), 0, "{seed}");
        }
    });
}
