//! Requests around the last sign of a server that is not ready: those before it are cold, those after it are warm.

use super::scenarios::for_each_seed;
use super::simulated_world::{ScriptedRequest, SimulatedState, SimulatedWorld, WARM_REQUEST, secs};

/// docs/definitions.md: a request is cold only if it arrived before the last sign of a server that is not ready.
#[test]
fn a_request_after_the_last_loading_response_is_warm() {
    for_each_seed(|rng, seed| {
        for has_health in [false, true] {
            let mut world = SimulatedWorld::new(SimulatedState::Ready, has_health);
            world.request(1.0, WARM_REQUEST);
            world.set_state(10.0, SimulatedState::Down, false);
            // Refused.
            world.request(11.0, WARM_REQUEST);
            world.set_state(12.0, SimulatedState::Loading, false);
            // A loading response each time.
            let last = rng.between(18.0, 19.9);
            [13.0, 15.5, last].into_iter().for_each(|at| world.request(at, WARM_REQUEST));
            world.set_state(20.0, SimulatedState::Ready, false);
            let warm = rng.between(20.4, 21.0);
            for at in [warm, warm + 0.01, warm + 0.05] {
                world.request(at, ScriptedRequest { ttft: rng.between(0.2, 3.0), ..WARM_REQUEST });
            }
            world.run(100.0);
            assert_eq!(world.found.len(), 1, "{seed}: {:?}", world.found);
            assert_eq!(world.served.len(), 4, "{seed}");
            assert_eq!(world.cold_requests(), 0, "{seed}, health {has_health}: {:?}", world.served);
        }
    });
}

/// Requests that the server holds while it is not ready are cold, and those that arrive later are not.
#[test]
fn held_requests_are_cold_up_to_the_last_failed_probe() {
    for_each_seed(|rng, seed| {
        let mut world = SimulatedWorld::new(SimulatedState::Ready, true);
        world.request(1.0, WARM_REQUEST);
        world.set_state(10.0, SimulatedState::Down, false);
        world.request(11.0, WARM_REQUEST);
        world.set_state(12.0, SimulatedState::Holding, false);
        [13.0, 14.0, 15.0].into_iter().for_each(|at| world.request(at, WARM_REQUEST));
        world.set_state(20.0, SimulatedState::Ready, false);
        // Readiness is found within 4 %.
        for at in [20.7, 21.5] {
            world.request(at, ScriptedRequest { ttft: rng.between(0.1, 3.0), ..WARM_REQUEST });
        }
        world.run(100.0);
        let cold: Vec<_> =
            world.served.iter().filter(|one| one.2.is_some()).map(|one| one.0).collect();
        assert_eq!(cold, [13.0, 14.0, 15.0].map(secs), "{seed}");
    });
}
