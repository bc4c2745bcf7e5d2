//! `streamgauge compare A B`: compares two servers or models by their request logs.
//!
//! [`log`] reads the requests, [`rows`] compares matching requests with the formulas of [`statistics`], [`notes`]
//! explains what is not comparable, and [`table`] formats the report. docs/compare.md has the definitions.

mod log;
mod log_line;
mod notes;
mod quantity;
mod report;
mod rows;
mod statistics;
mod table;

pub use log::Selection;
pub use report::{
    Comparison, ComparisonReport, ComparisonRow, Conclusion, LogSummary, RowStatistic,
};

use crate::cli::CompareArgs;
use log::LogContent;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Why a comparison failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file} contains no inference request{why}: give a file written by --request-log")]
    NoRequest { file: String, why: String },
    #[error("no request in {file} matches the selection: the file has {has}")]
    NoneSelected { file: String, has: String },
    #[error(
        "the logs have no operation in common: {a}; {b}. Streamed requests are compared only with streamed requests of the same operation"
    )]
    NothingAlike { a: String, b: String },
    #[error(
        "--{0} is given too often: give it once for both logs, or twice, first for A and then for B"
    )]
    TooMany(&'static str),
    #[error("cannot write the report: {0}")]
    Write(#[from] io::Error),
}

/// Compares two logs and prints the report.
///
/// # Errors
/// If the logs cannot be compared, or the report cannot be written.
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
        // The reader of the pipe, such as `head`, has closed it.
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

/// Compares two logs. Each has a name, a source of lines, and a selection of requests.
///
/// # Errors
/// If a log cannot be read, or contains nothing that can be compared.
pub fn compare(
    a: (String, impl BufRead),
    of_a: &Selection,
    b: (String, impl BufRead),
    of_b: &Selection,
) -> Result<ComparisonReport, CompareError> {
    let files = [a.0.clone(), b.0.clone()];
    let (a, b) = (read(a, of_a)?, read(b, of_b)?);
    let comparisons = rows::comparisons(&a, &b);
    if comparisons.is_empty() {
        let [of_a, of_b] = &files;
        let has = |file: &str, log: &LogContent| format!("{file} has {}", notes::kinds(log));
        return Err(CompareError::NothingAlike { a: has(of_a, &a), b: has(of_b, &b) });
    }
    let notes = notes::notes(&a, &b, &comparisons);
    let [of_a, of_b] = files;
    Ok(ComparisonReport { a: summary(of_a, &a), b: summary(of_b, &b), comparisons, notes })
}

fn read(
    (file, source): (String, impl BufRead),
    selection: &Selection,
) -> Result<LogContent, CompareError> {
    let log = match LogContent::read(source, selection) {
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
            " ({} of {} lines are not requests; line {number}: {reason})",
            log.bad, log.lines
        ),
        None if log.lines == 0 => " (it is empty)".to_owned(),
        None => String::new(),
    };
    Err(CompareError::NoRequest { file, why })
}

fn summary(file: String, log: &LogContent) -> LogSummary {
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
