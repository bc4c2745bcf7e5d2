//! The program: reads the command line and the configuration, and runs the app.

use clap::Parser;
use clap::error::ErrorKind;
use std::io::IsTerminal;
use std::process::ExitCode;
use streamgauge::app::{self, App};
use streamgauge::cli::{Cli, Command, RunArgs, warnings};
use streamgauge::config::{Config, LogFormat, load};
#[cfg(feature = "demo")]
use streamgauge::demo;
use streamgauge::{compare, healthcheck, metrics};

/// The command line or the configuration is wrong (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where standard error is closed there is nobody to tell.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match cli.command {
        None => configured(&cli.run, run),
        Some(Command::CheckConfig(args)) => configured(&args, check),
        Some(Command::Healthcheck(args)) => {
            configured(&args, |config| done(healthcheck::ask(&config)))
        }
        #[cfg(feature = "demo")]
        Some(Command::Demo(args)) => done(demo::run(&args)),
        Some(Command::Compare(args)) => match compare::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("streamgauge: {error}");
                ExitCode::from(USAGE)
            }
        },
    }
}

/// Reads the configuration and goes on with it.
fn configured(args: &RunArgs, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    let sources = args.sources();
    for warning in warnings(&sources) {
        eprintln!("streamgauge: {warning}");
    }
    match load(&sources) {
        Ok(config) => then(config),
        Err(error) => {
            eprintln!("streamgauge: {error}");
            ExitCode::from(USAGE)
        }
    }
}

fn done(result: Result<(), impl std::fmt::Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("streamgauge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(config: Config) -> ExitCode {
    if let Err(error) = app::check_files(&config) {
        return done(Err(error));
    }
    println!("{:#}", config.shown);
    let series = metrics::estimate_series(config.proxies.len(), &config.metrics).worst_case;
    println!("The configuration is good. At worst it comes to {series} series.");
    ExitCode::SUCCESS
}

fn run(config: Config) -> ExitCode {
    log_to_stderr(&config);
    let upstreams: Vec<String> = config.proxies.iter().map(|proxy| proxy.upstream.url()).collect();
    let app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => return done(Err(error)),
    };
    for ((name, address), upstream) in app.addresses().iter().zip(upstreams) {
        tracing::info!(name, listen = %address, upstream, "forwarding");
    }
    tracing::info!(metrics = %format_args!("http://{}/metrics", app.admin_address()), "measuring");
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return done(Err(error)),
    };
    done(runtime.block_on(app.run(told_to_stop())))
}

/// Ready at the first SIGTERM or SIGINT; the second ends the process at once.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("cannot listen to signals: only SIGKILL will stop Streamgauge");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: open requests may finish; a second signal ends them now");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
}

fn log_to_stderr(config: &Config) {
    let log = tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().with_target(false).init(),
    }
}
