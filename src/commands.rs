//! The commands of the program, their output and their exit codes.

use crate::app::{self, App, AppError};
use crate::cli::{Cli, Command, RunArgs};
use crate::config::{
    AdminEndpoint, Config, LogFormat, ignored_variables, load, load_admin_endpoint,
};
#[cfg(feature = "demo")]
use crate::demo;
use crate::log::{StandardErrorLog, UNLIMITED};
use crate::proxy::DrainStage;
use crate::{
    cli_documents, compare, descriptors, explain, healthcheck, metrics, signals, tail, top,
};
use clap::Parser;
use clap::error::ErrorKind;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use tokio::sync::watch;

/// Exit code for a wrong command line or configuration (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Runs the command of a parsed command line, or prints the error of the parser.
pub fn run(parsed: Result<Cli, clap::Error>) -> ExitCode {
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no failure: `streamgauge --help | head -1`.
            let _ = error.print();
            let is_requested =
                matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if is_requested { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match cli.command {
        None => run_proxy(&cli.run),
        Some(Command::CheckConfig(args)) => with_config(&args, check_config),
        Some(Command::Healthcheck(args)) => {
            with_admin_endpoint(&args, |endpoint| exit_code(healthcheck::run(&endpoint)))
        }
        Some(Command::Wait(args)) => {
            let report = |message: &dyn Display| {
                if args.verbose {
                    report(message)
                }
            };
            with_admin_endpoint(&args.run, |endpoint| {
                exit_code(healthcheck::wait(&endpoint, args.timeout, report))
            })
        }
        #[cfg(feature = "demo")]
        Some(Command::Demo(args)) => exit_code(demo::run(&args)),
        Some(Command::Top(args)) => exit_code(top::run(&args)),
        Some(Command::Tail(args)) => exit_code(tail::run(&args)),
        Some(Command::Compare(args)) => usage_exit_code(compare::run(&args)),
        Some(Command::Explain(args)) => usage_exit_code(explain::run(&args)),
        Some(Command::Completions { shell }) => exit_code(cli_documents::print_completions(shell)),
        Some(Command::Man { command }) => {
            usage_exit_code(cli_documents::print_man_page(command.as_deref()))
        }
        Some(Command::Help { command }) => {
            let arguments = ["streamgauge".to_owned()].into_iter().chain(command);
            run(Cli::try_parse_from(arguments.chain(["--help".to_owned()])))
        }
    }
}

/// Loads the configuration, and runs the command.
fn with_config(args: &RunArgs, command: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    load_config(args, |message| report(message)).map_or_else(|code| code, command)
}

/// Loads how to connect to the admin port, and runs the command. The other keys can be wrong or missing.
fn with_admin_endpoint(
    args: &RunArgs,
    command: impl FnOnce(AdminEndpoint) -> ExitCode,
) -> ExitCode {
    match load_admin_endpoint(&args.sources()) {
        Ok(endpoint) => command(endpoint),
        Err(error) => {
            report(&error);
            ExitCode::from(USAGE)
        }
    }
}

/// Loads the configuration, and reports its warnings and errors. An error is the exit code.
fn load_config(args: &RunArgs, report: impl Fn(&dyn Display)) -> Result<Config, ExitCode> {
    let sources = args.sources();
    let mut warnings = ignored_variables(&sources);
    let loaded = load(&sources);
    warnings.extend(match &loaded {
        Ok(config) => config.warnings.clone(),
        Err(error) => error.warnings.clone(),
    });
    for warning in warnings {
        report(&format_args!("warning: {warning}"));
    }
    loaded.map_err(|error| {
        report(&error);
        ExitCode::from(USAGE)
    })
}

/// Writes one message to standard error. There is no other place for it if standard error is closed.
fn report(message: impl Display) {
    let _ = writeln!(io::stderr(), "streamgauge: {message}");
}

fn exit_code(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error);
            ExitCode::FAILURE
        }
    }
}

