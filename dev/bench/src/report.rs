//! The report: medians, and ratios of pairs that were measured in the same round.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::measure::Sample;
use crate::rival::Rival;
use crate::run::Options;
use crate::stats::{Interval, interval, median};

/// Whom the processor time of the others is divided by.
const BASELINES: [Contestant; 5] = [
    Contestant::Bare,
    Contestant::BareConn,
    Contestant::Rival(Rival::Nginx),
    Contestant::Rival(Rival::HaProxy),
    Contestant::Rival(Rival::Envoy),
];

/// One measurement, as it is printed when it is made.
pub fn line(sample: &Sample, options: &Options) -> String {
    let (name, round) = (sample.contestant.name(), sample.round + 1);
    let (tokens, bytes) = (&sample.load["tokens"], &sample.load["bytes"]);
    let mut line = match sample.fault() {
        Some(fault) => return format!("round {round}: FAULT: {fault}"),
        None => format!("round {round}: {name}: all {tokens} tokens, {bytes} bytes"),
    };
    if !options.check {
        let number = |value: Option<f64>| number(value, 2);
        let _ = write!(
            line,
            "; CPU {} us/token; {} KiB/stream; latency p50 {} p99 {} us; foreign {}; load core {}",
            number(sample.cpu_us_per_token),
            number(sample.kib_per_stream),
            number(sample.latency("p50")),
            number(sample.latency("p99")),
            number(sample.foreign),
            number(sample.load_core)
        );
    }
    line
}

/// The tables.
pub fn markdown(samples: &[Sample], contestants: &[Contestant], options: &Options) -> String {
    let Options { streams, rate, seconds, rounds, .. } = options;
    let mut out = format!(
        "{streams} streams at {rate} tokens/s each ({}), {seconds} s a window, {rounds} rounds, {}; {}\n\n\
         | | CPU, us/token | memory, KiB/stream | latency p50, us | p99, us | added p50, us | added p99, us | lost streams |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
        options.pattern.name(),
        if options.together { "all at once on one core" } else { "one after the other" },
        machine()
    );
    // Together, the proxies stand in each other's way.
    let latency =
        |sample: &Sample, quantile| sample.latency(quantile).filter(|_| !options.together);
    for &contestant in contestants {
        let of = |value: &dyn Fn(&Sample) -> Option<f64>| values(samples, contestant, value);
        let added = |quantile: &'static str| {
            let pairs =
                paired(samples, contestant, Contestant::Direct, |sample| sample.latency(quantile));
            pairs
                .into_iter()
                .filter(|_| contestant != Contestant::Direct)
                .map(|(ours, direct)| ours - direct)
                .collect::<Vec<_>>()
        };
        let cells = [
            spread(&of(&|sample| sample.cpu_us_per_token), 2),
            spread(&of(&|sample| sample.kib_per_stream), 1),
            spread(&of(&|sample| latency(sample, "p50")), 0),
            spread(&of(&|sample| latency(sample, "p99")), 0),
            spread(&added("p50"), 0),
            spread(&added("p99"), 0),
        ];
        let lost: u64 = samples
            .iter()
            .filter(|sample| sample.contestant == contestant)
            .map(Sample::errors)
            .sum();
        let _ = writeln!(out, "| {} | {} | {lost} |", contestant.name(), cells.join(" | "));
    }
    out.push_str("\nMedian of the rounds (least to greatest).\n\nCPU a token, as a ratio to");
    let present = |baseline: &Contestant| contestants.contains(baseline);
    let baselines: Vec<Contestant> = BASELINES.into_iter().filter(present).collect();
    let names: Vec<&str> = baselines.iter().map(|baseline| baseline.name()).collect();
    let _ = write!(out, "\n\n| | {} |\n|---|{}\n", names.join(" | "), "---:|".repeat(names.len()));
    for &contestant in contestants.iter().filter(|one| **one != Contestant::Direct) {
        let cell = |&baseline: &Contestant| match ratio(samples, contestant, baseline) {
            Some((median, Interval { low, high, .. })) if contestant != baseline => {
                format!("{median:.3} ({low:.3} to {high:.3})")
            }
            _ => "-".to_owned(),
        };
        let cells: Vec<String> = baselines.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", contestant.name(), cells.join(" | "));
    }
    out + &footnote(samples, *rounds)
}

fn footnote(samples: &[Sample], rounds: usize) -> String {
    let confidence = interval(&vec![0.0; rounds]).map_or(0.0, |interval| interval.confidence);
    let disturbed = samples.iter().filter(|sample| sample.is_disturbed()).count();
    let load_core = samples.iter().filter_map(|sample| sample.load_core).fold(0.0, f64::max);
    format!(
        "\nMedian of the ratios of the rounds, and the pair of order statistics that holds the true median with \
         {:.1} % confidence. {disturbed} of {} measurements were disturbed by others on the same cores; the \
         load client's core was busy for {:.0} % at the most.\n",
        confidence * 100.0,
        samples.len(),
        load_core * 100.0
    )
}

/// All samples, and the ratios.
pub fn json(samples: &[Sample], options: &Options) -> Value {
    let rows = samples.iter().map(|sample| {
        json!({
            "contestant": sample.contestant.name(),
            "round": sample.round,
            "cpu_us_per_token": sample.cpu_us_per_token,
            "kib_per_stream": sample.kib_per_stream,
            "foreign_share": sample.foreign,
            "busy_share_of_load_core": sample.load_core,
            "metered": sample.metered,
            "load": sample.load,
        })
    });
    let mut ratios = Vec::new();
    for contestant in Contestant::ALL {
        for baseline in BASELINES.into_iter().filter(|baseline| *baseline != contestant) {
            if let Some((median, interval)) = ratio(samples, contestant, baseline) {
                ratios.push(json!({
                    "contestant": contestant.name(),
                    "baseline": baseline.name(),
                    "cpu_ratio": median,
                    "low": interval.low,
                    "high": interval.high,
                    "confidence": interval.confidence,
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
        "together": options.together,
        "pinned": options.cores.is_some(),
        "machine": machine(),
        "samples": rows.collect::<Vec<_>>(),
        "ratios": ratios,
    })
}

fn ratio(
    samples: &[Sample],
    contestant: Contestant,
    baseline: Contestant,
) -> Option<(f64, Interval)> {
    let pairs = paired(samples, contestant, baseline, |sample| sample.cpu_us_per_token);
    let ratios: Vec<_> = pairs.into_iter().map(|(ours, theirs)| ours / theirs).collect();
    median(&ratios).zip(interval(&ratios))
}

/// The values of two contestants that were measured in the same round.
fn paired(
    samples: &[Sample],
    one: Contestant,
    other: Contestant,
    value: impl Fn(&Sample) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let of = |contestant, round| {
        let mut same = samples.iter().filter(|sample| sample.contestant == contestant);
        same.find(|sample| sample.round == round).and_then(&value)
    };
    let rounds = samples.iter().filter(|sample| sample.contestant == one).map(|one| one.round);
    rounds.filter_map(|round| of(one, round).zip(of(other, round))).collect()
}

fn values(
    samples: &[Sample],
    contestant: Contestant,
    value: impl Fn(&Sample) -> Option<f64>,
) -> Vec<f64> {
    samples.iter().filter(|sample| sample.contestant == contestant).filter_map(value).collect()
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

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// The machine, in a few words.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let names = || cpus.lines().filter_map(|line| line.strip_prefix("model name"));
    let name = names().next().unwrap_or(": unknown").trim_start_matches([' ', '\t', ':']);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{} x {name}, Linux {}", names().count(), kernel.trim())
}
