//! A series as one line of bars.

const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// The newest `width` points as bars from 0 to the highest of them. A point without a sample is a space.
pub(super) fn sparkline(series: &[Option<f64>], width: usize) -> String {
    let newest = series.get(series.len().saturating_sub(width)..).unwrap_or_default();
    let highest = newest.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |value: &Option<f64>| match value {
        None => ' ',
        Some(_) if highest <= 0.0 => '\u{2581}',
        Some(value) => {
            let level = (value / highest * (BARS.len() - 1) as f64).round();
            // From 0 to 7: a float is cast to the nearest number in the range.
            BARS.get(level as usize).copied().unwrap_or('\u{2588}')
        }
    };
    let bars: String = newest.iter().map(bar).collect();
    format!("{bars:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_zero_to_the_highest_value() {
        let series = [Some(9.0), None, Some(0.0), Some(1.0), Some(2.0)];
        assert_eq!(sparkline(&series, 4), " \u{2581}\u{2585}\u{2588}");
        assert_eq!(sparkline(&series, 5), "\u{2588} \u{2581}\u{2582}\u{2583}");
        assert_eq!(sparkline(&series, 6), " \u{2588} \u{2581}\u{2582}\u{2583}");
        assert_eq!(sparkline(&[Some(0.0), None], 2), "\u{2581} ");
        assert_eq!(sparkline(&[], 3), "   ");
    }
}
