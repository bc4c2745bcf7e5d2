//! Axes: where a value lies, and which values are named.

/// About so many pixels lie between two ticks of a linear axis.
const SPACING: f64 = 50.0;

/// A linear axis or a logarithmic one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AxisScale {
    /// The values at its ends.
    low: f64,
    high: f64,
    /// Where its ends are, in pixels.
    begin: f64,
    end: f64,
    logarithmic: bool,
}

impl AxisScale {
    /// A linear axis that holds all `values` and 0.
    pub fn linear(values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let (low, mut high) = values
            .fold((0.0, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
        if low == high {
            high = 1.0;
        }
        Self { low, high, begin, end, logarithmic: false }
    }

    /// A logarithmic axis from `low` to `high`, which are greater than 0.
    pub fn logarithmic(low: f64, high: f64, begin: f64, end: f64) -> Self {
        Self { low, high, begin, end, logarithmic: true }
    }

    /// Where `value` lies, in pixels; beyond an end, at that end.
    pub fn at(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.ln() } else { value };
        let value = value.clamp(self.low, self.high);
        let share = (along(value) - along(self.low)) / (along(self.high) - along(self.low));
        self.begin + share * (self.end - self.begin)
    }

    /// The value that lies at a pixel.
    pub fn value(&self, pixel: f64) -> f64 {
        let share = (pixel - self.begin) / (self.end - self.begin);
        if self.logarithmic {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + share * (self.high - self.low)
        }
    }

    /// The pixels from one end to the other.
    pub fn pixels(&self) -> impl Iterator<Item = f64> {
        let (from, to) = (self.begin.min(self.end), self.begin.max(self.end));
        (0..=(to - from) as u32).map(move |pixel| from + f64::from(pixel))
    }

    /// The values that have a tick: round ones, or powers of ten.
    pub fn ticks(&self) -> Vec<f64> {
        let inside = |value: &f64| *value <= self.high * (1.0 + 1e-9);
        if self.logarithmic {
            let first = self.low.log10().ceil() as i32;
            return (first..).map(|power| 10_f64.powi(power)).take_while(inside).collect();
        }
        let step = step((self.high - self.low) / ((self.end - self.begin).abs() / SPACING));
        let first = (self.low / step).ceil() as i64;
        (first..).map(|tick| tick as f64 * step).take_while(inside).collect()
    }
}

/// The least of 1, 2, 5, 10, 20, ... that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(power * 10.0)
}

/// A number as an axis has it: three digits that count, no zeros behind them.
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

/// A time in microseconds with its unit.
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
    fn a_linear_axis_holds_all_and_zero() {
        let scale = AxisScale::linear([0.3, 1.6].into_iter(), 100.0, 300.0);
        assert_eq!(scale.ticks(), [0.0, 0.5, 1.0, 1.5]);
        assert_eq!((scale.at(0.0), scale.at(1.6), scale.at(0.8)), (100.0, 300.0, 200.0));
        let scale = AxisScale::linear([-220.0, 700.0].into_iter(), 0.0, 300.0);
        assert_eq!(scale.ticks(), [-200.0, 0.0, 200.0, 400.0, 600.0]);
        assert_eq!(AxisScale::linear(std::iter::empty(), 0.0, 70.0).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn a_logarithmic_axis_has_its_ticks_at_powers_of_ten() {
        let scale = AxisScale::logarithmic(1.0, 1e5, 0.0, 500.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!((scale.at(1e3) - 300.0).abs() < 1e-9);
        assert_eq!((scale.at(0.0), scale.at(1e9)), (0.0, 500.0), "beyond the ends");
        assert!((scale.value(300.0) - 1e3).abs() < 1e-6);
        assert_eq!(scale.pixels().count(), 501);
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 1.0, 1.1713, 0.5, 33.14, 20.0, 419.3, -12.0].map(number);
        assert_eq!(numbers, ["0", "1", "1.17", "0.5", "33.1", "20", "419", "-12"]);
        let times = [1.0, 100.0, 1e3, 33_340.0, 2e6].map(time);
        assert_eq!(times, ["1 µs", "100 µs", "1 ms", "33.3 ms", "2 s"]);
    }
}
