//! Selects the values of the JSON files that each plot shows.

use serde_json::Value as Json;

use super::axis_scale::{number, time};
use super::bar_chart::{BarChart, BarPanel, BarValue};
use super::distribution_chart::{DistributionChart, DistributionLine, DistributionPanel};
use super::svg::{InkColor, LineStroke};
use crate::contestant::Contestant;
use crate::stats::{estimate, quantile};

/// The contestant that CPU time is divided by.
const BASELINE: Contestant = Contestant::NGINX;

/// A chart, or the reason why it cannot be drawn.
type Figure<T> = Result<T, &'static str>;

/// CPU time per token as a ratio to nginx.
pub fn cpu(run: &Json) -> Figure<BarChart> {
    let ratios = run["ratios"].as_array().ok_or("the file has no ratios")?;
    let value = |contestant: Contestant| {
        let ratio = ratios.iter().find(|ratio| {
            ratio["contestant"] == contestant.name() && ratio["baseline"] == BASELINE.name()
        });
        let field = |key: &str| ratio?[key].as_f64();
        Some(BarValue { value: field("cpu_ratio")?, low: field("low")?, high: field("high")? })
    };
    let mut rows = proxies(run);
    rows.retain(|&contestant| contestant == BASELINE || value(contestant).is_some());
    if rows.iter().all(|contestant| *contestant == BASELINE) {
        return Err("it needs ratios to nginx");
    }
    let one = BarValue { value: 1.0, low: 1.0, high: 1.0 };
    let values = rows.iter().map(|&row| value(row).or((row == BASELINE).then_some(one))).collect();
    let title = "ratio to nginx".to_owned();
    let panel = BarPanel { title, digits: 2, values, reference: Some(1.0) };
    Ok(bar_chart(run, "CPU per token", &rows, vec![panel]))
}

/// Latency that each contestant adds to a token.
pub fn latency(run: &Json) -> Figure<BarChart> {
    let rows = proxies(run);
    let panel = |key: &'static str| {
        let latency = |sample: &Json| sample["load"]["latency_us"][key].as_f64();
        // The difference to the direct connection in the same round.
        let added = |sample: &Json| {
            let mut direct = samples(run, Contestant::Direct);
            let direct = direct.find(|direct| direct["round"] == sample["round"])?;
            Some(latency(sample)? - latency(direct)?)
        };
        let values = rows.iter().map(|&row| median(samples(run, row).filter_map(added))).collect();
        BarPanel { title: format!("{key}, µs"), digits: 0, values, reference: None }
    };
    let panels = vec![panel("p50"), panel("p99")];
    if panels.iter().flat_map(|panel| &panel.values).all(Option::is_none) {
        return Err("it needs latencies without a proxy, which --together does not measure");
    }
    Ok(bar_chart(run, "Added latency per token", &rows, panels))
}

/// Resident memory per open stream.
pub fn memory(run: &Json) -> Figure<BarChart> {
    let rows = proxies(run);
    let kib = |sample: &Json| sample["kib_per_stream"].as_f64();
    let values: Vec<_> =
        rows.iter().map(|&row| median(samples(run, row).filter_map(kib))).collect();
    if values.iter().all(Option::is_none) {
        return Err("the file has no memory of any contestant");
    }
    let title = "resident memory, KiB".to_owned();
    let panel = BarPanel { title, digits: 1, values, reference: None };
    Ok(bar_chart(run, "Memory per open stream", &rows, vec![panel]))
}

fn bar_chart(run: &Json, title: &str, rows: &[Contestant], panels: Vec<BarPanel>) -> BarChart {
    let rounds = run["samples"].as_array().into_iter().flatten();
    let rounds = rounds.filter_map(|sample| sample["round"].as_u64());
    let rounds = rounds.max().map_or(0, |last| last as usize + 1);
    let confidence = estimate(&vec![0.0; rounds]).map_or(0.0, |estimate| estimate.confidence);
    BarChart {
        title: title.to_owned(),
        subtitle: subtitle(run),
        rows: rows.iter().map(|contestant| contestant.name()).collect(),
        highlighted: Contestant::Streamgauge.name(),
        panels,
        note: format!(
            "Median of {rounds} rounds. The whiskers contain the true median with {:.1} % confidence.",
            confidence * 100.0
        ),
    }
}

