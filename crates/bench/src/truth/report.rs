//! Table of the four runs, and their errors as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use strum::VariantArray;

use super::compare::{ComparedLine, ComparedNumber, NumberError};
use super::{ProxyState, TruthOptions};
use crate::machine;
use crate::stats::quantile;

/// Name of the row for direct streams.
pub const INSTRUMENT: &str = "the instrument itself (no proxy)";

/// One run.
#[derive(Debug)]
pub struct TruthRun {
    /// Configured clock of the proxy.
    pub clock: &'static str,
    /// Disturbance of the proxy.
    pub state: ProxyState,
    /// Compared lines of its log.
    pub lines: Vec<ComparedLine>,
    /// Errors of the client's kernel timestamps for tokens of direct streams.
    pub instrument: Vec<NumberError>,
}

impl TruthRun {
    /// Returns the errors of a number, for all lines or for lines that are not degraded.
    fn number_errors(&self, number: usize, all: bool) -> Vec<NumberError> {
        let lines = self.lines.iter().filter(|line| all || !line.degraded);
        lines.map(|line| line.errors[number]).collect()
    }

    fn degraded(&self) -> usize {
        self.lines.iter().filter(|line| line.degraded).count()
    }
}

/// Returns the table.
pub fn markdown(runs: &[TruthRun], options: &TruthOptions) -> String {
    let mut out = format!(
        "{} streams at a time, {} tokens at {} tokens/s each, {} s a run; {}\n\n\
         | clock | proxy | number | lines | p50 | p90 | p99 | max | not degraded | p99 | max | truth's width p50 | p99 |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        options.streams,
        options.shape.tokens,
        options.shape.rate,
        options.seconds,
        machine::describe()
    );
    for run in runs {
        let (clock, state) = (run.clock, run.state.name());
        for (at, number) in ComparedNumber::VARIANTS.iter().copied().enumerate() {
            let (all, sound) = (run.number_errors(at, true), run.number_errors(at, false));
            let row = row(&all, Some(&sound));
            let _ = writeln!(out, "| {clock} | {state} | {} | {row} |", number.name());
        }
        let _ = writeln!(out, "| - | {state} | {INSTRUMENT} | {} |", row(&run.instrument, None));
    }
    out + "\nErrors and widths are in microseconds. The error is the distance from the interval in which the true value \
           lies; the width of that interval bounds the remaining uncertainty.\n"
}

fn row(all: &[NumberError], sound: Option<&[NumberError]>) -> String {
    let (errors, widths) = (sorted(all, |one| one.error), sorted(all, |one| one.width));
    let cell = |sorted: &[u64], q| quantile(sorted, q).map_or_else(|| "-".to_owned(), micros);
    let mut cells = vec![all.len().to_string()];
    cells.extend([0.5, 0.9, 0.99, 1.0].map(|q| cell(&errors, q)));
    match sound {
        Some(sound) => {
            let errors = sorted(sound, |one| one.error);
            cells.push(sound.len().to_string());
            cells.extend([0.99, 1.0].map(|q| cell(&errors, q)));
        }
        None => cells.extend(["-"; 3].map(str::to_owned)),
    }
    cells.extend([0.5, 0.99].map(|q| cell(&widths, q)));
    cells.join(" | ")
}

/// Formats nanoseconds as microseconds with at least three digits.
fn micros(nanos: u64) -> String {
    let micros = nanos as f64 / 1e3;
    match nanos {
        0 => "0".to_owned(),
        1..10_000 => format!("{micros:.2}"),
        10_000..100_000 => format!("{micros:.1}"),
        100_000.. => format!("{micros:.0}"),
    }
}

/// Returns the runs with all errors.
pub fn json(runs: &[TruthRun], options: &TruthOptions) -> Value {
    let run = |run: &TruthRun| {
        let number = |(at, number): (usize, ComparedNumber)| {
            json!({
                "number": number.name(),
                "errors_us": errors(&run.number_errors(at, true)),
                "errors_not_degraded_us": errors(&run.number_errors(at, false)),
                "width_us": widths(&run.number_errors(at, true)),
            })
        };
        json!({
            "clock": run.clock,
            "proxy": run.state.name(),
            "lines": run.lines.len(),
            "degraded": run.degraded(),
            "numbers": ComparedNumber::VARIANTS.iter().copied().enumerate().map(number).collect::<Vec<_>>(),
            "instrument": {
                "errors_us": errors(&run.instrument),
                "width_us": widths(&run.instrument),
            },
        })
    };
    json!({
        "streams": options.streams,
        "tokens_per_stream": options.shape.tokens,
        "rate": options.shape.rate,
        "seconds": options.seconds,
        "pinned": options.cores.is_some(),
        "machine": machine::describe(),
        "runs": runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn sorted(errors: &[NumberError], of: fn(&NumberError) -> u64) -> Vec<u64> {
    let mut sorted: Vec<u64> = errors.iter().map(of).collect();
    sorted.sort_unstable();
    sorted
}

/// Returns values in ascending order, in microseconds.
fn errors(errors: &[NumberError]) -> Vec<f64> {
    sorted(errors, |one| one.error).into_iter().map(|nanos| nanos as f64 / 1e3).collect()
}

fn widths(errors: &[NumberError]) -> Value {
    let sorted = sorted(errors, |one| one.width);
    let at = |q| quantile(&sorted, q).map(|nanos| nanos as f64 / 1e3);
    json!({"p50": at(0.5), "p99": at(0.99)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_quantiles_in_microseconds() {
        let number_errors = |errors: &[u64]| -> Vec<_> {
            errors.iter().map(|&error| NumberError { error, width: 12_345 }).collect()
        };
        let all = number_errors(&[0, 5_000_000, 250, 1_500]);
        let expected = "4 | 1.50 | 5000 | 5000 | 5000 | 1 | 0.25 | 0.25 | 12.3 | 12.3";
        assert_eq!(row(&all, Some(&number_errors(&[250]))), expected);
        assert_eq!(row(&[], None), "0 | - | - | - | - | - | - | - | - | -");
    }
}
