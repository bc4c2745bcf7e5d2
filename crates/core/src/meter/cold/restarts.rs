//! Situations in which the server's own page of metrics is asked for: each restart is found once, whoever met it.

use super::situations::{crowd, each_seed, one_by_one};
use super::world::{JOB, Rng, ScriptedRequest, ServerClock, SimulatedState, SimulatedWorld, secs};
use super::*;

/// A server that is up, whose page tells.
fn world(rng: &mut Rng, has_health: bool) -> SimulatedWorld {
    let clock = ServerClock::new(rng);
    SimulatedWorld::with_pages(SimulatedState::Ready, has_health, Some(clock))
}

#[test]
fn a_restart_that_nobody_met() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            let mut world = world(rng, has_health);
            one_by_one(&mut world, rng, 5.0, 40, JOB);
            // Between a request that is over and the next.
            let from = 5.0 + 10.0 * rng.between(3.0, 9.0).floor();
            let (down, up) = (from + rng.between(4.0, 6.0), from + rng.between(6.5, 9.5));
            world.become_(down, SimulatedState::Down, false);
            world.become_(up, SimulatedState::Ready, false);
            world.run(down);
            assert_eq!(world.unmet(), 0);
            world.run(up + 30.0);
            assert_eq!(world.unmet(), 1, "{seed}: {:?}", world.found);
            world.run(500.0);
            assert_eq!(world.unmet(), 1, "{seed}: told once");
            world.assert_found(seed, &[]);
            assert_eq!(world.cold_ones(), 0);
        }
    });
}

#[test]
fn a_restart_that_is_over_before_any_probe() {
    each_seed(|rng, seed| {
        let mut world = world(rng, false);
        crowd(&mut world, rng, 1.0, 100.0, JOB);
        let at = rng.between(20.0, 80.0);
        world.ask(at - 0.2, ScriptedRequest { again: Some(0.5), ..JOB });
        world.renew(at);
        world.break_one(at);
        world.run(200.0);
        world.assert_found(seed, &[]);
        assert_eq!(world.unmet(), 1, "{seed}: the break alone shows no restart");
    });
}

#[test]
fn a_restart_that_lets_streams_finish_is_told_by_the_page() {
    each_seed(|rng, seed| {
        for has_health in [false, true] {
            for tells in [false, true] {
                let mut world = world(rng, has_health);
                world.clock.as_mut().unwrap().tells = tells;
                let (stop, away) = (rng.between(10.0, 30.0), rng.between(5.0, 100.0));
                crowd(&mut world, rng, 1.0, stop + away + 60.0, JOB);
                world.ask(stop - 0.1, ScriptedRequest { ttft: 4.0, ..JOB });
                world.become_(stop, SimulatedState::Down, false);
                world.become_(stop + away, SimulatedState::Ready, false);
                world.run(stop + away + 100.0);
                let began = world.refused.iter().copied().min().unwrap();
                // A page that does not tell changes nothing.
                let reason = if tells { ColdReason::Restarted } else { ColdReason::Unreachable };
                world.assert_found(seed, &[(reason, began, secs(stop + away))]);
                assert_eq!(world.unmet(), 0, "{seed}: once");
            }
        }
    });
}

#[test]
fn a_restart_under_load_is_counted_once() {
    each_seed(|rng, seed| {
        let mut world = world(rng, false);
        let (crash, away) = (rng.between(10.0, 30.0), rng.between(1.0, 200.0));
        let ready = crash + away;
        crowd(&mut world, rng, 1.0, ready + 60.0, JOB);
        world.ask(crash - 0.2, ScriptedRequest { again: Some(0.5), ..JOB });
        world.become_(crash, SimulatedState::Down, true);
        world.become_(ready, SimulatedState::Ready, false);
        world.run(ready + 100.0);
        world.assert_found(seed, &[(ColdReason::Restarted, secs(crash), secs(ready))]);
        assert_eq!(world.unmet(), 0, "{seed}");
    });
}

