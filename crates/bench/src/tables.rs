//! Markdown tables of a run.

use std::fmt::Write as _;

use crate::contestant::Contestant;
use crate::latency_column::LatencyColumn;
use crate::machine;
use crate::measure::MeasurementSample;
use crate::options::RunOptions;
use crate::paired_rounds::{self, SampleValue};
use crate::stats::{MedianEstimate, estimate, median};

/// Title of a column, its value, and its number of decimals.
type TableColumn<F = fn(&MeasurementSample) -> Option<f64>> = (&'static str, F, usize);

const STREAMS: [TableColumn; 3] = [
    ("CPU, us/token", |sample| sample.cpu_us, 2),
    ("base memory, MiB", |sample| sample.base_mib, 1),
    ("memory, KiB/stream", |sample| sample.kib_per_stream, 1),
];

const CHURN: [TableColumn; 6] = [
    ("requests/s", |sample| sample.requests_per_second, 0),
    ("CPU, us/request", |sample| sample.cpu_us, 2),
    ("requests/s of a full core", |sample| sample.cpu_us.map(|cpu| 1e6 / cpu), 0),
    ("proxy, % of a core", |sample| sample.proxy_core.map(|share| share * 100.0), 0),
    ("load core, %", |sample| sample.load_core.map(|share| share * 100.0), 0),
    ("base memory, MiB", |sample| sample.base_mib, 1),
];

/// Returns all tables of a run.
pub fn markdown(
    samples: &[MeasurementSample],
    contestants: &[Contestant],
    options: &RunOptions,
) -> String {
    let run = RunTables { samples, contestants };
    let mut out = title(options);
    match (options.churn, options.together) {
        (None, false) => {
            let times = LatencyColumn::ALL.map(|time| {
                (time.title, move |sample: &MeasurementSample| time.value_in(sample), 0)
            });
            out += &run.medians("Cost", &STREAMS);
            out += &run.medians("Times, us", &times);
            for baseline in [Contestant::Direct, Contestant::NGINX] {
                out += &run.differences(baseline, &times);
            }
            out += &run.ratios("CPU per token", |sample| sample.cpu_us);
        }
        // Proxies that run together delay each other, so times are meaningless.
        (None, true) => {
            out += &run.medians("Cost", &STREAMS);
            out += &run.ratios("CPU per token", |sample| sample.cpu_us);
        }
        (Some(_), false) => {
            out += &run.medians("Cost", &CHURN);
            out += &run.ratios("CPU per request", |sample| sample.cpu_us);
            out += &run.ratios("Requests per second", |sample| sample.requests_per_second);
        }
        (Some(_), true) => {
            out += &run.medians("Cost", &CHURN[1..]);
            out += &run.ratios("CPU per request", |sample| sample.cpu_us);
        }
    }
    out + &footnote(samples.iter(), options)
}

/// Formats a number; a dash if absent.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Formats an estimate with its interval; a dash if absent.
pub fn interval(estimate: Option<MedianEstimate>, digits: usize) -> String {
    estimate.map_or_else(
        || "-".to_owned(),
        |MedianEstimate { median, low, high, .. }| {
            format!("{median:.digits$} ({low:.digits$} to {high:.digits$})")
        },
    )
}

/// Formats a table from column titles and named rows.
pub fn table<'a>(
    columns: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = (String, Vec<String>)>,
) -> String {
    let columns: Vec<&str> = columns.into_iter().collect();
    let rule = "---:|".repeat(columns.len());
    let mut out = format!("\n| | {} |\n|---|{rule}\n", columns.join(" | "));
    for (name, cells) in rows {
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out
}

struct RunTables<'a> {
    samples: &'a [MeasurementSample],
    contestants: &'a [Contestant],
}

