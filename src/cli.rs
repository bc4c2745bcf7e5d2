//! The command line.

use crate::config::{Sources, misspelt};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A measuring reverse proxy for LLM inference servers.
///
/// Stands in front of an inference server, forwards its traffic unchanged, reads the streamed response
/// as it passes, and tells Prometheus how fast the server really is.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do, if not to run the proxy.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "demo")]
    /// Show it at work: a simulated inference server, the proxy, and traffic
    Demo(DemoArgs),
    /// Check a configuration and say what it comes to
    CheckConfig(RunArgs),
    /// Ask a running Streamgauge whether it is ready: exit code 0 if so (for containers without a shell)
    Healthcheck(RunArgs),
    /// Compare two servers, or two models, by their request logs: like with like
    Compare(CompareArgs),
}

/// The configuration. A flag outweighs the environment (STREAMGAUGE__LISTEN and so on), which
/// outweighs the file.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// A TOML file with any of the keys
    #[arg(long, value_name = "FILE", env = "STREAMGAUGE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// The inference server, such as http://127.0.0.1:8000, https://HOST or unix:/PATH
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// Where Prometheus scrapes [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Write one JSON object a line as each request ends; - is standard output
    #[arg(long, value_name = "FILE")]
    pub request_log: Option<String>,
    /// Threads that forward [default: the CPU quota, at most 2]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// How the demo runs.
#[cfg(feature = "demo")]
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// End after this many seconds, with a summary
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Requests per second
    #[arg(long, value_name = "RATE", default_value_t = 6.0)]
    pub rate: f64,
    /// Where clients connect; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Where Prometheus scrapes; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub admin: String,
}

/// What to compare. A log is what --request-log wrote; the same one may stand for both.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The request log to compare with
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// The request log to compare
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Only this model; given twice, the first is A's and the second B's
    #[arg(long, value_name = "MODEL")]
    pub model: Vec<String>,
    /// Only this upstream; given twice, the first is A's and the second B's
    #[arg(long, value_name = "NAME")]
    pub upstream: Vec<String>,
    /// Only this operation, such as chat
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// The configuration's sources: these flags and the process' environment.
    pub fn sources(&self) -> Sources {
        let flags = [
            ("listen", &self.listen),
            ("upstream", &self.upstream),
            ("admin", &self.admin),
            ("request_log", &self.request_log),
            ("workers", &self.workers),
            ("log_level", &self.log_level),
            ("log_format", &self.log_format),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        // A variable that is no UTF-8 cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Sources {
            file: self.config.clone(),
            environment: environment.collect(),
            flags: flags.collect(),
        }
    }
}

/// What to warn of: variables that look like ours and are not read.
pub fn warnings(sources: &Sources) -> Vec<String> {
    let names = sources.environment.iter().map(|(name, _)| name.as_str());
    misspelt(names)
        .into_iter()
        .map(|name| {
            let rest = name.trim_start_matches("STREAMGAUGE").trim_start_matches('_');
            format!(
                "the environment variable {name} is not read: did you mean STREAMGAUGE__{rest}?"
            )
        })
        .collect()
}
