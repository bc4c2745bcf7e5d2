//! Compares with nginx at several numbers of streams, with all proxies running together.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::measure::{MeasurementSample, measure};
use crate::options::RunOptions;
use crate::run::{fail_on_faults, order};
use crate::running_contestant::RunningContestant;
use crate::signals::run_until_signal;
use crate::stats::{MedianEstimate, estimate, median};
use crate::tables::{footnote, interval, number, table};
use crate::{BoxError, core_affinity, idle_cores, machine, paired_rounds, report};

/// Streams, tokens per second of each, and the seconds in which they open: few, many busy ones, and very many slow ones.
/// Two proxies do not fill their core or that of the load generator.
const SIZES: [(u64, f64, f64); 3] = [(100, 20.0, 1.0), (1_000, 10.0, 2.0), (9_000, 1.0, 8.0)];
/// Maximum wait for idle cores. A disturbance affects all proxies, so there is one attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Descriptors of a process besides those of the streams, with a reserve.
const OTHER_FILES: u64 = 256;
/// Default number of local ports for connections to one server on Linux.
const PORTS: u64 = 28_000;

/// The samples of one size.
struct SweepSize {
    options: RunOptions,
    samples: Vec<MeasurementSample>,
}

impl SweepSize {
    fn name(&self) -> String {
        format!("{} x {}/s", self.options.streams, self.options.rate)
    }

    fn cpu(&self, contestant: Contestant) -> Option<f64> {
        median(&paired_rounds::values(&self.samples, contestant, |sample| sample.cpu_us))
    }

    fn ratio(&self, contestant: Contestant) -> Option<MedianEstimate> {
        paired_rounds::ratio(&self.samples, contestant, Contestant::NGINX, |sample| sample.cpu_us)
    }
}

/// Runs the role `sweep`.
pub async fn role(words: Vec<String>) -> Result<(), BoxError> {
    let options = RunOptions::parse_sweep(words)?;
    run_until_signal(sweep(&options)).await
}

async fn sweep(options: &RunOptions) -> Result<(), BoxError> {
    let contestants = options.contestants()?;
    if !contestants.contains(&Contestant::NGINX) {
        return Err("a sweep compares with nginx: add it to --only".into());
    }
    if let Some(cores) = options.cores {
        core_affinity::pin(cores.load)?;
    }
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = most_streams(files, contestants.len() as u64);
    let mut sizes = SIZES.map(|(streams, rate, warmup)| {
        if streams > most {
            println!("{streams} streams are too many for {files} descriptors: using {most}.");
        }
        let options = RunOptions { streams: streams.min(most), rate, warmup, ..options.clone() };
        SweepSize { options, samples: Vec::new() }
    });
    // Slow changes of the machine affect all sizes.
    for round in 0..options.rounds {
        for size in &mut sizes {
            if let Some(cores) = options.cores {
                idle_cores::wait_until_idle(cores, PATIENCE).await;
            }
            // A separate server, because ports of closed connections stay in use for a minute.
            let server =
                RunningContestant::start_server(options.cores.map(|cores| cores.server)).await?;
            let samples =
                measure(&size.options, &order(&contestants, round), round, &server).await?;
            for sample in &samples {
                println!("{}: {}", size.name(), report::format_sample(sample, &size.options));
            }
            size.samples.extend(samples);
        }
    }
    options.write_json(&to_json(&sizes, &contestants))?;
    println!("\n{}", markdown(&sizes, &contestants, options));
    fail_on_faults(sizes.iter().flat_map(|size| &size.samples).filter_map(MeasurementSample::fault))
}

/// Returns the maximum number of streams per proxy.
fn most_streams(files: u64, proxies: u64) -> u64 {
    // A proxy needs two descriptors per stream; the server has those of all proxies.
    let files = files.saturating_sub(OTHER_FILES) / proxies.max(2);
    files.min(PORTS / proxies.max(1))
}

