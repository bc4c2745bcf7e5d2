//! What is to be measured: the command line of the runner.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::args::Args;
use crate::churn::Churn;
use crate::contestant::Contestant;
use crate::emit::Pattern;
use crate::pin::Cores;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Streams open at a time; with `churn`, clients that ask at a time.
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
    /// Short answers in a closed loop, in place of streams.
    pub churn: Option<Churn>,
    /// Threads, or processes, that forward in each proxy.
    pub workers: usize,
    /// `None`: nothing is pinned.
    pub cores: Option<Cores>,
    /// The binary of Streamgauge.
    pub streamgauge: Option<PathBuf>,
    /// Whether the proxies run at the same time, on the same cores.
    pub together: bool,
    /// Whether only completeness matters.
    pub check: bool,
    /// Where the measurements go.
    pub json: Option<PathBuf>,
    /// Who takes part; `None`: all that can.
    pub only: Option<Vec<Contestant>>,
}

impl Options {
    /// The options of the role `run`.
    pub fn run(words: Vec<String>) -> Result<Self, Error> {
        let known = [
            "streamgauge",
            "streams",
            "rate",
            "seconds",
            "warmup",
            "rounds",
            "tokens",
            "pattern",
            "churn",
            "workers",
            "cores",
            "only",
            "json",
        ];
        let args = Args::parse(words, &known, &["check", "together"])?;
        if args.has("churn")
            && let Some(other) =
                ["rate", "tokens", "pattern", "check"].into_iter().find(|name| args.has(name))
        {
            return Err(format!("--{other} is for streams: leave it or --churn out").into());
        }
        Self::from(&args)
    }

    /// The options of the role `sweep`: its own defaults, before those of `run`.
    pub fn sweep(words: Vec<String>) -> Result<Self, Error> {
        let usual = ["--rounds", "6", "--only", "streamgauge,nginx"].map(str::to_owned);
        let known = ["streamgauge", "seconds", "rounds", "workers", "cores", "only", "json"];
        let args = Args::parse(usual.into_iter().chain(words).collect(), &known, &[])?;
        Ok(Self { together: true, ..Self::from(&args)? })
    }

    fn from(args: &Args) -> Result<Self, Error> {
        let (check, churn) = (args.has("check"), args.optional("churn")?);
        let usual = |full, checked| if check { checked } else { full };
        let streams = if churn.is_some() { 64.0 } else { usual(200.0, 20.0) };
        let only = args
            .optional::<String>("only")?
            .map(|names| names.split(',').map(str::parse).collect::<Result<Vec<Contestant>, _>>());
        let cores = Cores::of(args)?;
        let workers = args.number("workers", 1.0, 1.0, 64.0)? as usize;
        if let Some(cores) = cores.filter(|cores| cores.proxy.count() < workers) {
            let count = cores.proxy.count();
            println!(
                "The {workers} workers of a proxy share {count} of the cores: give them more with --cores."
            );
        }
        Ok(Self {
            streams: args.number("streams", streams, 1.0, 20_000.0)? as u64,
            rate: args.number("rate", 20.0, 0.1, 10_000.0)?,
            seconds: args.number("seconds", usual(4.0, 2.0), 0.5, 600.0)?,
            warmup: args.number("warmup", usual(1.0, 0.5), 0.1, 60.0)?,
            rounds: args.number("rounds", usual(12.0, 1.0), 1.0, 100.0)? as usize,
            tokens: args.number("tokens", 0.0, 0.0, 1e6)? as u64,
            pattern: args.or("pattern", Pattern::Spread)?,
            churn,
            workers,
            cores,
            streamgauge: args.optional("streamgauge")?,
            together: args.has("together"),
            check,
            json: args.optional("json")?,
            only: only.transpose()?,
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
        let churn = self.churn.map(|churn| ("--churn", churn.name().to_owned()));
        pairs.into_iter().chain(churn).flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// How long a stream may last, seconds.
    pub fn longest(&self) -> f64 {
        self.warmup + self.seconds + self.tokens as f64 / self.rate
    }

    /// Who takes part. Who was asked for by name and cannot is an error; the others are left out.
    pub fn contestants(&self) -> Result<Vec<Contestant>, Error> {
        let mut contestants = Vec::new();
        for contestant in Contestant::ALL {
            let named = self.only.as_ref().map(|only| only.contains(&contestant));
            match contestant.available(self) {
                _ if named == Some(false) => {}
                Ok(()) => contestants.push(contestant),
                Err(reason) if named == Some(true) => {
                    return Err(format!("{}: {reason}", contestant.name()).into());
                }
                Err(reason) => println!("{} is skipped: {reason}.", contestant.name()),
            }
        }
        if self.streamgauge.is_some() && !contestants.contains(&Contestant::Streamgauge) {
            println!("streamgauge does not take part, although --streamgauge was given.");
        }
        Ok(contestants)
    }

    /// Writes to the file of `--json`, if it was given.
    pub fn write_json(&self, value: &serde_json::Value) -> Result<(), Error> {
        let Some(path) = &self.json else { return Ok(()) };
        let failed = |error| format!("{}: {error}", Path::display(path));
        Ok(std::fs::write(path, format!("{value:#}\n")).map_err(failed)?)
    }
}
