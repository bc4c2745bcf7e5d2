//! The runner: interleaved rounds and their report.

use std::time::Duration;

use crate::contestant::Contestant;
use crate::measure::{MeasurementSample, measure};
use crate::options::RunOptions;
use crate::running_contestant::RunningContestant;
use crate::{BoxError, core_affinity, idle_cores, nagle_check, report, signals, tables};

/// Maximum wait for idle cores before a measurement.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum number of attempts for a disturbed measurement.
const TRIES: u32 = 3;

/// Runs the role `run`.
pub async fn role(words: Vec<String>) -> Result<(), BoxError> {
    let options = RunOptions::parse_run(words)?;
    signals::run_until_signal(run(&options)).await
}

async fn run(options: &RunOptions) -> Result<(), BoxError> {
    let contestants = options.contestants()?;
    if let Some(cores) = options.cores {
        core_affinity::pin(cores.load)?;
    }
    let server = RunningContestant::start_server(options.cores.map(|cores| cores.server)).await?;
    let mut samples: Vec<MeasurementSample> = Vec::new();
    for round in 0..options.rounds {
        let order = order(&contestants, round);
        let at_once = if options.together { order.len().max(1) } else { 1 };
        for contestants in order.chunks(at_once) {
            samples.extend(measure_undisturbed(options, contestants, round, &server).await?);
        }
    }
    options.write_json(&report::to_json(&samples, options))?;
    let mut faults: Vec<String> = samples.iter().filter_map(MeasurementSample::fault).collect();
    if !options.check {
        println!("\n{}", tables::markdown(&samples, &contestants, options));
        match nagle_check::check(&samples) {
            Ok(sentence) => println!("{}", sentence.unwrap_or_default()),
            Err(fault) => faults.push(fault),
        }
    }
    fail_on_faults(faults)
}

/// Returns an error if there are faults.
pub fn fail_on_faults(faults: impl IntoIterator<Item = String>) -> Result<(), BoxError> {
    let faults = Vec::from_iter(faults);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// Waits for idle cores, and measures again if other processes disturbed the measurement. The decision does not depend on
/// the result. If the cores never become idle, one attempt counts.
async fn measure_undisturbed(
    options: &RunOptions,
    contestants: &[Contestant],
    round: usize,
    server: &RunningContestant,
) -> Result<Vec<MeasurementSample>, BoxError> {
    let foreign = |samples: &[MeasurementSample]| {
        samples.iter().filter_map(|s| s.foreign).fold(0.0, f64::max)
    };
    let mut best: Option<Vec<MeasurementSample>> = None;
    for _ in 0..TRIES {
        let idle = match options.cores {
            Some(cores) if !options.check => idle_cores::wait_until_idle(cores, PATIENCE).await,
            _ => false,
        };
        if best.is_some() && !idle {
            break;
        }
        let samples = measure(options, contestants, round, server).await?;
        for sample in &samples {
            println!("{}", report::format_sample(sample, options));
        }
        // A fault is never replaced by another attempt.
        let faulty = samples.iter().any(|sample| sample.fault().is_some());
        if !idle || faulty || !samples.iter().any(MeasurementSample::is_disturbed) {
            return Ok(samples);
        }
        if best.as_deref().is_none_or(|best| foreign(&samples) < foreign(best)) {
            best = Some(samples);
        }
    }
    best.ok_or_else(|| "nothing was measured".into())
}

/// Returns the order of a round. Each round starts with another contestant, and every other round is reversed, so that no
/// contestant always follows the same one.
pub fn order(contestants: &[Contestant], round: usize) -> Vec<Contestant> {
    let mut order = contestants.to_vec();
    order.rotate_left(round % contestants.len().max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_starts_a_round() {
        let mut first = Vec::new();
        for round in 0..Contestant::ALL.len() {
            let order = order(&Contestant::ALL, round);
            assert!(Contestant::ALL.iter().all(|contestant| order.contains(contestant)));
            first.extend(if round % 2 == 0 { order.first() } else { order.last() }.copied());
        }
        assert_eq!(first, Contestant::ALL);
        assert!(order(&[], 3).is_empty());
    }
}
