//! Isotonic regression of ratios.

/// Numerator and denominator of a ratio.
pub(super) type Fraction = (f64, f64);

/// The non-decreasing sequence that is closest to these ratios, by least squares weighted with their denominators.
///
/// The pool-adjacent-violators algorithm (Barlow, Bartholomew, Bremner and Brunk, Statistical Inference under Order
/// Restrictions, 1972): neighbours in the wrong order are replaced by their common ratio. A ratio without a denominator
/// takes the value of the one before it.
pub(super) fn non_decreasing(fractions: impl Iterator<Item = Fraction>) -> Vec<f64> {
    let mut pools: Vec<(Fraction, usize)> = Vec::new();
    for fraction in fractions {
        let mut pool = (fraction, 1);
        while let Some(&((numerator, denominator), count)) = pools.last() {
            let (top, bottom) = pool.0;
            if bottom > 0.0 && denominator > 0.0 && top * denominator >= numerator * bottom {
                break;
            }
            pools.pop();
            pool = ((top + numerator, bottom + denominator), pool.1 + count);
        }
        pools.push(pool);
    }
    let ratio = |(top, bottom): Fraction| if bottom > 0.0 { top / bottom } else { 0.0 };
    pools.iter().flat_map(|&(pool, count)| std::iter::repeat_n(ratio(pool), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_the_wrong_order_share_one_ratio() {
        let fractions = [(0.0, 10.0), (4.0, 10.0), (2.0, 10.0), (0.0, 0.0), (9.0, 10.0)];
        assert_eq!(non_decreasing(fractions.into_iter()), [0.0, 0.3, 0.3, 0.3, 0.9]);
    }

    #[test]
    fn without_observations_all_ratios_are_zero() {
        assert_eq!(non_decreasing([(0.0, 0.0); 3].into_iter()), [0.0; 3]);
        assert!(non_decreasing(std::iter::empty()).is_empty());
    }
}
