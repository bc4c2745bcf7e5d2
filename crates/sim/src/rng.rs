//! A small seeded generator (SplitMix64): the same seed gives the same run, on every machine.

use std::time::Duration;

/// SplitMix64 by Steele, Lea and Flood: 64 bits of state, passes BigCrush, seeds may be consecutive numbers.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A stream of numbers for one seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of item `n` under `seed`. Each job draws from its own, so that one more job leaves the
    /// jitter of the others as it was.
    pub fn for_item(seed: u64, n: u64) -> Self {
        Self(mix(seed ^ mix(n.wrapping_add(GOLDEN))))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high]`; `low` if the bounds are crossed.
    pub fn between(&mut self, (low, high): (u32, u32)) -> u32 {
        let width = u64::from(high.saturating_sub(low)) + 1;
        low.saturating_add((self.next_u64() % width) as u32)
    }

    /// Uniform in `[low, high]`; `low` if the bounds are crossed.
    pub fn between_durations(&mut self, (low, high): (Duration, Duration)) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.unit())
    }

    /// Close to the standard normal, and never beyond 3.47: the sum of four uniforms, scaled to variance 1.
    /// No call into libm, whose last bit differs between machines.
    pub fn normal(&mut self) -> f64 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732_050_807_568_877_2
    }

    /// Exponential with mean 1: the gap between two arrivals of a Poisson process of rate 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64; also a good hash of one number.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_sequence() {
        let mut rng = SplitMix64::new(1_234_567);
        let got = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        assert_eq!(
            got,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn distributions_have_the_moments_they_claim() {
        let mut rng = SplitMix64::new(7);
        let n = 100_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || rng.unit()) - 0.5).abs() < 0.01);
        assert!((mean(&mut || rng.exponential()) - 1.0).abs() < 0.02);
        assert!(mean(&mut || rng.normal()).abs() < 0.02);
        assert!((mean(&mut || rng.normal().powi(2)) - 1.0).abs() < 0.02);
    }

    #[test]
    fn between_reaches_both_ends_and_stays_inside() {
        let mut rng = SplitMix64::new(1);
        let response: std::collections::BTreeSet<u32> =
            (0..200).map(|_| rng.between((3, 6))).collect();
        assert_eq!(response.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(rng.between((9, 2)), 9);
    }
}
