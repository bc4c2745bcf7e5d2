//! `streamgauge compare A B`: what two request logs say of two servers, like for like.
//!
//! [`log`] reads what is needed of each line, [`rows`] compares what is alike, by the arithmetic of
//! [`statistics`], [`notes`] says in words what is not, and [`table`] writes it all down. The definitions
//! are in docs/compare.md.

mod log;
mod notes;
mod quantity;
mod report;
mod rows;
mod statistics;
mod table;

pub use log::Selection;
pub use report::{Change, Comparison, Finding, LogSummary, Report, Row, Statistic};
pub use statistics::Interval;

use crate::cli::CompareArgs;
use log::Log;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Why two logs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} holds no inference request{why}: give a file that --request-log wrote")]
    NoRequest { file: String, why: String },
    #[error("no request of {file} is selected: it holds {has}")]
    NoneSelected { file: String, has: String },
    #[error(
        "the two logs have nothing alike: {a}; {b}. An operation is compared with itself only, streamed or not"
    )]
    NothingAlike { a: String, b: String },
    #[error("--{0} may be given once for both logs, or twice: for A, then for B")]
    TooMany(&'static str),
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// Compares the logs that these arguments name, and prints the report.
///
/// # Errors
/// If they cannot be compared, or the report not be written.
pub fn run(args: &CompareArgs) -> Result<(), CompareError> {
    let [a, b] = selections(args)?;
    let open = |path: &Path| {
        let file = path.display().to_string();
        match File::open(path) {
            Ok(open) => Ok((file, BufReader::new(open))),
            Err(source) => Err(CompareError::Read { file, source }),
        }
    };
    let report = compare(open(&args.a)?, &a, open(&args.b)?, &b)?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).map_err(io::Error::from)? + "\n"
    } else {
        report.to_string()
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn selections(args: &CompareArgs) -> Result<[Selection; 2], CompareError> {
    let two = |name, given: &[String]| match given {
        [] => Ok([None, None]),
        [both] => Ok([Some(both.clone()), Some(both.clone())]),
        [a, b] => Ok([Some(a.clone()), Some(b.clone())]),
        _ => Err(CompareError::TooMany(name)),
    };
    let [model_a, model_b] = two("model", &args.model)?;
    let [upstream_a, upstream_b] = two("upstream", &args.upstream)?;
    let operation = args.operation.clone();
    Ok([
        Selection { model: model_a, upstream: upstream_a, operation: operation.clone() },
        Selection { model: model_b, upstream: upstream_b, operation },
    ])
}

/// Compares two logs, each with the name to call it by and what to take of it.
///
/// # Errors
/// If one cannot be read, or holds nothing that can be compared.
pub fn compare(
    a: (String, impl BufRead),
    of_a: &Selection,
    b: (String, impl BufRead),
    of_b: &Selection,
) -> Result<Report, CompareError> {
    let files = [a.0.clone(), b.0.clone()];
    let (a, b) = (read(a, of_a)?, read(b, of_b)?);
    let comparisons = rows::comparisons(&a, &b);
    if comparisons.is_empty() {
        let [of_a, of_b] = &files;
        let has = |file: &str, log: &Log| format!("{file} has {}", notes::kinds(log));
        return Err(CompareError::NothingAlike { a: has(of_a, &a), b: has(of_b, &b) });
    }
    let notes = notes::notes(&a, &b, &comparisons);
    let [of_a, of_b] = files;
    Ok(Report { a: summary(of_a, &a), b: summary(of_b, &b), comparisons, notes })
}

fn read(
    (file, source): (String, impl BufRead),
    selection: &Selection,
) -> Result<Log, CompareError> {
    let log = match Log::read(source, selection) {
        Ok(log) => log,
        Err(source) => return Err(CompareError::Read { file, source }),
    };
    if log.selected > 0 {
        return Ok(log);
    }
    if log.unselected > 0 {
        return Err(CompareError::NoneSelected { file, has: notes::has(&log.names) });
    }
    let why = match &log.first_bad {
        Some((number, reason)) => format!(
            " ({} of its {} lines are no request; line {number}: {reason})",
            log.bad, log.lines
        ),
        None if log.lines == 0 => " (it is empty)".to_owned(),
        None => String::new(),
    };
    Err(CompareError::NoRequest { file, why })
}

fn summary(file: String, log: &Log) -> LogSummary {
    let instant = |seconds: f64| {
        let since = Duration::try_from_secs_f64(seconds).ok()?;
        let time = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(humantime::format_rfc3339_seconds(time).to_string())
    };
    let period = log.period();
    let names = |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect();
    LogSummary {
        file,
        lines: log.lines,
        bad_lines: log.bad,
        requests: log.selected,
        models: names(&log.names.models),
        upstreams: names(&log.names.upstreams),
        engines: names(&log.names.engines),
        from: period.and_then(|(from, _)| instant(from)),
        to: period.and_then(|(_, to)| instant(to)),
        in_flight: log.in_flight(),
    }
}