#[test]
fn scaled_to_zero_and_back_is_no_restart_and_no_page_prevents_it() {
    each_seed(|rng, seed| {
        for again in [None, Some(0.7)] {
            let (idle, away) = (rng.between(300.0, 3000.0), rng.between(1.0, 200.0));
            let mut world = world(rng, false);
            crowd(&mut world, rng, 1.0, 50.0, JOB);
            world.run(100.0);
            let pages = world.pages;
            assert!((3..=6).contains(&pages), "{seed}: {pages}");
            world.become_(200.0, SimulatedState::Down, false);
            let asked = 200.0 + idle;
            world.ask(asked, ScriptedRequest { again, ..JOB });
            world.become_(asked + away, SimulatedState::Ready, false);
            world.run(asked - 1.0);
            assert_eq!(world.pages, pages, "{seed}: an idle server is not asked");
            world.ask(asked + away + 100.0, JOB);
            world.run(asked + away + 200.0);
            let truth = [(ColdReason::Unreachable, secs(asked), secs(asked + away))];
            world.assert_found(seed, &truth);
            assert_eq!(world.unmet(), 0, "{seed}");
        }
    });
}

#[test]
fn an_activator_that_holds_requests_is_no_restart() {
    each_seed(|rng, seed| {
        let mut world = world(rng, false);
        crowd(&mut world, rng, 1.0, 50.0, JOB);
        let asked = rng.between(120.0, 1000.0);
        world.become_(asked - 0.2, SimulatedState::Holding, false);
        world.renew(asked - 0.1);
        world.ask(asked, JOB);
        world.become_(asked + 20.0, SimulatedState::Ready, false);
        crowd(&mut world, rng, asked + 30.0, asked + 90.0, JOB);
        world.run(asked + 200.0);
        world.assert_found(seed, &[]);
        assert_eq!(world.unmet(), 0, "{seed}");
    });
}

#[test]
fn an_outage_or_a_boot_is_no_restart() {
    each_seed(|rng, seed| {
        let mut out = world(rng, false);
        crowd(&mut out, rng, 1.0, 9.0, JOB);
        out.become_(10.0, SimulatedState::Down, true);
        out.ask(11.0, ScriptedRequest { again: Some(5.0), ..JOB });
        out.become_(4000.0, SimulatedState::Ready, false);
        out.run(5000.0);
        out.assert_found(seed, &[]);
        assert_eq!(out.unmet(), 0, "{seed}");
        let clock = ServerClock::new(rng);
        let mut boot = SimulatedWorld::with_pages(SimulatedState::Down, false, Some(clock));
        crowd(&mut boot, rng, 1.0, 100.0, JOB);
        boot.become_(20.0, SimulatedState::Ready, false);
        boot.run(200.0);
        boot.assert_found(seed, &[(ColdReason::Boot, secs(0.0), secs(20.0))]);
        assert_eq!(boot.unmet(), 0, "{seed}");
    });
}

#[test]
fn several_servers_at_one_address_tell_nothing() {
    each_seed(|rng, seed| {
        let mut world = world(rng, false);
        world.clock.as_mut().unwrap().other = Some(rng.between(60.0, 1e5));
        crowd(&mut world, rng, 1.0, 300.0, JOB);
        world.run(400.0);
        assert_eq!((world.unmet(), world.cold.has_several_processes()), (0, true), "{seed}");
        assert_eq!(world.pages, 2, "{seed}: none is asked for any more");
        // What is met is found as without pages.
        crowd(&mut world, rng, 401.0, 500.0, JOB);
        world.become_(430.0, SimulatedState::Down, false);
        world.become_(450.0, SimulatedState::Ready, false);
        world.run(600.0);
        let began = world.refused.iter().copied().min().unwrap();
        world.assert_found(seed, &[(ColdReason::Unreachable, began, secs(450.0))]);
    });
}

#[test]
fn a_clock_that_is_set_is_no_restart() {
    each_seed(|rng, seed| {
        for step in [3600.0, -3600.0] {
            let mut world = world(rng, false);
            crowd(&mut world, rng, 1.0, 100.0, JOB);
            world.run(50.0);
            // Libraries that reckon the start from the time since boot move it too.
            world.clock.as_mut().unwrap().ahead += step;
            world.run(200.0);
            assert_eq!(world.unmet(), 0, "{seed}");
        }
    });
}
