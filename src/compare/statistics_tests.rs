use super::*;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Close to the standard normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn seen(values: &[(i16, f64)]) -> Vec<Observation> {
    values.iter().map(|&(stratum, value)| Observation { stratum, value }).collect()
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6 * expected.abs().max(1e-3)
}

#[test]
fn quantiles_of_equal_weights_are_hazens() {
    let values: Vec<(i16, f64)> = (1..=100).rev().map(|value| (0, f64::from(value))).collect();
    let (side, _) = standardise(&seen(&values), &seen(&values));
    // R's quantile(1:100, c(0, .1, .5, .9, 1), type = 5).
    for (p, expected) in [(0.0, 1.0), (0.1, 10.5), (0.5, 50.5), (0.9, 90.5), (1.0, 100.0)] {
        assert!(close(side.value_at(p).unwrap(), expected), "{p}");
    }
}

#[test]
fn another_mix_of_sizes_is_no_difference() {
    // The same two sizes with the same values, 10 to 40 here and 40 to 10 there.
    let mix = |small: usize, large: usize| {
        let values = |stratum, base: f64, count: usize| {
            (0..count).map(move |at| (stratum, base + (at % 10) as f64))
        };
        values(1, 10.0, small).chain(values(2, 100.0, large)).collect::<Vec<_>>()
    };
    let (a, b) = standardise(&seen(&mix(40, 10)), &seen(&mix(10, 40)));
    for p in [0.1, 0.4, 0.6, 0.9] {
        let (a, b) = (a.value_at(p).unwrap(), b.value_at(p).unwrap());
        assert!((a - b).abs() < 1.0, "{p}: {a} {b}");
    }
    // What one side has fewer than five of does not count.
    let (a, b) = standardise(&seen(&mix(40, 10)), &seen(&mix(40, 4)));
    assert_eq!((a.len(), b.len(), a.strata()), (40, 40, 1));
    assert!(standardise(&[], &seen(&mix(40, 4))).0.quantile(0.5).is_none());
}

#[test]
fn variance_from_blocks() {
    // Parts that cancel out within each block.
    let even: Vec<f64> = (0..100).map(|at| if at % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(variance_of_sum(&even), 0.0);
    // Ten blocks with the sums 10, -10, 10...: ten squares of 100, times 10 / 9.
    let slow: Vec<f64> = (0..100).map(|at| if at / 10 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    assert!(close(variance_of_sum(&slow), 1000.0 * 10.0 / 9.0));
}

#[test]
fn intervals_of_two_sides() {
    let a = Interval { low: 8.0, value: 10.0, high: 13.0 };
    let b = Interval { low: 16.0, value: 20.0, high: 23.0 };
    // sqrt(4^2 + 3^2) below, sqrt(3^2 + 2^2) above.
    let both = difference(a, b);
    assert!(close(both.low, 5.0) && close(both.high, 10.0 + 13_f64.sqrt()), "{both:?}");
    let both = ratio(a, b).unwrap();
    assert!(close(both.value, 2.0) && both.low < 2.0 && both.high > 2.0, "{both:?}");
    let (there, back) = (ratio(a, b).unwrap(), ratio(b, a).unwrap());
    assert!(close(there.low * back.high, 1.0) && close(there.high * back.low, 1.0));
    assert_eq!(ratio(Interval { low: 0.0, ..a }, b), None);
}

/// Newcombe 1998, table II: 56/70 less 48/80, by method 10 from 0.0524 to 0.3339.
#[test]
fn proportions_are_newcombes() {
    // Evenly spread, so that no block has more than its share.
    let holds = |count: usize, n: usize| -> Vec<bool> {
        (0..n).map(|at| (at + 1) * count / n > at * count / n).collect()
    };
    let (a, b) = (proportion(&holds(48, 80)).unwrap(), proportion(&holds(56, 70)).unwrap());
    let both = difference(a, b);
    assert!((both.value - 0.2).abs() < 1e-9);
    assert!((both.low - 0.0524).abs() < 5e-5 && (both.high - 0.3339).abs() < 5e-5, "{both:?}");
    let none = proportion(&[false; 100]).unwrap();
    assert!(none.low == 0.0 && (none.high - 0.037).abs() < 0.001, "{none:?}");
    // A burst of failures is no fifty independent ones.
    let burst: Vec<bool> = (0..500).map(|at| (100..150).contains(&at)).collect();
    let (burst, spread) = (proportion(&burst).unwrap(), proportion(&holds(50, 500)).unwrap());
    assert!(burst.high - burst.low > 3.0 * (spread.high - spread.low), "{burst:?} {spread:?}");
}

/// How often two logs of one truth are called different, in percent, where each request shares `rho` of what
/// the one before it had, and the second log has larger requests.
fn called_different(rho: f64, p: f64, requests: usize) -> f64 {
    let mut rng = Rng(7);
    let mut series = |shift: f64| -> Vec<Observation> {
        let mut load = rng.normal();
        let mut next = |_| {
            load = rho * load + (1.0 - rho * rho).sqrt() * rng.normal();
            let size = rng.normal() + shift;
            let stratum = (size * 2.0 / std::f64::consts::LN_2).floor() as i16;
            Observation { stratum, value: (load + 0.3 * size).exp() }
        };
        (0..requests).map(&mut next).collect()
    };
    let runs = 500;
    let called = (0..runs).filter(|_| {
        let (a, b) = (series(0.0), series(0.7));
        let (a, b) = standardise(&a, &b);
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
            // 5 % and two standard deviations of 500 runs.
            assert!(called <= 7.0, "correlation {rho}, quantile {p}: {called} %");
        }
    }
}
