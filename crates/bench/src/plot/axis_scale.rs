//! Scales of axes, their ticks, and number formats.

/// Approximate distance between two ticks of a linear axis, in pixels.
const TICK_DISTANCE: f64 = 50.0;

/// A linear or logarithmic mapping of values to pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisScale {
    /// Values at the ends.
    low: f64,
    high: f64,
    /// Positions of the ends in pixels.
    begin: f64,
    end: f64,
    logarithmic: bool,
}

impl AxisScale {
    /// Creates a linear axis that includes 0 and all `values`.
    pub fn linear(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let (low, mut high) = values
            .fold((0.0, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        if low == high {
            high = 1.0;
        }
        Self { low, high, begin, end, logarithmic: false }
    }

    /// Creates a logarithmic axis from `low` to `high`, both greater than 0.
    pub fn logarithmic(low: f64, high: f64, begin: f64, end: f64) -> Self {
        Self { low, high, begin, end, logarithmic: true }
    }

    /// Returns the position of `value` in pixels. Values outside of the axis are moved to its end.
    pub fn position(&self, value: f64) -> f64 {
        let transform = |value: f64| if self.logarithmic { value.ln() } else { value };
        let [low, high, value] =
            [self.low, self.high, value.clamp(self.low, self.high)].map(transform);
        self.begin + (value - low) / (high - low) * (self.end - self.begin)
    }

    /// Returns the value at a position.
    pub fn value(&self, position: f64) -> f64 {
        let share = (position - self.begin) / (self.end - self.begin);
        if self.logarithmic {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + share * (self.high - self.low)
        }
    }

    /// Returns each pixel of the axis.
    pub fn pixels(&self) -> impl Iterator<Item = f64> {
        let (from, to) = (self.begin.min(self.end), self.begin.max(self.end));
        (0..=(to - from) as u32).map(move |pixel| from + f64::from(pixel))
    }

    /// Returns the values with a tick: round numbers on a linear axis, powers of ten on a logarithmic one.
    pub fn ticks(&self) -> Vec<f64> {
        let is_inside = |value: &f64| *value <= self.high * (1.0 + 1e-9);
        if self.logarithmic {
            let first = self.low.log10().ceil() as i32;
            return (first..).map(|power| 10_f64.powi(power)).take_while(is_inside).collect();
        }
        let ticks = (self.end - self.begin).abs() / TICK_DISTANCE;
        let step = round_up((self.high - self.low) / ticks);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|tick| tick as f64 * step).take_while(is_inside).collect()
    }
}

/// Rounds up to 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(power * 10.0)
}

/// Formats a number with three significant digits and no trailing zeros.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0..100.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Formats a time in microseconds with its unit.
pub fn time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{} µs", number(micros)),
        1e3..1e6 => format!("{} ms", number(micros / 1e3)),
        _ => format!("{} s", number(micros / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axis_includes_zero_and_all_values() {
        let scale = AxisScale::linear([0.3, 1.6].into_iter(), 100.0, 300.0);
        assert_eq!(scale.ticks(), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!([0.0, 1.6, 0.8].map(|value| scale.position(value)), [100.0, 300.0, 200.0]);
        let scale = AxisScale::linear([-220.0, 700.0].into_iter(), 0.0, 300.0);
        assert_eq!(scale.ticks(), [-200.0, 0.0, 200.0, 400.0, 600.0]);
        assert_eq!(AxisScale::linear(std::iter::empty(), 0.0, 70.0).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn logarithmic_axis_has_ticks_at_powers_of_ten() {
        let scale = AxisScale::logarithmic(1.0, 1e5, 0.0, 500.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!((scale.position(1e3) - 300.0).abs() < 1e-9);
        assert_eq!((scale.position(0.0), scale.position(1e9)), (0.0, 500.0), "outside");
        assert!((scale.value(300.0) - 1e3).abs() < 1e-6);
        assert_eq!(scale.pixels().count(), 501);
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        let numbers = [0.0, 1.0, 1.1713, 0.5, 33.14, 20.0, 419.3, -12.0].map(number);
        assert_eq!(numbers, ["0", "1", "1.17", "0.5", "33.1", "20", "419", "-12"]);
        let times = [1.0, 100.0, 1e3, 33_340.0, 2e6].map(time);
        assert_eq!(times, ["1 µs", "100 µs", "1 ms", "33.3 ms", "2 s"]);
    }
}
