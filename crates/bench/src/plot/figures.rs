//! Which pictures there are, and which numbers of the JSON files they show.

use serde_json::Value as Json;

use super::bars::{BarChart, BarPanel, BarValue};
use super::scale::{number, time};
use super::shares::{self, DistributionChart};
use super::svg::{InkColor, LineStroke};
use crate::contestant::Contestant;
use crate::rival::RivalProxy;
use crate::stats::{estimate, quantile};

/// What the pictures are about.
const ABOUT: Contestant = Contestant::Streamgauge;
/// Whom the processor time is divided by.
const BASELINE: Contestant = Contestant::Rival(RivalProxy::Nginx);

/// A picture, or what it would have needed.
type RenderedFigure = Result<String, &'static str>;

/// Processor time of each token, as a ratio to nginx.
pub fn cpu(run: &Json) -> RenderedFigure {
    let ratios = run["ratios"].as_array().ok_or("the file has no ratios")?;
    let value = |contestant: Contestant| {
        let ratio = ratios.iter().find(|ratio| {
            ratio["contestant"] == contestant.name() && ratio["baseline"] == BASELINE.name()
        });
        let of = |key: &str| ratio?[key].as_f64();
        Some(BarValue { value: of("cpu_ratio")?, low: of("low")?, high: of("high")? })
    };
    let mut rows = proxies(run);
    rows.retain(|&contestant| contestant == BASELINE || value(contestant).is_some());
    if rows.iter().all(|contestant| *contestant == BASELINE) {
        return Err("it needs the ratios to nginx");
    }
    let itself = BarValue { value: 1.0, low: 1.0, high: 1.0 };
    let values = rows.iter().map(|&one| value(one).or((one == BASELINE).then_some(itself)));
    Ok(bars(
        run,
        "Processor time of each token",
        &rows,
        vec![BarPanel {
            title: "ratio to nginx".to_owned(),
            digits: 2,
            values: values.collect(),
            reference: Some(1.0),
        }],
    ))
}

/// What each contestant adds to the latency of a token.
pub fn latency(run: &Json) -> RenderedFigure {
    let rows = proxies(run);
    let panel = |key: &'static str| BarPanel {
        title: format!("{key}, µs"),
        digits: 0,
        values: rows
            .iter()
            .map(|&contestant| {
                let latency = |sample: &Json| sample["load"]["latency_us"][key].as_f64();
                let added = of(run, contestant).filter_map(|sample| {
                    let mut direct = of(run, Contestant::Direct);
                    let direct = direct.find(|direct| direct["round"] == sample["round"])?;
                    Some(latency(sample)? - latency(direct)?)
                });
                of_rounds(&added.collect::<Vec<_>>())
            })
            .collect(),
        reference: None,
    };
    let panels = vec![panel("p50"), panel("p99")];
    if panels.iter().flat_map(|panel| &panel.values).all(Option::is_none) {
        return Err("it needs the latencies without a proxy, which --together does not measure");
    }
    Ok(bars(run, "Latency that is added to each token", &rows, panels))
}

/// What each open stream takes.
pub fn memory(run: &Json) -> RenderedFigure {
    let rows = proxies(run);
    let values = rows.iter().map(|&contestant| {
        let samples = of(run, contestant);
        let kib = samples.filter_map(|sample| sample["kib_per_stream"].as_f64());
        of_rounds(&kib.collect::<Vec<_>>())
    });
    let values: Vec<_> = values.collect();
    if values.iter().all(Option::is_none) {
        return Err("the file has no memory of any contestant");
    }
    let title = "resident memory, KiB".to_owned();
    let panel = BarPanel { title, digits: 1, values, reference: None };
    Ok(bars(run, "Memory of each open stream", &rows, vec![panel]))
}

fn bars(run: &Json, title: &str, rows: &[Contestant], panels: Vec<BarPanel>) -> String {
    let rounds = rounds(run);
    let confidence = estimate(&vec![0.0; rounds]).map_or(0.0, |estimate| estimate.confidence);
    let figure = |key: &str| number(run[key].as_f64().unwrap_or_default());
    BarChart {
        title: title.to_owned(),
        subtitle: format!(
            "{} streams at {} tokens/s each; {}",
            figure("streams"),
            figure("rate"),
            run["machine"].as_str().unwrap_or("unknown machine")
        ),
        rows: rows.iter().map(|contestant| contestant.name()).collect(),
        about: ABOUT.name(),
        panels,
        note: format!(
            "Median of {rounds} rounds; the whiskers hold the true median with {:.1} % confidence.",
            confidence * 100.0
        ),
    }
    .draw()
}

/// The contestants of a run, in the order of its report.
fn proxies(run: &Json) -> Vec<Contestant> {
    let all = Contestant::ALL.into_iter();
    all.filter(|&one| one != Contestant::Direct && of(run, one).next().is_some()).collect()
}

/// The samples of a contestant.
fn of(run: &Json, contestant: Contestant) -> impl Iterator<Item = &Json> {
    let samples = run["samples"].as_array().into_iter().flatten();
    samples.filter(move |sample| sample["contestant"] == contestant.name())
}

fn rounds(run: &Json) -> usize {
    let samples = run["samples"].as_array().into_iter().flatten();
    samples.filter_map(|sample| sample["round"].as_u64()).max().map_or(0, |last| last as usize + 1)
}

fn of_rounds(values: &[f64]) -> Option<BarValue> {
    let estimate = estimate(values)?;
    Some(BarValue { value: estimate.median, low: estimate.low, high: estimate.high })
}

