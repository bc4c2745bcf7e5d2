//! Report of a run: one line per measurement, and everything as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::admin_client::MeterCounts;
use crate::contestant::Contestant;
use crate::latency_column::LatencyColumn;
use crate::machine;
use crate::measure::MeasurementSample;
use crate::options::RunOptions;
use crate::paired_rounds;
use crate::stats::MedianEstimate;
use crate::tables::number;

/// Formats one measurement.
pub fn format_sample(sample: &MeasurementSample, options: &RunOptions) -> String {
    let (name, round) = (sample.contestant.name(), sample.round + 1);
    if let Some(fault) = sample.fault() {
        return format!("round {round}: FAULT: {fault}");
    }
    let mut line = format!("round {round}: {name}: {} arrived complete", sample.true_counts());
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
                LatencyColumn::ALL.map(|time| number(time.value_in(sample)));
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
pub fn to_json(samples: &[MeasurementSample], options: &RunOptions) -> Value {
    let (mut ratios, mut rates, mut differences) = (vec![], vec![], vec![]);
    for contestant in Contestant::ALL {
        for baseline in Contestant::BASELINES.into_iter().filter(|baseline| *baseline != contestant)
        {
            let pair = |name, value: fn(&MeasurementSample) -> Option<f64>| {
                let estimated = paired_rounds::ratio(samples, contestant, baseline, value)?;
                Some(estimate(contestant, baseline, name, estimated))
            };
            ratios.extend(pair("cpu_ratio", |sample| sample.cpu_us));
            rates.extend(pair("requests_ratio", |sample| sample.requests_per_second));
        }
        for baseline in [Contestant::Direct, Contestant::NGINX] {
            for time in LatencyColumn::ALL
                .into_iter()
                .filter(|_| baseline != contestant && !options.together)
            {
                let estimated = paired_rounds::difference(samples, contestant, baseline, |one| {
                    time.value_in(one)
                });
                differences.extend(estimated.map(|estimated| {
                    let mut row = estimate(contestant, baseline, "difference_us", estimated);
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
        "machine": machine::describe(),
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
        "passed": counts(sample.true_counts()),
        "metered": sample.metered.map(|(reported, _)| counts(reported)),
        "kept_connection_first_token_us": LatencyColumn::KEPT_CONNECTION.value_in(sample),
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
    estimated: MedianEstimate,
) -> Value {
    json!({
        "contestant": contestant.name(),
        "baseline": baseline.name(),
        name: estimated.median,
        "low": estimated.low,
        "high": estimated.high,
        "confidence": estimated.confidence,
    })
}
