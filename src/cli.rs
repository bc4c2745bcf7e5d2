//! The command line.

use crate::admin_client::AdminUrl;
use crate::config::keys::{DefaultValue, KEYS, KeyInfo};
use crate::config::{CONFIG_FILE, Sources, variable_name};
use clap::{
    Arg, ArgMatches, Args, Command as ClapCommand, FromArgMatches, Parser, Subcommand, value_parser,
};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;

/// The flag that names the configuration file.
const CONFIG_FLAG: &str = "config";

/// A measuring reverse proxy for LLM inference servers.
///
/// Runs in front of an inference server, forwards all traffic unchanged, measures the streamed responses,
/// and exports the results for Prometheus.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = KEYS_HELP
)]
pub struct Cli {
    /// Command, if not to run the proxy.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the proxy.
    #[command(flatten)]
    pub run: RunArgs,
}

/// How to set a key that has no flag.
const KEYS_HELP: &str = "Every key of the configuration file can also be set by an environment variable: STREAMGAUGE__ \
    and the key in upper case, such as STREAMGAUGE__STALL_SECONDS=3. A flag overrides a variable, and a variable \
    overrides the file.";

/// The commands. Without one, the proxy runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[cfg(feature = "demo")]
    /// Run a demo: a simulated inference server, the proxy, and traffic
    Demo(DemoArgs),
    /// Check the configuration and print every key with its value; exit code 64 if there is an error
    CheckConfig(RunArgs),
    /// Check whether a running Streamgauge is ready: exit code 0 if it is, for containers without a shell
    Healthcheck(RunArgs),
    /// Wait until no request is in flight: exit code 0 then, and 1 at the time limit; for preStop hooks
    Wait(WaitArgs),
    /// Show models, requests, events and slow requests of a running Streamgauge in the terminal
    Top(TopArgs),
    /// Print requests as they end
    Tail(TailArgs),
    /// Compare two servers or two models by their request logs
    Compare(CompareArgs),
    /// Print what Streamgauge reads in a recorded response, event by event
    Explain(ExplainArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a man page in roff format
    Man {
        /// The command; without one, the page of the program
        command: Option<String>,
    },
    /// Print the help of a command
    Help {
        /// The command; without one, the help of the program
        command: Option<String>,
    },
}

/// The flags that set the configuration: `--config`, and the flag of each key in the table of keys that
/// has one.
#[derive(Debug, Clone, Default)]
pub struct RunArgs {
    /// Path of the TOML file.
    config: Option<PathBuf>,
    /// Keys and their values.
    flags: Vec<(&'static str, String)>,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// Time limit in seconds, such as 300 or 300s
    #[arg(long, value_name = "SECONDS", default_value = "300s", value_parser = parse_seconds)]
    pub timeout: Duration,
    /// Print the number of requests in flight when it changes
    #[arg(long, short)]
    pub verbose: bool,
    /// The flags of the proxy. Only the address of the admin port is used.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Parses seconds, with or without the unit.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "expected seconds, such as 300 or 300s".into())
}

/// Arguments of `demo`.
#[cfg(feature = "demo")]
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Stop after N seconds and print a summary; without it, run until Ctrl-C
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// New requests per second
    #[arg(long, value_name = "RATE", default_value_t = 6.0)]
    pub rate: f64,
    /// Address where clients connect; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Address where Prometheus scrapes; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub admin: String,
}

/// Arguments of `compare`. A log is a file that `--request-log` wrote; A and B can be the same file.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Request log of the baseline
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// Request log to compare with the baseline; can be the same file as A
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// Select only this model; if given twice, the first is for A and the second for B
    #[arg(long, value_name = "MODEL")]
    pub model: Vec<String>,
    /// Select only this upstream; if given twice, the first is for A and the second for B
    #[arg(long, value_name = "NAME")]
    pub upstream: Vec<String>,
    /// Select only this operation, such as chat
    #[arg(long, value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// Recorded response: the body, or the output of curl -i; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// API of the response: a name of docs/formats.md (column dialect), or of an API in the file of --config
    #[arg(long, value_name = "NAME")]
    pub api: Option<String>,
    /// Path of the request, which determines the API; without --api and --path, the events show it
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Method of the request [default: any method that has the path]
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Content type of the response [default: the recorded header, else detected from the body]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Path of a configuration file that describes further APIs
    #[arg(long, value_name = "FILE", env = CONFIG_FILE, hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Replace all text by x, and print the data of each event in full: for reports about a fault
    #[arg(long)]
    pub redact: bool,
}

