//! Accuracy of the runs of a scenario, and the table of all scenarios.

use super::estimator_adapter::WaitWithInterval;
use super::observation::{JudgedSignal, JudgedWait, ScenarioRun};
use super::{Scenario, ScenarioClass};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Error of the observed instants, in seconds. A request without a wait may seem to have one up to this.
const INSTANT_ERROR: f64 = 0.002;

/// Accuracy of the estimates and of the signal, over all runs of one scenario.
#[derive(Debug, Clone, Default)]
pub struct ScenarioFigures {
    /// Mean of the true and of the estimated waits in seconds, over the requests with an estimate that is not withdrawn.
    /// `None` if there are no such requests.
    pub mean: Option<(f64, f64)>,
    /// Their 95th percentiles.
    pub p95: Option<(f64, f64)>,
    /// Share of the requests with an estimated wait that did not wait.
    pub false_waits: f64,
    /// Share of the requests whose truth lies in the interval, among those with an interval. `None` if there is none.
    pub coverage: Option<f64>,
    /// Share of the requests without an estimate.
    pub missing: f64,
    /// Share of the requests whose estimate is withdrawn.
    pub withdrawn: f64,
    /// Share of the requests by the server model.
    pub server_models: BTreeMap<&'static str, f64>,
    pub signal: SignalFigures,
}

/// Accuracy of the expected wait of a new request.
#[derive(Debug, Clone, Default)]
pub struct SignalFigures {
    /// Largest and smallest ratio of the signal to the truth. Both are raised to at least the mean time of a response,
    /// because the end of a single response cannot be known.
    pub ratio: (f64, f64),
    /// Share of the new requests with a ratio beyond a factor of 1.5.
    pub beyond: f64,
    /// Share of the new requests without a signal.
    pub unknown: f64,
    /// Share of the new requests that did not wait, but had a signal above 0.
    pub false_signals: f64,
    /// Time from the begin of the first lasting queue to the first signal above 0, in mean times of a response.
    pub seen_after: Option<f64>,
    /// Smallest part of the age of the oldest request that the signal shows during a hang, where that is over 1 s.
    pub hang: Option<f64>,
    /// Largest signal while nothing was in flight, in seconds.
    pub idle: f64,
}

/// Mean and 95th percentile. `None` without values.
fn mean_and_p95(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let at = (values.len() as f64 * 0.95).ceil() as usize;
    Some((mean, *values.get(at.checked_sub(1)?)?))
}

impl ScenarioFigures {
    pub fn of(runs: &[ScenarioRun]) -> Self {
        let waits: Vec<&JudgedWait> = runs.iter().flat_map(|run| &run.waits).collect();
        let share = |is_in: &dyn Fn(&JudgedWait) -> bool| {
            waits.iter().filter(|wait| is_in(wait)).count() as f64 / waits.len().max(1) as f64
        };
        let kept = |wait: &&JudgedWait| {
            let estimate = wait.estimate.filter(|estimate| !estimate.is_withdrawn)?;
            Some((wait.truth, estimate.seconds))
        };
        let (truth, estimate): (Vec<f64>, Vec<f64>) = waits.iter().filter_map(kept).unzip();
        let both = mean_and_p95(truth).zip(mean_and_p95(estimate));
        let held = |wait: &&JudgedWait| {
            let (low, high) = wait.estimate?.interval?;
            Some(low <= wait.until_start + INSTANT_ERROR && wait.truth <= high + INSTANT_ERROR)
        };
        let held: Vec<bool> = waits.iter().filter_map(held).collect();
        let coverage = (!held.is_empty())
            .then(|| held.iter().filter(|held| **held).count() as f64 / held.len() as f64);
        let mut server_models = BTreeMap::new();
        for wait in &waits {
            *server_models.entry(wait.server_model).or_insert(0.0) += 1.0 / waits.len() as f64;
        }
        let is_false = |wait: &JudgedWait| {
            let most = INSTANT_ERROR + wait.until_start;
            let is_too_long = |one: WaitWithInterval| !one.is_withdrawn && one.seconds > most;
            wait.truth == 0.0 && wait.estimate.is_some_and(is_too_long)
        };
        Self {
            mean: both.map(|(truth, estimate)| (truth.0, estimate.0)),
            p95: both.map(|(truth, estimate)| (truth.1, estimate.1)),
            false_waits: share(&is_false),
            coverage,
            missing: share(&|wait| wait.estimate.is_none()),
            withdrawn: share(&|wait| wait.estimate.is_some_and(|one| one.is_withdrawn)),
            server_models,
            signal: SignalFigures::of(runs),
        }
    }

    /// Share of the requests with an unknown server model, or without an estimate that stands.
    pub fn recognised(&self) -> f64 {
        let unknown = self.server_models.get("unknown").copied().unwrap_or(0.0);
        unknown.max(self.withdrawn + self.missing)
    }
}

