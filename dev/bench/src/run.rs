//! The runner: the rounds, interleaved, and what becomes of their samples.

use std::path::PathBuf;

use crate::args::Args;
use crate::contestant::{Contestant, Running};
use crate::emit::Pattern;
use crate::measure::{Sample, measure};
use crate::pin::{self, Cores};
use crate::{Error, quiet, report, signals};

/// How often a disturbed measurement is made.
const TRIES: u32 = 3;

/// What is to be run.
#[derive(Debug)]
pub struct Options {
    /// Streams open at a time.
    pub streams: u64,
    /// Tokens a second of each stream.
    pub rate: f64,
    /// The length of a window.
    pub seconds: f64,
    /// The time before it in which the streams open.
    pub warmup: f64,
    /// Measurements of each contestant.
    pub rounds: usize,
    /// Tokens of a stream, then the next one on its connection; 0: one long stream.
    pub tokens: u64,
    /// How the tokens of the streams lie next to each other.
    pub pattern: Pattern,
    /// `None`: nothing is pinned.
    pub cores: Option<Cores>,
    /// The binary of Streamgauge.
    pub streamgauge: Option<PathBuf>,
    /// Whether the proxies run at the same time, on one core.
    pub together: bool,
    /// Whether only completeness matters.
    pub check: bool,
    only: Option<Vec<Contestant>>,
    json: Option<PathBuf>,
}

impl Options {
    fn parse(words: Vec<String>) -> Result<Self, Error> {
        let known = [
            "streamgauge",
            "streams",
            "rate",
            "seconds",
            "warmup",
            "rounds",
            "tokens",
            "pattern",
            "cores",
            "only",
            "json",
        ];
        let args = Args::parse(words, &known, &["check", "together"])?;
        let check = args.flag("check");
        let usual = |full, checked| if check { checked } else { full };
        let only = args
            .optional::<String>("only")?
            .map(|names| names.split(',').map(str::parse).collect::<Result<Vec<Contestant>, _>>());
        Ok(Self {
            streams: args.number("streams", usual(200.0, 20.0), 1.0, 20_000.0)? as u64,
            rate: args.number("rate", 20.0, 0.1, 10_000.0)?,
            seconds: args.number("seconds", usual(4.0, 2.0), 0.5, 600.0)?,
            warmup: args.number("warmup", usual(1.0, 0.5), 0.1, 60.0)?,
            rounds: args.number("rounds", usual(12.0, 1.0), 1.0, 100.0)? as usize,
            tokens: args.number("tokens", 0.0, 0.0, 1e6)? as u64,
            pattern: args.or("pattern", Pattern::Spread)?,
            cores: Cores::of(&args)?,
            streamgauge: args.optional("streamgauge")?,
            together: args.flag("together"),
            check,
            only: only.transpose()?,
            json: args.optional("json")?,
        })
    }

    /// The options of the load client, whose window begins at `from`.
    pub fn load_args(&self, from: u64) -> Vec<String> {
        let pairs = [
            ("--streams", self.streams.to_string()),
            ("--rate", self.rate.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--warmup", self.warmup.to_string()),
            ("--tokens", self.tokens.to_string()),
            ("--pattern", self.pattern.name().to_owned()),
            ("--start-at", from.to_string()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// How long a stream may last, seconds.
    pub fn longest(&self) -> f64 {
        self.warmup + self.seconds + self.tokens as f64 / self.rate
    }

    /// Who takes part. Who was asked for by name and cannot is an error; the others are left out.
    fn contestants(&self) -> Result<Vec<Contestant>, Error> {
        let mut contestants = Vec::new();
        for contestant in Contestant::ALL {
            let named = self.only.as_ref().map(|only| only.contains(&contestant));
            // Together, there is no telling what the loopback itself costs.
            let idle = self.together && contestant == Contestant::Direct;
            let wanted = named.unwrap_or(true) && !idle;
            match contestant.available(self.streamgauge.as_deref()) {
                Ok(()) if wanted => contestants.push(contestant),
                Err(reason) if named == Some(true) => {
                    return Err(format!("{}: {reason}", contestant.name()).into());
                }
                Err(reason) if wanted => println!("{} is skipped: {reason}.", contestant.name()),
                _ => {}
            }
        }
        if self.streamgauge.is_some() && !contestants.contains(&Contestant::Streamgauge) {
            println!("streamgauge does not take part, although --streamgauge was given.");
        }
        Ok(contestants)
    }
}

/// The role `run`.
pub async fn role(words: Vec<String>) -> Result<(), Error> {
    let options = Options::parse(words)?;
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
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", report::json(&samples, options));
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if !options.check {
        println!("\n{}", report::markdown(&samples, &contestants, options));
    }
    let faults: Vec<_> = samples.iter().filter_map(Sample::fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
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
            Some(cores) if !options.check => quiet::wait(cores).await,
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
fn order(contestants: &[Contestant], round: usize) -> Vec<Contestant> {
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