/// The admin port of a running Streamgauge, and how to have access to it.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// Admin port: http://HOST:PORT, https://HOST:PORT or HOST:PORT
    #[arg(
        value_name = "ADMIN_URL",
        env = "STREAMGAUGE__ADMIN",
        hide_env_values = true,
        default_value = "127.0.0.1:9464"
    )]
    pub url: AdminUrl,
    /// File with the admin token; without it, the variable STREAMGAUGE__ADMIN_TOKEN has the token
    #[arg(
        long,
        value_name = "FILE",
        env = "STREAMGAUGE__ADMIN_TOKEN_FILE",
        hide_env_values = true
    )]
    pub token_file: Option<PathBuf>,
    /// PEM file of certificates that are trusted besides the system's, for https
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate; only for a connection that nobody else can intercept, such as loopback
    #[arg(long, conflicts_with = "ca_file")]
    pub insecure: bool,
}

/// Arguments of `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The admin port
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Print models, events and slow requests once as text, also without a terminal
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `tail`. Requests must pass all filters.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// The admin port
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Begin with the N newest requests that have ended
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub last: usize,
    /// Only requests with a TTFT of at least SECONDS; without output, with a request duration of that
    #[arg(long, value_name = "SECONDS")]
    pub slow: Option<f64>,
    /// Only requests that failed by an error of the server or of Streamgauge
    #[arg(long)]
    pub failed: bool,
    /// Only requests that waited for a cold start
    #[arg(long)]
    pub cold: bool,
    /// Only requests that name this model, or whose response does; can be given several times
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// Print the lines of the request log instead of a table
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// The sources of the configuration: these flags and the environment of the process.
    pub fn sources(&self) -> Sources {
        // A variable that is not UTF-8 cannot set a key.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Sources {
            file: self.config.clone(),
            environment: environment.collect(),
            flags: self.flags.clone(),
        }
    }
}

/// The keys that have a flag.
fn flag_keys() -> impl Iterator<Item = (&'static KeyInfo, &'static str)> {
    KEYS.iter().filter_map(|key| Some((key, key.flag?)))
}

/// Help of a flag: what the key sets, its default, and its environment variable.
fn flag_help(key: &KeyInfo) -> String {
    let default = match key.default {
        DefaultValue::None => String::new(),
        DefaultValue::Toml(toml) => format!(" [default: {}]", toml.trim_matches('"')),
        DefaultValue::Computed(description) => format!(" [default: {description}]"),
    };
    format!("{}{default} [env: {}]", key.help, variable_name(key.name))
}

impl Args for RunArgs {
    fn augment_args(command: ClapCommand) -> ClapCommand {
        let file = Arg::new(CONFIG_FLAG)
            .long(CONFIG_FLAG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .env(CONFIG_FILE)
            .hide_env_values(true)
            .help("Path of the configuration file (TOML); without it, no file is read");
        let flag = |(key, placeholder): (&KeyInfo, &'static str)| {
            let name = key.name.replace('_', "-");
            Arg::new(key.name).long(name).value_name(placeholder).help(flag_help(key))
        };
        command.arg(file).args(flag_keys().map(flag))
    }

    fn augment_args_for_update(command: ClapCommand) -> ClapCommand {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |(key, _): (&'static KeyInfo, _)| {
            Some((key.name, matches.get_one::<String>(key.name)?.clone()))
        };
        let config = matches.get_one::<PathBuf>(CONFIG_FLAG).cloned();
        Ok(Self { config, flags: flag_keys().filter_map(value).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