impl SignalFigures {
    fn of(runs: &[ScenarioRun]) -> Self {
        let mut ratio = (1.0_f64, 1.0_f64);
        let (mut beyond, mut unknown, mut false_signals, mut all) = (0, 0, 0, 0);
        let mut seen_after: Option<f64> = None;
        let mut hang: Option<f64> = None;
        for run in runs {
            for JudgedSignal { truth, signal, .. } in &run.signals {
                all += 1;
                let Some(signal) = signal else {
                    unknown += 1;
                    continue;
                };
                let floor = run.answer_seconds;
                let one = signal.seconds.max(floor) / truth.max(floor);
                // A lower bound can only be too large.
                let one = if signal.is_withdrawn { one.max(1.0) } else { one };
                ratio = (ratio.0.max(one), ratio.1.min(one));
                beyond += u32::from(!(1.0 / 1.5..=1.5).contains(&one));
                false_signals += u32::from(*truth == 0.0 && signal.seconds > INSTANT_ERROR);
            }
            if let Some(seconds) = run.seen_after() {
                let after = seconds / run.answer_seconds;
                seen_after = Some(seen_after.map_or(after, |most| most.max(after)));
            }
            for one in run.hang.iter().filter(|one| one.oldest_age > 1.0) {
                let part = one.signal.map_or(0.0, |signal| signal.seconds) / one.oldest_age;
                hang = Some(hang.unwrap_or(f64::INFINITY).min(part));
            }
        }
        let share = |count| f64::from(count) / f64::from(all.max(1));
        Self {
            ratio,
            beyond: share(beyond),
            unknown: share(unknown),
            false_signals: share(false_signals),
            seen_after,
            hang,
            idle: runs.iter().map(|run| run.idle_signal).fold(0.0, f64::max),
        }
    }
}

impl ScenarioRun {
    /// Seconds from the begin of the first lasting queue to the first signal above 0, or to the first that is not known.
    fn seen_after(&self) -> Option<f64> {
        /// Number of requests in succession that wait in a lasting queue.
        const LASTING: usize = 8;
        let mut windows = self.signals.windows(LASTING);
        let first = windows.position(|some| some.iter().all(|one| one.truth > INSTANT_ERROR))?;
        let since = &self.signals[first..];
        let is_seen = |one: &&JudgedSignal| {
            one.signal.is_none_or(|signal| signal.is_withdrawn || signal.seconds > INSTANT_ERROR)
        };
        let until = since.iter().find(is_seen).or(since.last())?;
        Some(until.at - since.first()?.at)
    }
}

/// Head of the table.
pub const HEAD: &str = "| scenario | class | mean: true, s | estimated | p95: true, s | estimated | false waits | in interval \
| withdrawn | none | recognised | model | signal / truth | beyond 1.5 | no signal | false signals | seen after | hang | idle |\n";

/// Row of a scenario.
pub fn row(scenario: &Scenario, figures: &ScenarioFigures) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let optional = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let models: Vec<String> = figures
        .server_models
        .iter()
        .map(|(model, share)| format!("{model} {:.0} %", share * 100.0))
        .collect();
    let signal = &figures.signal;
    let is_changing = scenario.class == ScenarioClass::Signal;
    let mut row = String::new();
    let _ = write!(row, "| {} | {} ", scenario.name, scenario.class.label());
    for both in [figures.mean, figures.p95] {
        let seconds = |both: Option<f64>| optional(both.map(|seconds| format!("{seconds:.3}")));
        let (truth, estimate) = both.unzip();
        let _ = write!(row, "| {} | {} ", seconds(truth), seconds(estimate));
    }
    let _ = write!(row, "| {} ", percent(figures.false_waits));
    let _ = write!(row, "| {} ", optional(figures.coverage.map(percent)));
    let _ = write!(row, "| {} | {} ", percent(figures.withdrawn), percent(figures.missing));
    let is_unfit = scenario.class == ScenarioClass::DoesNotFit;
    let recognised = is_unfit.then(|| percent(figures.recognised()));
    let _ = write!(row, "| {} | {} ", optional(recognised), models.join(", "));
    let _ = write!(row, "| {:.2} to {:.2} ", signal.ratio.1, signal.ratio.0);
    let _ = write!(row, "| {} | {} ", percent(signal.beyond), percent(signal.unknown));
    let _ = write!(row, "| {} ", percent(signal.false_signals));
    let seen_after = signal.seen_after.filter(|_| is_changing);
    let _ = write!(row, "| {} ", optional(seen_after.map(|after| format!("{after:.1}"))));
    let _ = write!(row, "| {} ", optional(signal.hang.map(|part| format!("{part:.2}"))));
    let _ = writeln!(row, "| {:.3} |", signal.idle);
    row
}
