//! Accuracy of the runs of a scenario.

use super::estimator_adapter::WaitWithInterval;
use super::observation::{JudgedSignal, JudgedWait, ScenarioRun};
use super::{Scenario, ScenarioClass};
use std::collections::BTreeMap;

/// Name of the server model with slots, for requests or for prompts.
const SLOTS: &str = "slots";
/// Name of the state in which no model fits.
const UNKNOWN: &str = "unknown";
/// Name of the state in which the time to first output is compared with that of requests that did not wait.
const BASELINE: &str = "baseline";
/// Smallest share of the requests whose estimates make a mean.
const MIN_STANDING: f64 = 0.1;
/// Error of the observed instants, in seconds. A request without a wait may seem to have one up to this.
pub const INSTANT_ERROR: f64 = 0.002;
/// The expected wait of a new request is near the truth if it is within this factor.
pub const NEAR: f64 = 1.5;

/// Accuracy of the estimates and of the signal, over all runs of one scenario.
#[derive(Debug, Clone, Default)]
pub struct ScenarioFigures {
    /// Mean of the true and of the estimated waits in seconds, over the requests with an estimate that is not withdrawn.
    /// `None` if they are less than a tenth of all.
    pub mean: Option<(f64, f64)>,
    /// Their 95th percentiles.
    pub p95: Option<(f64, f64)>,
    /// Share of the requests that have an estimated wait, but did not wait.
    pub false_waits: f64,
    /// Share of the requests with the truth in the interval, among those with an interval. `None` if there is none.
    pub coverage: Option<f64>,
    /// Mean width of the intervals in seconds, where it is finite.
    pub width: Option<f64>,
    /// Share of the requests without an estimate.
    pub missing: f64,
    /// Share of the requests whose estimate is withdrawn.
    pub withdrawn: f64,
    /// Share of the requests with the right server model: slots where they fit, none where there is no queue. Where slots
    /// do not fit, it is another model that describes the server, `unknown`, or no estimate that stands.
    pub right_model: f64,
    /// Share of the requests by the server model.
    pub server_models: BTreeMap<&'static str, f64>,
    pub signal: SignalFigures,
}

/// Accuracy of the expected wait of a new request.
#[derive(Debug, Clone, Default)]
pub struct SignalFigures {
    /// Smallest and largest ratio of the signal to the truth. Both are raised to at least the mean time of a response,
    /// because the end of a single response cannot be known.
    pub ratio: (f64, f64),
    /// Share of the new requests with a ratio that is not near 1.
    pub far: f64,
    /// The same share for the reference signal.
    pub reference_far: f64,
    /// Share of the new requests without a signal, or with one that is only a lower bound.
    pub missing: f64,
    /// Share of the new requests that did not wait, but had a signal above 0.
    pub false_signals: f64,
    /// Share of the new requests with the truth in the interval of the signal. `None` without intervals.
    pub coverage: Option<f64>,
    /// Time from the begin of the first lasting queue until the signal is near the truth or absent, in mean times of a
    /// response. `None` without a lasting queue.
    pub seen_after: Option<f64>,
    /// Smallest part of the age of the oldest request that the signal has during a hang, where that age is over 1 s.
    pub hang: Option<f64>,
    /// Largest signal while the server was idle, in seconds.
    pub idle: f64,
}

/// Mean and 95th percentile. `None` without values.
fn mean_and_p95(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * 0.95).ceil() as usize;
    let p95 = *values.get(at.checked_sub(1)?)?;
    Some((mean(&values)?, p95))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl ScenarioFigures {
    pub fn of(scenario: &Scenario, runs: &[ScenarioRun]) -> Self {
        let waits: Vec<&JudgedWait> = runs.iter().flat_map(|run| &run.waits).collect();
        let share = |is_in: &dyn Fn(&JudgedWait) -> bool| {
            waits.iter().filter(|wait| is_in(wait)).count() as f64 / waits.len().max(1) as f64
        };
        let standing = |wait: &&JudgedWait| Some((wait.truth, wait.standing()?.seconds));
        let (truth, estimate): (Vec<f64>, Vec<f64>) = waits.iter().filter_map(standing).unzip();
        let are_enough = truth.len() as f64 >= MIN_STANDING * waits.len() as f64;
        let both = mean_and_p95(truth).zip(mean_and_p95(estimate)).filter(|_| are_enough);
        let mut server_models = BTreeMap::new();
        for wait in &waits {
            *server_models.entry(wait.server_model).or_insert(0.0) += 1.0 / waits.len() as f64;
        }
        let is_right = |wait: &JudgedWait| {
            let model = wait.server_model;
            match scenario.class {
                ScenarioClass::Fits => model == SLOTS,
                ScenarioClass::DoesNotFit => {
                    let is_known = model == UNKNOWN || Some(model) == scenario.server_model;
                    is_known || wait.standing().is_none()
                }
                ScenarioClass::NoQueue => model == UNKNOWN || model == BASELINE,
                ScenarioClass::Signal => true,
            }
        };
        let held: Vec<f64> =
            waits.iter().filter_map(|wait| wait.is_held()).map(f64::from).collect();
        let widths: Vec<f64> = waits.iter().filter_map(|wait| wait.width()).collect();
        Self {
            mean: both.map(|(truth, estimate)| (truth.0, estimate.0)),
            p95: both.map(|(truth, estimate)| (truth.1, estimate.1)),
            false_waits: share(&JudgedWait::is_false),
            coverage: mean(&held),
            width: mean(&widths),
            missing: share(&|wait| wait.estimate.is_none()),
            withdrawn: share(&|wait| wait.estimate.is_some_and(|one| one.is_withdrawn)),
            right_model: share(&is_right),
            server_models,
            signal: SignalFigures::of(runs),
        }
    }
}