fn markdown(sizes: &[SweepSize], contestants: &[Contestant], options: &RunOptions) -> String {
    let others = || contestants.iter().copied().filter(|one| *one != Contestant::NGINX);
    let cpu = contestants.iter().map(|one| format!("{}, us/token", one.name()));
    let ratio = others().map(|one| format!("{} / nginx", one.name()));
    let columns: Vec<String> =
        cpu.chain(ratio).chain(["proxies' core, %", "load core, %"].map(str::to_owned)).collect();
    let rows = sizes.iter().map(|size| {
        let cpu = contestants.iter().map(|&one| number(size.cpu(one), 2));
        let ratio = others().map(|one| interval(size.ratio(one), 3));
        let share = |one, value: fn(&MeasurementSample) -> Option<f64>| {
            median(&paired_rounds::values(&size.samples, one, value))
        };
        let proxies: f64 =
            contestants.iter().filter_map(|&one| share(one, |sample| sample.proxy_core)).sum();
        let load = share(Contestant::NGINX, |sample| sample.load_core);
        let shares = [Some(proxies), load].map(|share| number(share.map(|share| share * 100.0), 0));
        (size.name(), cpu.chain(ratio).chain(shares).collect())
    });
    let mut out = format!(
        "CPU per token, together, {} rounds of {} s; {}\n{}\n",
        options.rounds,
        options.seconds,
        machine::describe(),
        table(columns.iter().map(String::as_str), rows)
    );
    for contestant in others() {
        if let Some((least, greatest, change)) = greatest_change(sizes, contestant) {
            // With one contestant beside nginx, the table has one ratio only.
            let of = if others().count() > 1 {
                format!(" of {}", contestant.name())
            } else {
                String::new()
            };
            let (least, greatest) = (least.name(), greatest.name());
            let change = interval(Some(change), 1);
            out += &format!(
                "The largest change of the ratio{of} is {change} %, from {least} to {greatest}.\n"
            );
        }
    }
    out + &footnote(sizes.iter().flat_map(|size| &size.samples), options)
}

/// Returns the sizes with the lowest and highest ratio, and the growth of the ratio between them in percent, compared
/// within each round.
fn greatest_change(
    sizes: &[SweepSize],
    contestant: Contestant,
) -> Option<(&SweepSize, &SweepSize, MedianEstimate)> {
    let ratio = |size| Some((size, SweepSize::ratio(size, contestant)?.median));
    let by_ratio = |one: &(&SweepSize, f64), other: &(&SweepSize, f64)| one.1.total_cmp(&other.1);
    let ratios = || sizes.iter().filter_map(ratio);
    let ((least, _), (greatest, _)) = (ratios().min_by(by_ratio)?, ratios().max_by(by_ratio)?);
    let of = |size: &SweepSize| {
        paired_rounds::ratios(&size.samples, contestant, Contestant::NGINX, |one| one.cpu_us)
    };
    let least_ratios = of(least);
    let grown = of(greatest)
        .into_iter()
        .filter_map(|(round, ratio)| Some((ratio / least_ratios.get(&round)? - 1.0) * 100.0));
    Some((least, greatest, estimate(&Vec::from_iter(grown))?))
}

fn to_json(sizes: &[SweepSize], contestants: &[Contestant]) -> Value {
    let changes = contestants.iter().filter_map(|&contestant| {
        let (least, greatest, change) = greatest_change(sizes, contestant)?;
        Some(json!({
            "contestant": contestant.name(),
            "from": least.name(),
            "to": greatest.name(),
            "change_percent": change.median,
            "low": change.low,
            "high": change.high,
            "confidence": change.confidence,
        }))
    });
    json!({
        "sizes": sizes.iter().map(|size| report::to_json(&size.samples, &size.options)).collect::<Vec<_>>(),
        "greatest_changes": changes.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tests::sample;

    #[test]
    fn streams_are_limited_by_descriptors_and_ports() {
        assert_eq!(most_streams(20_000, 2), 9_872);
        assert_eq!(most_streams(20_000, 4), 4_936);
        assert_eq!(most_streams(1 << 20, 2), 14_000);
        assert_eq!(most_streams(100, 2), 0);
    }

    #[test]
    fn change_is_computed_within_rounds() {
        let options = RunOptions::parse_sweep(Vec::new()).unwrap();
        let size = |streams, cpu: [f64; 3]| SweepSize {
            options: RunOptions { streams, ..options.clone() },
            samples: (0..3)
                .flat_map(|round| {
                    // The rounds differ more than the sizes.
                    let nginx = [10.0, 20.0, 40.0][round];
                    let ours = cpu[round] * nginx;
                    [(Contestant::NGINX, nginx), (Contestant::Streamgauge, ours)]
                        .map(|(contestant, cpu)| sample(contestant, round, Some(cpu)))
                })
                .collect(),
        };
        let sizes = [size(1, [1.1, 1.0, 1.2]), size(2, [1.21, 1.1, 1.44]), size(3, [1.15; 3])];
        let (least, greatest, change) = greatest_change(&sizes, Contestant::Streamgauge).unwrap();
        assert_eq!((least.options.streams, greatest.options.streams), (1, 2));
        assert!(
            (change.median - 10.0).abs() < 1e-9 && (change.high - 20.0).abs() < 1e-9,
            "{change:?}"
        );
    }
}
