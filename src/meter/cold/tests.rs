//! None is invented, and memory is bounded.

use super::world::{JOB, Job, Rng, Up, World, secs};
use super::*;

/// Warm requests whose TTFT has this distribution around 0.3 s, some after a pause that would let a model be
/// unloaded, with refusals, breaks and timeouts between them.
fn warm(seed: u64, requests: usize, ttft: impl Fn(&mut Rng) -> f64, log_spread: f64) {
    let mut rng = Rng(seed);
    let mut world = World::new(Up::Ready, false);
    let mut at = 1.0;
    let mut pauses = 0;
    for number in 0..requests {
        let expected =
            Expected { ttft: secs(0.3), log_spread, samples: number.min(400), largest_bytes: 2000 };
        let ttft = 0.3 * ttft(&mut rng);
        at += rng.exponential() * 0.4;
        if rng.unit() < 0.02 {
            at += rng.between(60.0, 1000.0);
            pauses += 1;
        }
        if rng.unit() < 0.01 {
            world.break_one(at);
        }
        if rng.unit() < 0.001 {
            world.become_(at, Up::Silent, false);
            world.become_(at + 3.0, Up::Ready, false);
        }
        let decode = rng.exponential();
        world.ask(at, Job { ttft, decode, expected: Some(expected), ..JOB });
        if number % 1000 == 0 {
            world.run(at);
        }
    }
    world.run(at + 1e6);
    assert!(pauses > requests / 100);
    world.assert_found(&format!("seed {seed}"), &[]);
    assert_eq!(world.cold_ones(), 0);
}

#[test]
fn none_is_invented_where_times_are_lognormal() {
    // Of ln TTFT the median deviation gives the standard deviation back: 1.
    warm(1, 100_000, |rng| rng.normal().exp(), 1.0);
}

#[test]
fn none_is_invented_where_times_have_a_power_law() {
    // Pareto, index 1.5, median 1; the median deviation of ln TTFT gives 0.476.
    warm(2, 100_000, |rng| (rng.exponential() / 1.5).exp() / 2f64.powf(1.0 / 1.5), 0.476);
}

#[test]
fn memory_is_bounded() {
    let config = ColdConfig { idle: secs(60.0), outage: secs(3600.0), has_health: false };
    let mut cold = ColdStarts::new(config, Duration::ZERO);
    for number in 0..10_000u32 {
        let at = Duration::from_secs(number.into());
        let model = format!("{number}{}", "\u{20ac}".repeat(200));
        let ask = cold.arrived(at);
        let output =
            Output { at, sent: None, model: &model, bytes: 1, expected: None, tells_load: true };
        cold.output(ask, &output);
        cold.told(ask, &output, Told { load: Some(0.1), prefill: None }, None);
        cold.left(ask, &model, at);
    }
    assert_eq!(cold.models.len(), MAX_MODELS);
    assert!(cold.models.keys().all(|name| name.len() <= MAX_NAME));
    assert!(cold.waiting.is_empty() && cold.in_flight == 0);
}

#[test]
fn a_load_that_no_wait_holds_is_none() {
    let config = ColdConfig { idle: secs(60.0), outage: secs(3600.0), has_health: false };
    let mut cold = ColdStarts::new(config, Duration::ZERO);
    for load in [5.0, f64::NAN, -1.0, 1e300] {
        let ask = cold.arrived(secs(1.0));
        let at = secs(1.4);
        let output =
            Output { at, sent: None, model: "m", bytes: 1, expected: None, tells_load: true };
        cold.output(ask, &output);
        let told = Told { load: Some(load), prefill: None };
        assert_eq!(cold.told(ask, &output, told, None), Verdict::default(), "{load}");
        cold.left(ask, "m", secs(2.0));
    }
}
