//! `streamgauge explain FILE`: prints what Streamgauge reads in a recorded response.
//!
//! [`recording`] parses the file, [`events`] lists the events with the facts in each, [`response`] measures the whole,
//! and [`report`] formats both. [`redact`] replaces text. [`sample`] checks the recordings of configured APIs.

mod events;
mod recording;
mod redact;
mod report;
mod response;
mod sample;

pub use sample::check_sample;

use crate::cli::ExplainArgs;
use crate::config::{ConfigError, ConfiguredApi, Sources, dialect_hint, load_apis};
use recording::RecordedResponse;
use report::ExplainReport;
use response::ExplainedResponse;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use streamgauge_core::dialect::route::{OTHER, Operation, Route};
use streamgauge_core::dialect::{Dialect, ROUTES, UNKNOWN};

/// Why a recording cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{0} has no body: record the response with curl -sN -i")]
    NoBody(String),
    #[error("--api {name}: unknown API; {hint}")]
    UnknownApi { name: String, hint: String },
    #[error("--path {path}: the responses of this path are forwarded and counted, but not read")]
    NotRead { path: String },
    #[error("sessions over a WebSocket cannot be explained from a recording")]
    Session,
    #[error(
        "status {status}: Streamgauge does not read the body of a failed request. Its outcome is decided by the \
         status"
    )]
    Failed { status: u16 },
    #[error("the content coding {0:?} is not supported; record the response without --compressed")]
    ContentCoding(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot write the report: {0}")]
    Write(io::Error),
}

/// Reads a recording and prints the report.
///
/// # Errors
/// If the recording cannot be read, or its API is not known.
pub fn run(args: &ExplainArgs) -> Result<(), ExplainError> {
    let sources = Sources { file: args.config.clone(), ..Sources::default() };
    let dialect = find_dialect(args, load_apis(&sources)?)?;
    let recording = RecordedResponse::parse(&read_file(&args.file)?);
    let report = explain(dialect, &recording, args)?.to_string();
    match io::stdout().lock().write_all(report.as_bytes()) {
        // The reader of the pipe, such as `head`, has closed it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ExplainError::Write),
    }
}

fn explain(
    dialect: &'static Dialect,
    recording: &RecordedResponse,
    args: &ExplainArgs,
) -> Result<ExplainReport, ExplainError> {
    if let Some(status) = recording.failed_status() {
        return Err(ExplainError::Failed { status });
    }
    if recording.body.is_empty() {
        return Err(ExplainError::NoBody(file_name(&args.file)));
    }
    let given = args.content_type.as_deref();
    let response = ExplainedResponse::read(dialect, recording, given)
        .map_err(|_| ExplainError::ContentCoding(recording.header("content-encoding")))?;
    Ok(ExplainReport::new(response, args.redact))
}

fn file_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ExplainError> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.map_err(|source| ExplainError::Read { file: file_name(path), source })
}

/// Whether the messages of a WebSocket are in this dialect.
fn is_session(dialect: &'static Dialect) -> bool {
    let mut routes = ROUTES.iter().filter(|route| route.operation == Operation::Realtime);
    routes.any(|route| route.dialect() == Some(dialect))
}

/// Finds the dialect by the name of the API, else by the path of the request. If neither is known, the events show it.
fn find_dialect(
    args: &ExplainArgs,
    apis: Vec<ConfiguredApi>,
) -> Result<&'static Dialect, ExplainError> {
    let configured = || apis.iter().map(|api| api.dialect.name);
    if let Some(name) = &args.api {
        let own = apis.iter().map(|api| api.dialect).find(|dialect| dialect.name == name);
        return match own.or_else(|| Dialect::by_name(name)) {
            Some(dialect) if is_session(dialect) => Err(ExplainError::Session),
            Some(dialect) => Ok(dialect),
            None => {
                let hint = dialect_hint(name, configured());
                Err(ExplainError::UnknownApi { name: name.clone(), hint })
            }
        };
    }
    let Some(path) = &args.path else { return Ok(&UNKNOWN) };
    let path_only = path.split(['?', '#']).next().unwrap_or(path);
    let routes = apis.iter().map(|api| api.route).collect::<Vec<Route>>().leak();
    let methods: &[&str] = match &args.method {
        Some(method) => &[method.as_str()],
        None => &["POST", "GET", "PUT"],
    };
    let found = methods.iter().map(|method| Route::find_with(routes, method, path_only));
    let route = found.into_iter().find(|route| **route != OTHER).unwrap_or(&OTHER);
    let path = path.clone();
    match route.dialect() {
        _ if route.operation == Operation::Realtime => Err(ExplainError::Session),
        Some(dialect) => Ok(dialect),
        None if route.is_unknown() => Ok(&UNKNOWN),
        None => Err(ExplainError::NotRead { path }),
    }
}
