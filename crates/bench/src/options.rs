//! Options of the runner.

use std::path::{Path, PathBuf};

use crate::BoxError;
use crate::args::RoleArgs;
use crate::contestant::Contestant;
use crate::core_affinity::CorePlan;
use crate::traffic::{ConnectionReuse, SendPattern};

/// Options of the roles `run` and `sweep`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Concurrent streams; with `churn`, concurrent clients.
    pub streams: u64,
    /// Tokens per second of each stream.
    pub rate: f64,
    /// Length of a window, in seconds.
    pub seconds: f64,
    /// Time before the window in which the streams open, in seconds.
    pub warmup: f64,
    /// Number of measurements per contestant.
    pub rounds: usize,
    /// Tokens per stream, followed by another stream on the connection; 0: one long stream.
    pub tokens: u64,
    /// How the tokens of different streams are distributed in time.
    pub pattern: SendPattern,
    /// Short responses in a closed loop instead of streams.
    pub churn: Option<ConnectionReuse>,
    /// Worker threads or processes per proxy.
    pub workers: usize,
    /// Cores for pinning; `None` disables it.
    pub cores: Option<CorePlan>,
    /// Path of the Streamgauge binary.
    pub streamgauge: Option<PathBuf>,
    /// Whether the proxies run at the same time on the same cores.
    pub together: bool,
    /// Whether only completeness is checked.
    pub check: bool,
    /// File for the measurements.
    pub json: Option<PathBuf>,
    /// Selected contestants; `None` selects all available ones.
    pub only: Option<Vec<Contestant>>,
}

impl RunOptions {
    /// Parses the options of the role `run`.
    pub fn parse_run(words: Vec<String>) -> Result<Self, BoxError> {
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
        let args = RoleArgs::parse(words, &known, &["check", "together"])?;
        if args.has("churn")
            && let Some(other) =
                ["rate", "tokens", "pattern", "check"].into_iter().find(|name| args.has(name))
        {
            return Err(format!("--{other} applies to streams: omit it or --churn").into());
        }
        Self::from(&args)
    }

    /// Parses the options of the role `sweep`, which has its own defaults.
    pub fn parse_sweep(words: Vec<String>) -> Result<Self, BoxError> {
        let defaults = ["--rounds", "6", "--only", "streamgauge,nginx"].map(str::to_owned);
        let known = ["streamgauge", "seconds", "rounds", "workers", "cores", "only", "json"];
        let args = RoleArgs::parse(defaults.into_iter().chain(words).collect(), &known, &[])?;
        Ok(Self { together: true, ..Self::from(&args)? })
    }

    fn from(args: &RoleArgs) -> Result<Self, BoxError> {
        let (check, churn) = (args.has("check"), args.optional("churn")?);
        let default = |full, checked| if check { checked } else { full };
        let streams = if churn.is_some() { 64.0 } else { default(200.0, 20.0) };
        let only = args
            .optional::<String>("only")?
            .map(|names| names.split(',').map(str::parse).collect::<Result<Vec<Contestant>, _>>());
        let cores = CorePlan::from_args(args)?;
        let workers = args.number("workers", 1.0, 1.0, 64.0)? as usize;
        if let Some(cores) = cores.filter(|cores| cores.proxy.count() < workers) {
            let count = cores.proxy.count();
            println!(
                "The {workers} workers of a proxy share {count} of the cores: assign more with --cores."
            );
        }
        Ok(Self {
            streams: args.number("streams", streams, 1.0, 20_000.0)? as u64,
            rate: args.number("rate", 20.0, 0.1, 10_000.0)?,
            seconds: args.number("seconds", default(4.0, 2.0), 0.5, 600.0)?,
            warmup: args.number("warmup", default(1.0, 0.5), 0.1, 60.0)?,
            rounds: args.number("rounds", default(12.0, 1.0), 1.0, 100.0)? as usize,
            tokens: args.number("tokens", 0.0, 0.0, 1e6)? as u64,
            pattern: args.or("pattern", SendPattern::Spread)?,
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

    /// Returns the options of the load generator for a window that starts at `from`.
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

    /// Maximum duration of a stream, in seconds.
    pub fn longest(&self) -> f64 {
        self.warmup + self.seconds + self.tokens as f64 / self.rate
    }

    /// Returns the contestants. A selected one that cannot take part is an error; other unavailable ones are skipped.
    pub fn contestants(&self) -> Result<Vec<Contestant>, BoxError> {
        let mut contestants = Vec::new();
        for contestant in Contestant::ALL {
            let named = self.only.as_ref().map(|only| only.contains(&contestant));
            match self.check_available(contestant) {
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

    /// Returns an error with the reason if `contestant` cannot take part.
    fn check_available(&self, contestant: Contestant) -> Result<(), String> {
        match (contestant, self.streamgauge.as_deref()) {
            (Contestant::Streamgauge, None) => Err("--streamgauge PATH was not given".to_owned()),
            (Contestant::Streamgauge, Some(path)) if !path.is_file() => {
                Err(format!("{} is no file", path.display()))
            }
            (Contestant::Rival(rival), _) if rival.program().is_none() => {
                Err("it is not installed".to_owned())
            }
            (Contestant::Bare | Contestant::BareConn, _) if self.workers > 1 => {
                Err("it supports one worker only".to_owned())
            }
            (Contestant::Direct, _) if self.together => {
                Err("with --together, the cost of the loopback cannot be separated".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Writes the file of `--json`, if given.
    pub fn write_json(&self, value: &serde_json::Value) -> Result<(), BoxError> {
        let Some(path) = &self.json else { return Ok(()) };
        let failed = |error| format!("{}: {error}", Path::display(path));
        Ok(std::fs::write(path, format!("{value:#}\n")).map_err(failed)?)
    }
}