/// Returns the load and the machine of a file.
fn subtitle(file: &Json) -> String {
    let field = |key: &str| number(file[key].as_f64().unwrap_or_default());
    let machine = file["machine"].as_str().unwrap_or("unknown machine");
    format!("{} streams at {} tokens/s each; {machine}", field("streams"), field("rate"))
}

/// Returns the proxies of a run, in the order of its report.
fn proxies(run: &Json) -> Vec<Contestant> {
    let all = Contestant::ALL.into_iter();
    all.filter(|&one| one != Contestant::Direct && samples(run, one).next().is_some()).collect()
}

/// Returns the samples of a contestant.
fn samples(run: &Json, contestant: Contestant) -> impl Iterator<Item = &Json> {
    let samples = run["samples"].as_array().into_iter().flatten();
    samples.filter(move |sample| sample["contestant"] == contestant.name())
}

fn median(values: impl Iterator<Item = f64>) -> Option<BarValue> {
    let estimate = estimate(&Vec::from_iter(values))?;
    Some(BarValue { value: estimate.median, low: estimate.low, high: estimate.high })
}

/// Distribution of the errors of TTFT and latency, for both clocks.
pub fn truth(file: &Json) -> Figure<DistributionChart> {
    let runs = file["runs"].as_array().ok_or("the file has no runs")?;
    let numbers = |run| compared_numbers(run).filter_map(|one| one["width_us"]["p99"].as_f64());
    let widest = runs.iter().flat_map(numbers).reduce(f64::max).ok_or("the file has no errors")?;
    let direct = runs.iter().flat_map(|run| floats(&run["instrument"]["errors_us"]));
    let mut direct: Vec<u64> = direct.map(|micros| (micros * 1e3) as u64).collect();
    direct.sort_unstable();
    let direct = quantile(&direct, 0.99).map(|nanos| time(nanos as f64 / 1e3));
    Ok(DistributionChart {
        title: "Errors of TTFT and latency".to_owned(),
        subtitle: subtitle(file),
        legend: vec![
            (LineStroke::solid(InkColor::First, 2.5), "kernel timestamps (default)"),
            (LineStroke::solid(InkColor::Second, 2.5), "the program's clock"),
            (LineStroke::dashed(InkColor::Soft, 2.0), "including lines marked degraded"),
        ],
        panels: vec![
            truth_panel(runs, "Proxy undisturbed", "idle"),
            truth_panel(runs, "Proxy stopped for 50 ms of every 100 ms", "stopped"),
        ],
        axis: "error",
        notes: vec![
            "Share of the numbers whose error is at most this large. The error is the distance from the interval in which"
                .to_owned(),
            format!(
                "the true value lies; 99 % of these intervals are at most {} wide. Without a proxy, the error is {} at p99.",
                time(widest),
                direct.as_deref().unwrap_or("unknown")
            ),
        ],
    })
}

/// Returns the lines of both clocks in one state of the proxy.
fn truth_panel(runs: &[Json], title: &'static str, state: &str) -> DistributionPanel {
    let mut lines = Vec::new();
    for (clock, ink) in [("program", InkColor::Second), ("kernel", InkColor::First)] {
        let mut runs = runs.iter();
        let Some(run) = runs.find(|run| run["clock"] == clock && run["proxy"] == state) else {
            continue;
        };
        let all = sorted_errors(run, "errors_us");
        let not_degraded = sorted_errors(run, "errors_not_degraded_us");
        if not_degraded.len() < all.len() {
            lines.push(DistributionLine { stroke: LineStroke::dashed(ink, 2.0), values: all });
        }
        if !not_degraded.is_empty() {
            let stroke = LineStroke::solid(ink, 2.5);
            lines.push(DistributionLine { stroke, values: not_degraded });
        }
    }
    DistributionPanel { title, lines }
}

/// Returns TTFT and latency of a run.
fn compared_numbers(run: &Json) -> impl Iterator<Item = &Json> {
    let numbers = run["numbers"].as_array().into_iter().flatten();
    numbers.filter(|number| number["number"] == "TTFT" || number["number"] == "latency")
}

/// Returns the errors of TTFT and latency of a run, in ascending order.
fn sorted_errors(run: &Json, key: &str) -> Vec<f64> {
    let mut errors: Vec<f64> =
        compared_numbers(run).flat_map(|number| floats(&number[key])).collect();
    errors.sort_unstable_by(f64::total_cmp);
    errors
}