impl JudgedWait {
    /// The estimate, if it is not withdrawn.
    fn standing(&self) -> Option<WaitWithInterval> {
        self.estimate.filter(|estimate| !estimate.is_withdrawn)
    }

    /// Whether the request did not wait, but has an estimated wait.
    fn is_false(&self) -> bool {
        let most = self.until_start + INSTANT_ERROR;
        self.truth == 0.0 && self.standing().is_some_and(|estimate| estimate.seconds > most)
    }

    /// Whether the interval holds the truth.
    fn is_held(&self) -> Option<bool> {
        let (low, high) = self.estimate?.interval?;
        Some(low <= self.until_start + INSTANT_ERROR && self.truth <= high + INSTANT_ERROR)
    }

    fn width(&self) -> Option<f64> {
        let (low, high) = self.estimate?.interval?;
        Some(high - low).filter(|width| width.is_finite())
    }
}

impl JudgedSignal {
    /// Ratio of a signal to the truth, both raised to at least `floor`.
    fn ratio(&self, signal: f64, floor: f64) -> f64 {
        signal.max(floor) / self.truth.max(floor)
    }

    /// Whether the interval holds the truth.
    fn is_held(&self) -> Option<bool> {
        let (low, high) = self.signal?.interval?;
        Some((low - INSTANT_ERROR..=high + INSTANT_ERROR).contains(&self.truth))
    }
}

fn is_near(ratio: f64) -> bool {
    (1.0 / NEAR..=NEAR).contains(&ratio)
}

impl SignalFigures {
    fn of(runs: &[ScenarioRun]) -> Self {
        let held = runs.iter().flat_map(|run| &run.signals).filter_map(JudgedSignal::is_held);
        let held: Vec<f64> = held.map(f64::from).collect();
        let mut figures = Self { ratio: (1.0, 1.0), coverage: mean(&held), ..Self::default() };
        let all = runs.iter().map(|run| run.signals.len()).sum::<usize>().max(1) as f64;
        let count = |share: &mut f64, is_in: bool| *share += f64::from(is_in) / all;
        for run in runs {
            let floor = run.answer_seconds;
            for one in &run.signals {
                count(&mut figures.missing, one.signal.is_none_or(|signal| signal.is_withdrawn));
                count(&mut figures.reference_far, !is_near(one.ratio(one.reference, floor)));
                let Some(signal) = one.signal else { continue };
                let ratio = one.ratio(signal.seconds, floor);
                // A lower bound can only be too large.
                let ratio = if signal.is_withdrawn { ratio.max(1.0) } else { ratio };
                figures.ratio = (figures.ratio.0.min(ratio), figures.ratio.1.max(ratio));
                count(&mut figures.far, !is_near(ratio));
                let is_false =
                    one.truth == 0.0 && signal.seconds > INSTANT_ERROR && !signal.is_withdrawn;
                count(&mut figures.false_signals, is_false);
            }
            if let Some(seconds) = run.seen_after() {
                let after = seconds / run.answer_seconds;
                figures.seen_after = Some(figures.seen_after.unwrap_or(0.0).max(after));
            }
            for one in run.hang.iter().filter(|one| one.oldest_age > 1.0) {
                let part = one.signal.map_or(0.0, |signal| signal.seconds) / one.oldest_age;
                figures.hang = Some(figures.hang.unwrap_or(f64::INFINITY).min(part));
            }
            figures.idle = figures.idle.max(run.idle_signal);
        }
        figures
    }
}

impl ScenarioRun {
    /// Seconds from the begin of the first lasting queue until the signal is near the truth, or absent.
    fn seen_after(&self) -> Option<f64> {
        /// Number of requests in succession that wait in a lasting queue.
        const LASTING: usize = 8;
        let mut windows = self.signals.windows(LASTING);
        let first = windows.position(|some| some.iter().all(|one| one.truth > INSTANT_ERROR))?;
        let since = &self.signals[first..];
        let is_seen = |one: &&JudgedSignal| {
            let is_near = |signal: WaitWithInterval| signal.seconds * NEAR >= one.truth;
            one.signal.is_none_or(|signal| signal.is_withdrawn || is_near(signal))
        };
        let until = since.iter().find(is_seen).or(since.last())?;
        Some(until.at - since.first()?.at)
    }
}
