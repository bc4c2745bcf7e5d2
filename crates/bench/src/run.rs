//! The runner: the rounds, interleaved, and what becomes of their samples.

use std::time::Duration;

use crate::contestant::{Contestant, Running};
use crate::measure::{Sample, measure};
use crate::options::Options;
use crate::{Error, first_token, pin, quiet, report, signals, tables};

/// How long a measurement waits for quiet.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a disturbed measurement is made.
const TRIES: u32 = 3;

/// The role `run`.
pub async fn role(words: Vec<String>) -> Result<(), Error> {
    let options = Options::run(words)?;
    signals::unless_ended(run(&options)).await
}

async fn run(options: &Options) -> Result<(), Error> {
    let contestants = options.contestants()?;
    if let Some(cores) = options.cores {
        pin::pin(cores.load)?;
    }
    let server = Running::server(options.cores.map(|cores| cores.server)).await?;
    let mut samples: Vec<Sample> = Vec::new();
    for round in 0..options.rounds {
        let order = order(&contestants, round);
        let at_once = if options.together { order.len().max(1) } else { 1 };
        for contestants in order.chunks(at_once) {
            samples.extend(undisturbed(options, contestants, round, &server).await?);
        }
    }
    options.write_json(&report::json(&samples, options))?;
    let mut found: Vec<String> = samples.iter().filter_map(Sample::fault).collect();
    if !options.check {
        println!("\n{}", tables::markdown(&samples, &contestants, options));
        match first_token::judge(&samples) {
            Ok(sentence) => println!("{}", sentence.unwrap_or_default()),
            Err(fault) => found.push(fault),
        }
    }
    faults(found)
}

/// An error, if there are any.
pub fn faults(found: impl IntoIterator<Item = String>) -> Result<(), Error> {
    let found = Vec::from_iter(found);
    if found.is_empty() { Ok(()) } else { Err(found.join("\n").into()) }
}

/// Waits for quiet, and measures again if others became busy on our cores meanwhile. Whether they were says
/// nothing about the result. Where it never is quiet, one try must do.
async fn undisturbed(
    options: &Options,
    contestants: &[Contestant],
    round: usize,
    server: &Running,
) -> Result<Vec<Sample>, Error> {
    let foreign = |samples: &[Sample]| samples.iter().filter_map(|s| s.foreign).fold(0.0, f64::max);
    let mut best: Option<Vec<Sample>> = None;
    for _ in 0..TRIES {
        let quiet = match options.cores {
            Some(cores) if !options.check => quiet::wait(cores, PATIENCE).await,
            _ => false,
        };
        if best.is_some() && !quiet {
            break;
        }
        let samples = measure(options, contestants, round, server).await?;
        for sample in &samples {
            println!("{}", report::line(sample, options));
        }
        // A fault is never measured away.
        let faulty = samples.iter().any(|sample| sample.fault().is_some());
        if !quiet || faulty || !samples.iter().any(Sample::is_disturbed) {
            return Ok(samples);
        }
        if best.as_deref().is_none_or(|best| foreign(&samples) < foreign(best)) {
            best = Some(samples);
        }
    }
    best.ok_or_else(|| "it was never measured".into())
}

/// The order of a round: another one begins each time, and every other round goes backwards, so that nobody
/// always comes after the same.
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
    fn each_round_has_everybody_and_each_begins_one() {
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