impl RunTables<'_> {
    fn medians(&self, what: &str, columns: &[TableColumn<impl SampleValue>]) -> String {
        let rows = self.contestants.iter().map(|&contestant| {
            let cell = |(_, value, digits): &TableColumn<_>| {
                spread(&paired_rounds::values(self.samples, contestant, value), *digits)
            };
            (contestant.name().to_owned(), columns.iter().map(cell).collect())
        });
        let table = table(columns.iter().map(|(name, ..)| *name), rows);
        format!("\n{what}: median of the rounds (least to greatest)\n{table}")
    }

    fn differences(
        &self,
        baseline: Contestant,
        columns: &[TableColumn<impl SampleValue>],
    ) -> String {
        if !self.contestants.contains(&baseline) {
            return String::new();
        }
        let others =
            self.contestants.iter().filter(|one| ![baseline, Contestant::Direct].contains(one));
        let rows = others.map(|&contestant| {
            let cell = |(_, value, digits): &TableColumn<_>| {
                interval(
                    paired_rounds::difference(self.samples, contestant, baseline, value),
                    *digits,
                )
            };
            (contestant.name().to_owned(), columns.iter().map(cell).collect())
        });
        let (name, table) = (baseline.name(), table(columns.iter().map(|(name, ..)| *name), rows));
        format!(
            "\nTimes minus those of {name} in the same round, us: median (its interval)\n{table}"
        )
    }

    fn ratios(&self, what: &str, value: impl SampleValue) -> String {
        let present = |baseline: &&Contestant| self.contestants.contains(baseline);
        let baselines: Vec<&Contestant> = Contestant::BASELINES.iter().filter(present).collect();
        let proxies = self.contestants.iter().filter(|one| **one != Contestant::Direct);
        let rows = proxies.map(|&contestant| {
            let cell = |&&baseline: &&Contestant| {
                let ratio = paired_rounds::ratio(self.samples, contestant, baseline, &value);
                interval(ratio.filter(|_| contestant != baseline), 3)
            };
            (contestant.name().to_owned(), baselines.iter().map(cell).collect())
        });
        let table = table(baselines.iter().map(|baseline| baseline.name()), rows);
        format!("\n{what}, as a ratio to that in the same round: median (its interval)\n{table}")
    }
}

fn title(options: &RunOptions) -> String {
    let RunOptions { streams, rate, seconds, rounds, workers, .. } = options;
    let load = match options.churn {
        Some(churn) => format!("{streams} clients in a closed loop, {} connections", churn.name()),
        None => format!("{streams} streams at {rate} tokens/s each ({})", options.pattern.name()),
    };
    let workers = if *workers > 1 { format!("{workers} workers each, ") } else { String::new() };
    let how = if options.together { "all at once on one core" } else { "one after the other" };
    format!(
        "{load}, windows of {seconds} s, {rounds} rounds, {workers}{how}; {}\n",
        machine::describe()
    )
}

/// Formats the notes below the tables on their reliability.
pub fn footnote<'a>(
    samples: impl Iterator<Item = &'a MeasurementSample> + Clone,
    options: &RunOptions,
) -> String {
    let confidence = estimate(&vec![0.0; options.rounds]).map_or(0.0, |one| one.confidence * 100.0);
    let (count, lost) = (samples.clone().count(), samples.clone().map(MeasurementSample::errors));
    let lost = lost.fold(0, u64::saturating_add);
    let disturbed = samples.clone().filter(|sample| sample.is_disturbed()).count();
    let load_core = samples.filter_map(|sample| sample.load_core).fold(0.0, f64::max) * 100.0;
    let limit = match options.churn {
        Some(_) => " From 95 % on, it limits requests/s, but not CPU per request.",
        None => "",
    };
    format!(
        "\nIntervals contain the true median with {confidence:.1} % confidence. Lost responses: {lost}. \
         Measurements disturbed by other processes: {disturbed} of {count}. \
         The load client's core was at most {load_core:.0} % busy.{limit}\n"
    )
}

fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().min_by(f64::total_cmp);
    let greatest = values.iter().copied().max_by(f64::total_cmp);
    match median(values) {
        None => "-".to_owned(),
        median => format!(
            "{} ({} to {})",
            number(median, digits),
            number(least, digits),
            number(greatest, digits)
        ),
    }
}
