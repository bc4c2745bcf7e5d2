//! Report of a run: one line per measurement, and everything as JSON.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::measure::MeasurementSample;
use crate::options::RunOptions;
use crate::pairs;
use crate::rival::RivalProxy;
use crate::scrape::MeterCounts;
use crate::stats::MedianEstimate;
use crate::tables::number;

/// The contestants that ratios refer to.
pub const BASELINES: [Contestant; 5] = [
    Contestant::Bare,
    Contestant::BareConn,
    Contestant::NGINX,
    Contestant::Rival(RivalProxy::HaProxy),
    Contestant::Rival(RivalProxy::Envoy),
];

/// A time measured by the load generator, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct LatencyColumn {
    /// Title of the column.
    pub title: &'static str,
    /// Name in the report of the load generator.
    key: &'static str,
    quantile: &'static str,
    /// Whether it is taken from the first streams, one after the other on one connection, instead of the load.
    kept: bool,
}

impl LatencyColumn {
    /// The compared times.
    pub const ALL: [Self; 7] = [
        Self::of_load("token p50", "latency_us", "p50"),
        Self::of_load("token p99", "latency_us", "p99"),
        Self::of_load("head p50", "head_us", "p50"),
        Self::of_load("head p99", "head_us", "p99"),
        Self::of_load("first token p50", "first_token_us", "p50"),
        Self::of_load("first token p99", "first_token_us", "p99"),
        Self::KEPT_CONNECTION,
    ];
    /// From the request to the first token, on a connection that has been in use.
    pub const KEPT_CONNECTION: Self = Self {
        kept: true,
        ..Self::of_load("first token p50, kept connection", "first_token_us", "p50")
    };

    const fn of_load(title: &'static str, key: &'static str, quantile: &'static str) -> Self {
        Self { title, key, quantile, kept: false }
    }

    /// Returns the time in a sample.
    pub fn of(self, sample: &MeasurementSample) -> Option<f64> {
        let load = if self.kept { sample.before.first()? } else { &sample.load };
        load[self.key][self.quantile].as_f64()
    }
}

/// Formats one measurement.
pub fn line(sample: &MeasurementSample, options: &RunOptions) -> String {
    let (name, round) = (sample.contestant.name(), sample.round + 1);
    if let Some(fault) = sample.fault() {
        return format!("round {round}: FAULT: {fault}");
    }
    let mut line = format!("round {round}: {name}: all {} came", sample.passed());
    if options.check {
        return line;
    }
    let number = |value| number(value, 2);
    let cpu = number(sample.cpu_us);
    // Writing to memory cannot fail.
    let _ = match options.churn {
        Some(_) => {
            write!(
                line,
                "; {} requests/s; CPU {cpu} us/request",
                number(sample.requests_per_second)
            )
        }
        None => {
            let [p50, p99, _, _, first, ..] =
                LatencyColumn::ALL.map(|time| number(time.of(sample)));
            let stream = number(sample.kib_per_stream);
            write!(
                line,
                "; CPU {cpu} us/token; {stream} KiB/stream; token p50 {p50} p99 {p99} us; first token p50 {first} us"
            )
        }
    };
    let [foreign, proxy, load] = [sample.foreign, sample.proxy_core, sample.load_core].map(number);
    let _ = write!(line, "; proxy {proxy}, load core {load}, foreign {foreign}");
    line
}

/// Returns all samples and comparisons.
pub fn json(samples: &[MeasurementSample], options: &RunOptions) -> Value {
    let (mut ratios, mut rates, mut differences) = (vec![], vec![], vec![]);
    for contestant in Contestant::ALL {
        for baseline in BASELINES.into_iter().filter(|baseline| *baseline != contestant) {
            let pair = |name, value: fn(&MeasurementSample) -> Option<f64>| {
                let found = pairs::ratio(samples, contestant, baseline, value)?;
                Some(estimate(contestant, baseline, name, found))
            };
            ratios.extend(pair("cpu_ratio", |sample| sample.cpu_us));
            rates.extend(pair("requests_ratio", |sample| sample.requests_per_second));
        }
        for baseline in [Contestant::Direct, Contestant::NGINX] {
            for time in LatencyColumn::ALL
                .into_iter()
                .filter(|_| baseline != contestant && !options.together)
            {
                let found = pairs::difference(samples, contestant, baseline, |one| time.of(one));
                differences.extend(found.map(|found| {
                    let mut row = estimate(contestant, baseline, "difference_us", found);
                    row["time"] = time.key.into();
                    row["quantile"] = time.quantile.into();
                    row["kept_connection"] = time.kept.into();
                    row
                }));
            }
        }
    }
    json!({
        "streams": options.streams,
        "rate": options.rate,
        "seconds": options.seconds,
        "tokens_per_stream": options.tokens,
        "pattern": options.pattern.name(),
        "churn": options.churn.map(|churn| churn.name()),
        "workers": options.workers,
        "together": options.together,
        "pinned": options.cores.is_some(),
        "machine": machine(),
        "samples": samples.iter().map(|one| row(one, options)).collect::<Vec<_>>(),
        "ratios": ratios,
        "request_ratios": rates,
        "differences": differences,
    })
}

fn row(sample: &MeasurementSample, options: &RunOptions) -> Value {
    let (token, request) = match options.churn {
        Some(_) => (None, sample.cpu_us),
        None => (sample.cpu_us, None),
    };
    json!({
        "contestant": sample.contestant.name(),
        "round": sample.round,
        "cpu_us_per_token": token,
        "cpu_us_per_request": request,
        "requests_per_second": sample.requests_per_second,
        "base_mib": sample.base_mib,
        "kib_per_stream": sample.kib_per_stream,
        "foreign_share": sample.foreign,
        "proxy_share_of_a_core": sample.proxy_core,
        "busy_share_of_load_core": sample.load_core,
        "passed": counts(sample.passed()),
        "metered": sample.metered.map(|(told, _)| counts(told)),
        "kept_connection_first_token_us": LatencyColumn::KEPT_CONNECTION.of(sample),
        "load": sample.load,
    })
}

fn counts(counts: MeterCounts) -> Value {
    json!({"requests": counts.requests, "output_tokens": counts.tokens})
}

fn estimate(
    contestant: Contestant,
    baseline: Contestant,
    name: &str,
    found: MedianEstimate,
) -> Value {
    json!({
        "contestant": contestant.name(),
        "baseline": baseline.name(),
        name: found.median,
        "low": found.low,
        "high": found.high,
        "confidence": found.confidence,
    })
}

/// Describes the machine.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let names = || cpus.lines().filter_map(|line| line.strip_prefix("model name"));
    let name = names().next().unwrap_or(": unknown").trim_start_matches([' ', '\t', ':']);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} x {name}, Linux {}", names().count(), kernel.trim())
}