fn floats(list: &Json) -> impl Iterator<Item = f64> {
    list.as_array().into_iter().flatten().filter_map(Json::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample(contestant: &str, round: usize, p50: f64, kib: Option<f64>) -> Json {
        let load = json!({"latency_us": {"p50": p50, "p99": 2.0 * p50}});
        json!({"contestant": contestant, "round": round, "load": load, "kib_per_stream": kib})
    }

    fn run() -> Json {
        json!({
            "streams": 200, "rate": 20.0, "machine": "a machine",
            "ratios": [
                {"contestant": "streamgauge", "baseline": "nginx", "cpu_ratio": 0.953, "low": 0.9, "high": 1.0},
                {"contestant": "streamgauge", "baseline": "bare", "cpu_ratio": 7.0, "low": 6.0, "high": 8.0},
            ],
            "samples": [
                sample("direct", 0, 20.0, None), sample("direct", 1, 30.0, None),
                sample("nginx", 0, 45.0, Some(17.5)), sample("nginx", 1, 51.0, Some(17.5)),
                sample("streamgauge", 0, 50.0, Some(18.0)), sample("streamgauge", 1, 70.0, Some(19.0)),
            ],
        })
    }

    fn bar(value: f64, low: f64, high: f64) -> Option<BarValue> {
        Some(BarValue { value, low, high })
    }

    #[test]
    fn bars_are_medians_of_rounds() {
        let run = run();
        let chart = cpu(&run).unwrap();
        assert_eq!(chart.rows, ["nginx", "streamgauge"]);
        assert_eq!(chart.panels[0].values, [bar(1.0, 1.0, 1.0), bar(0.953, 0.9, 1.0)]);
        assert_eq!(chart.subtitle, "200 streams at 20 tokens/s each; a machine");
        assert!(chart.note.starts_with("Median of 2 rounds"), "{}", chart.note);
        assert!(chart.draw().contains(">0.95 (0.90 to 1.00)<"));
        // The added latency is the difference within a round.
        let panels = latency(&run).unwrap().panels;
        assert_eq!(panels[0].values, [bar(23.0, 21.0, 25.0), bar(35.0, 30.0, 40.0)]);
        assert_eq!(panels[1].values[1], bar(70.0, 60.0, 80.0));
        let panels = memory(&run).unwrap().panels;
        assert_eq!(panels[0].values, [bar(17.5, 17.5, 17.5), bar(18.5, 18.0, 19.0)]);
    }

    #[test]
    fn missing_measurements_are_not_drawn() {
        let mut run = run();
        run["ratios"] = json!([]);
        run["samples"] = json!([sample("streamgauge", 0, 50.0, None)]);
        for figure in [cpu, latency, memory] {
            assert!(figure(&run).is_err());
        }
        assert!(truth(&run).is_err());
    }

    #[test]
    fn degraded_lines_have_a_separate_distribution() {
        let number = |name: &str, all: &[f64], not_degraded: &[f64]| {
            json!({
                "number": name, "errors_us": all, "errors_not_degraded_us": not_degraded,
                "width_us": {"p99": 12.0},
            })
        };
        let run = |proxy: &str, not_degraded: &[f64]| {
            let ttft = number("TTFT", &[5.0, 0.0], not_degraded);
            let numbers = [ttft, number("longest gap", &[1e6], &[1e6])];
            let instrument = json!({"errors_us": [0.0, 2.0]});
            json!({"clock": "kernel", "proxy": proxy, "numbers": numbers, "instrument": instrument})
        };
        let file = json!({"runs": [run("idle", &[5.0, 0.0]), run("stopped", &[0.0])]});
        let chart = truth(&file).unwrap();
        let expected = "12 µs wide. Without a proxy, the error is 2 µs at p99.";
        assert!(chart.notes[1].ends_with(expected), "{:?}", chart.notes);
        let lines = |panel: &DistributionPanel| -> Vec<_> {
            panel.lines.iter().map(|line| (line.stroke.dashed, line.values.clone())).collect()
        };
        assert_eq!(lines(&chart.panels[0]), [(false, vec![0.0, 5.0])]);
        assert_eq!(lines(&chart.panels[1]), [(true, vec![0.0, 5.0]), (false, vec![0.0])]);
        assert!(chart.draw().contains("Proxy undisturbed"));
    }
}