/// How wrong TTFT and latency are, by either clock.
pub fn truth(truth: &Json) -> RenderedFigure {
    let runs = truth["runs"].as_array().ok_or("the file has no runs")?;
    let look = |clock: &str| if clock == "kernel" { InkColor::First } else { InkColor::Second };
    let panel = |title: &str, state: &str| {
        let mut lines = Vec::new();
        for clock in ["program", "kernel"] {
            let run = runs.iter().find(|run| run["clock"] == clock && run["proxy"] == state);
            let Some(run) = run else { continue };
            let (all, sound) = (errors(run, "errors_us"), errors(run, "errors_not_degraded_us"));
            if sound.len() < all.len() {
                lines.push(shares::DistributionLine {
                    stroke: LineStroke::dashed(look(clock), 2.0),
                    values: all,
                });
            }
            if !sound.is_empty() {
                lines.push(shares::DistributionLine {
                    stroke: LineStroke::solid(look(clock), 2.5),
                    values: sound,
                });
            }
        }
        shares::DistributionPanel { title: title.to_owned(), lines }
    };
    let widths = runs.iter().flat_map(|run| run["numbers"].as_array().into_iter().flatten());
    let widths = widths.filter(|number| is_shown(number));
    let widths: Vec<f64> = widths.filter_map(|number| number["width_us"]["p99"].as_f64()).collect();
    let widest = widths.into_iter().reduce(f64::max).ok_or("the file has no errors")?;
    let instrument = runs.iter().flat_map(|run| errors_of(&run["instrument"]["errors_us"]));
    let mut instrument: Vec<u64> = instrument.map(|micros| (micros * 1e3) as u64).collect();
    instrument.sort_unstable();
    let instrument = quantile(&instrument, 0.99).map(|nanos| time(nanos as f64 / 1e3));
    Ok(DistributionChart {
        title: "How wrong TTFT and latency are".to_owned(),
        subtitle: format!(
            "{} streams at {} tokens/s each; {}",
            number(truth["streams"].as_f64().unwrap_or_default()),
            number(truth["rate"].as_f64().unwrap_or_default()),
            truth["machine"].as_str().unwrap_or("unknown machine")
        ),
        legend: vec![
            (LineStroke::solid(InkColor::First, 2.5), "the kernel's clock (default)".to_owned()),
            (LineStroke::solid(InkColor::Second, 2.5), "the program's clock".to_owned()),
            (LineStroke::dashed(InkColor::Soft, 2.0), "with the lines marked degraded".to_owned()),
        ],
        panels: vec![
            panel("the proxy runs freely", "idle"),
            panel("it is stopped for 50 ms of every 100", "stopped"),
        ],
        axis: "error",
        notes: vec![
            "The share of the numbers whose error is no greater. An error is the distance from the interval in which the"
                .to_owned(),
            format!(
                "truth lies: at most {} wide for 99 % of the numbers. Without a proxy, the error is {} at p99.",
                time(widest),
                instrument.as_deref().unwrap_or("unknown")
            ),
        ],
    }
    .draw())
}

/// Whether a number of a truth file is in the picture.
fn is_shown(number: &Json) -> bool {
    number["number"] == "TTFT" || number["number"] == "latency"
}

/// The errors of TTFT and latency of a run, ascending.
fn errors(run: &Json, key: &str) -> Vec<f64> {
    let numbers = run["numbers"].as_array().into_iter().flatten().filter(|number| is_shown(number));
    let mut errors: Vec<f64> = numbers.flat_map(|number| errors_of(&number[key])).collect();
    errors.sort_unstable_by(f64::total_cmp);
    errors
}

fn errors_of(list: &Json) -> impl Iterator<Item = f64> {
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

    #[test]
    fn the_bars_are_medians_of_rounds() {
        let run = run();
        let cpu = cpu(&run).unwrap();
        assert!(cpu.contains(">0.95 (0.90 to 1.00)<") && cpu.contains(">1.00<"), "{cpu}");
        assert!(cpu.contains("200 streams at 20 tokens/s each; a machine"), "{cpu}");
        assert!(cpu.contains("Median of 2 rounds"), "{cpu}");
        // What is added is a difference within the round.
        let latency = latency(&run).unwrap();
        assert!(latency.contains(">35 (30 to 40)<") && latency.contains(">23 (21 to 25)<"));
        assert!(latency.contains(">70 (60 to 80)<"), "p99");
        let memory = memory(&run).unwrap();
        assert!(memory.contains(">18.5 (18.0 to 19.0)<") && memory.contains(">17.5<"), "{memory}");
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let mut run = run();
        run["ratios"] = json!([]);
        run["samples"] = json!([sample("streamgauge", 0, 50.0, None)]);
        for figure in [cpu, latency, memory, truth] {
            assert!(figure(&run).is_err());
        }
    }

    #[test]
    fn lines_that_are_marked_are_drawn_apart() {
        let number = |name: &str, all: &[f64], sound: &[f64]| json!({"number": name, "errors_us": all, "errors_not_degraded_us": sound, "width_us": {"p99": 12.0}});
        let run = |proxy: &str, sound: &[f64]| {
            let numbers =
                [number("TTFT", &[0.0, 5.0], sound), number("longest gap", &[1e6], &[1e6])];
            json!({"clock": "kernel", "proxy": proxy, "numbers": numbers, "instrument": {"errors_us": [0.0, 2.0]}})
        };
        let file = json!({"runs": [run("idle", &[0.0, 5.0]), run("stopped", &[0.0])]});
        let drawn = truth(&file).unwrap();
        assert!(
            drawn.contains("at most 12 µs wide") && drawn.contains("the error is 2 µs at p99"),
            "{drawn}"
        );
        // Idle has one line, stopped two.
        assert_eq!(drawn.matches("<path class=\"first\"").count(), 3);
        assert_eq!(errors(&file["runs"][0], "errors_us"), [0.0, 5.0]);
    }
}
