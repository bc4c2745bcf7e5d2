use super::*;
use streamgauge_sim::rng::SplitMix64;

/// Approximately standard normal.
fn normal(random: &mut SplitMix64) -> f64 {
    (0..12).map(|_| random.unit()).sum::<f64>() - 6.0
}

fn seen(values: &[(i16, f64)]) -> Vec<SizedValue> {
    values.iter().map(|&(size_class, value)| SizedValue { size_class, value }).collect()
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6 * expected.abs().max(1e-3)
}

#[test]
fn quantiles_with_equal_weights_follow_hazens_rule() {
    let values: Vec<(i16, f64)> = (1..=100).rev().map(|value| (0, f64::from(value))).collect();
    let (side, _) = weight_equally(&seen(&values), &seen(&values));
    // R's quantile(1:100, c(0, .1, .5, .9, 1), type = 5).
    for (p, expected) in [(0.0, 1.0), (0.1, 10.5), (0.5, 50.5), (0.9, 90.5), (1.0, 100.0)] {
        assert!(close(side.value_at(p).unwrap(), expected), "{p}");
    }
}

#[test]
fn different_mixes_of_sizes_give_equal_quantiles() {
    // Two sizes with the same values on both sides, mixed 40 to 10 and 10 to 40.
    let mix = |small: usize, large: usize| {
        let values = |size_class, base: f64, count: usize| {
            (0..count).map(move |at| (size_class, base + (at % 10) as f64))
        };
        values(1, 10.0, small).chain(values(2, 100.0, large)).collect::<Vec<_>>()
    };
    let (a, b) = weight_equally(&seen(&mix(40, 10)), &seen(&mix(10, 40)));
    for p in [0.1, 0.4, 0.6, 0.9] {
        let (a, b) = (a.value_at(p).unwrap(), b.value_at(p).unwrap());
        assert!((a - b).abs() < 1.0, "{p}: {a} {b}");
    }
    // A class with fewer than five requests on one side is excluded.
    let (a, b) = weight_equally(&seen(&mix(40, 10)), &seen(&mix(40, 4)));
    assert_eq!((a.len(), b.len(), a.size_classes()), (40, 40, 1));
    assert!(weight_equally(&[], &seen(&mix(40, 4))).0.quantile(0.5).is_none());
}

#[test]
fn variance_is_estimated_from_blocks() {
    // Parts that cancel within each block.
    let even: Vec<f64> = (0..100).map(|at| if at % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(variance_of_sum(&even), 0.0);
    // Ten blocks with the sums 10, -10, 10...: ten squares of 100, times 10 / 9.
    let slow: Vec<f64> = (0..100).map(|at| if at / 10 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert!(close(variance_of_sum(&slow), 1000.0 * 10.0 / 9.0));
}

#[test]
fn intervals_of_differences_and_ratios() {
    let a = ConfidenceInterval { low: 8.0, value: 10.0, high: 13.0 };
    let b = ConfidenceInterval { low: 16.0, value: 20.0, high: 23.0 };
    // sqrt(4^2 + 3^2) below, sqrt(3^2 + 2^2) above.
    let both = difference(a, b);
    assert!(close(both.low, 5.0) && close(both.high, 10.0 + 13_f64.sqrt()), "{both:?}");
    let both = ratio(a, b).unwrap();
    assert!(close(both.value, 2.0) && both.low < 2.0 && both.high > 2.0, "{both:?}");
    let (there, back) = (ratio(a, b).unwrap(), ratio(b, a).unwrap());
    assert!(close(there.low * back.high, 1.0) && close(there.high * back.low, 1.0));
    assert_eq!(ratio(ConfidenceInterval { low: 0.0, ..a }, b), None);
}

/// Newcombe 1998, table II: 56/70 less 48/80, by method 10 from 0.0524 to 0.3339.
#[test]
fn proportions_have_newcombes_intervals() {
    // Evenly spread over the blocks.
    let holds = |count: usize, n: usize| -> Vec<bool> {
        (0..n).map(|at| (at + 1) * count / n > at * count / n).collect()
    };
    let (a, b) = (proportion(&holds(48, 80)).unwrap(), proportion(&holds(56, 70)).unwrap());
    let both = difference(a, b);
    assert!((both.value - 0.2).abs() < 1e-9);
    assert!((both.low - 0.0524).abs() < 5e-5 && (both.high - 0.3339).abs() < 5e-5, "{both:?}");
    let none = proportion(&[false; 100]).unwrap();
    assert!(none.low == 0.0 && (none.high - 0.037).abs() < 0.001, "{none:?}");
    // A burst of 50 failures is less certain than 50 independent ones.
    let burst: Vec<bool> = (0..500).map(|at| (100..150).contains(&at)).collect();
    let (burst, spread) = (proportion(&burst).unwrap(), proportion(&holds(50, 500)).unwrap());
    assert!(burst.high - burst.low > 3.0 * (spread.high - spread.low), "{burst:?} {spread:?}");
}

/// Percentage of pairs of equal servers that are found different. `rho` is the correlation of consecutive requests;
/// the second log has larger requests.
fn called_different(rho: f64, p: f64, requests: usize) -> f64 {
    let mut rng = SplitMix64::new(7);
    let mut series = |shift: f64| -> Vec<SizedValue> {
        let mut load = normal(&mut rng);
        let mut next = |_| {
            load = rho * load + (1.0 - rho * rho).sqrt() * normal(&mut rng);
            let size = normal(&mut rng) + shift;
            let size_class = (size * 2.0 / std::f64::consts::LN_2).floor() as i16;
            SizedValue { size_class, value: (load + 0.3 * size).exp() }
        };
        (0..requests).map(&mut next).collect()
    };
    let runs = 500;
    let called = (0..runs).filter(|_| {
        let (a, b) = (series(0.0), series(0.7));
        let (a, b) = weight_equally(&a, &b);
        let both = a.quantile(p).zip(b.quantile(p));
        let ratio = both.and_then(|(a, b)| ratio(a, b));
        ratio.is_some_and(|ratio| ratio.low > 1.0 || ratio.high < 1.0)
    });
    100.0 * called.count() as f64 / f64::from(runs)
}

#[test]
fn correlated_requests_of_equal_servers_are_not_called_different() {
    for rho in [0.0, 0.5, 0.8, 0.9] {
        for p in [0.1, 0.5, 0.9] {
            let called = called_different(rho, p, 300);
            println!("correlation {rho}, quantile {p}: {called} %");
            // 5 %, plus two standard deviations of 500 runs.
            assert!(called <= 7.0, "correlation {rho}, quantile {p}: {called} %");
        }
    }
}