/// Exit code of a command whose errors are wrong arguments or files.
fn usage_exit_code(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error);
            ExitCode::from(USAGE)
        }
    }
}

/// Prints the configuration in force to standard output, and what to expect of it to standard error.
fn check_config(config: Config) -> ExitCode {
    let errors = app::check_files(&config);
    let samples = config.apis.iter().filter_map(explain::check_sample);
    let (samples, wrong): (Vec<_>, Vec<_>) = samples.partition(Result::is_ok);
    if !errors.is_empty() || !wrong.is_empty() {
        errors.iter().for_each(report);
        wrong.into_iter().filter_map(Result::err).for_each(report);
        return ExitCode::from(USAGE);
    }
    match writeln!(io::stdout(), "{:#}", config.effective) {
        // The reader of the pipe has what it needs: `streamgauge check-config | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => return exit_code(Err(format!("cannot write to standard output: {error}"))),
        Ok(()) => {}
    }
    samples.into_iter().flatten().for_each(report);
    let series = metrics::estimate_series(config.proxies.len(), &config.metrics);
    report(format_args!(
        "the configuration is valid; /metrics will likely have about {} series",
        series.likely
    ));
    report(format_args!(
        "worst case: {} series, if every combination of label values occurs. The largest family is {}. A lower \
         max_models reduces the worst case",
        series.worst_case,
        series.cause()
    ));
    ExitCode::SUCCESS
}

/// Runs the proxy until a signal ends it. From here on, only the log's own thread writes to standard error: a write to a
/// full pipe would block the process.
fn run_proxy(args: &RunArgs) -> ExitCode {
    let log = match StandardErrorLog::start() {
        Ok(log) => log,
        Err(error) => return exit_code(Err(format!("cannot start the log: {error}"))),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(format!("cannot start the runtime: {error}"))),
    };
    let code = runtime.block_on(async {
        let code = serve(args, &log).await;
        // On another thread, so that this one still handles the second signal.
        let _ = tokio::task::spawn_blocking(|| log.close()).await;
        code
    });
    // A thread that does not end must not hold the exit.
    runtime.shutdown_background();
    code
}

/// Loads the configuration and serves clients. Returns the exit code.
async fn serve(args: &RunArgs, log: &StandardErrorLog) -> ExitCode {
    let report = |message: &dyn Display| log.print(format_args!("streamgauge: {message}"));
    let config = match load_config(args, report) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let log_level = log.install(config.log_level, config.log_format == LogFormat::Json);
    survive_file_size_limit();
    descriptors::raise_limit();
    let failure = |error: AppError| {
        report(&error);
        if error.is_configuration() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
    };
    let upstreams: Vec<String> = config.proxies.iter().map(|proxy| proxy.upstream.url()).collect();
    let mut app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => return failure(error),
    };
    app.set_log_level_handle(log_level);
    for ((name, address), upstream) in app.addresses().iter().zip(upstreams) {
        tracing::info!(target: UNLIMITED, name, listen = %address, upstream, "forwarding");
    }
    tracing::info!(target: UNLIMITED, metrics = %app.metrics_url(), "measuring");
    app.announce_page();
    let requested = signals::requested_stage().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot install signal handlers: only SIGKILL stops Streamgauge");
        watch::channel(DrainStage::Serving).1
    });
    match app.run(requested.clone()).await {
        Ok(()) if *requested.borrow() == DrainStage::Aborting => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(error),
    }
}

/// Makes a write beyond the limit of file sizes (`ulimit -f`) fail, instead of ending the process by SIGXFSZ.
fn survive_file_size_limit() {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays installed for the life of the process; no one has to receive the signal.
    if let Err(error) = signal(SignalKind::from_raw(nix::libc::SIGXFSZ)) {
        tracing::warn!(%error, "cannot handle SIGXFSZ: a limit of file sizes can end Streamgauge");
    }
}
