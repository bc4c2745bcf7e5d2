//! Runs the estimator beside a server, as a proxy would, and keeps its estimates beside the truth.

use super::Scenario;
use super::estimator_adapter::{EstimatorAdapter, WaitWithInterval};
use super::traffic::ServedTruth;
use std::collections::BTreeSet;
use streamgauge_sim::rng::SplitMix64;

/// Usual number of requests before the waits are judged, for the estimator to learn from.
pub const LEARNED: usize = 500;
/// Number of requests before the expected wait of a new request is judged.
pub const LEARNED_FOR_SIGNAL: usize = 200;

/// The estimated wait of one request.
#[derive(Debug, Clone, Copy)]
pub struct JudgedWait {
    pub truth: f64,
    /// Time until the server began to work on it. It is longer than the wait if a server that works in steps took the
    /// request at the end of the step in which it arrived.
    pub until_start: f64,
    pub estimate: Option<WaitWithInterval>,
    /// Name of the server model when the request ended.
    pub server_model: &'static str,
}

/// The expected wait of a new request, just before a request is sent.
#[derive(Debug, Clone, Copy)]
pub struct JudgedSignal {
    pub at: f64,
    /// The wait that this request really got.
    pub truth: f64,
    /// The wait that is expected from the real number of slots, the real number of queued requests, and the mean time for
    /// which a slot is held. Only the sizes of single responses are missing, which no estimator can know.
    pub reference: f64,
    pub signal: Option<WaitWithInterval>,
}

/// The expected wait of a new request, during a hang.
#[derive(Debug, Clone, Copy)]
pub struct HangSignal {
    /// Largest age of a request without output, less the time that its prompt takes. Seconds.
    pub oldest_age: f64,
    pub signal: Option<WaitWithInterval>,
}

/// Estimates of one run, and the truth.
#[derive(Debug, Clone, Default)]
pub struct ScenarioRun {
    pub waits: Vec<JudgedWait>,
    pub signals: Vec<JudgedSignal>,
    pub hang: Vec<HangSignal>,
    /// Largest expected wait while nothing was in flight, in seconds.
    pub idle_signal: f64,
    /// Mean time from the start to the end of a request, in seconds.
    pub answer_seconds: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProxyEvent {
    Sent,
    FirstOutput,
    Left,
}

/// The requests as a proxy sees them: each instant is late by up to half a millisecond, and by one more millisecond on
/// the way back.
fn proxy_events(truth: &[ServedTruth], seed: u64) -> Vec<(f64, usize, ProxyEvent)> {
    let mut rng = SplitMix64::new(seed ^ 0xF00D);
    let mut late = |by: f64| by + 0.0005 * rng.unit();
    let mut events = Vec::with_capacity(3 * truth.len());
    for (id, one) in truth.iter().enumerate().filter(|(_, one)| one.request.is_seen) {
        let sent = one.request.at + late(0.0);
        let first = one.first.filter(|_| one.request.is_streamed).map(|at| at + late(0.001));
        let left = one.left() + late(0.001);
        events.push((sent, id, ProxyEvent::Sent));
        events.extend(first.map(|at| (at, id, ProxyEvent::FirstOutput)));
        events.push((left.max(first.unwrap_or(sent)), id, ProxyEvent::Left));
    }
    events.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    events
}

/// Runs the estimator on these requests. `change`: the interval in which the server changes or hangs. The wait of a
/// request that overlaps with it could not be known when it was sent.
pub fn observe(
    truth: &[ServedTruth],
    scenario: &Scenario,
    change: Option<(f64, f64)>,
    seed: u64,
) -> ScenarioRun {
    let traffic = &scenario.traffic;
    let answers: Vec<f64> = truth.iter().filter_map(ServedTruth::service).collect();
    let answer_seconds = answers.iter().sum::<f64>() / answers.len().max(1) as f64;
    let mut run = ScenarioRun { answer_seconds, ..ScenarioRun::default() };
    let mut estimators = EstimatorAdapter::new(traffic.models);
    let mut entries = vec![None; truth.len()];
    let mut without_output: BTreeSet<usize> = BTreeSet::new();
    let mut in_flight = 0_usize;
    let seconds = |signal: Option<WaitWithInterval>| signal.map_or(0.0, |signal| signal.seconds);
    let reference = ReferenceSignal::new(truth, scenario);
    let mut last = 0.0;
    for (at, id, event) in proxy_events(truth, seed) {
        let ServedTruth { request, .. } = truth[id];
        last = at;
        match event {
            ProxyEvent::Sent => {
                let signal = estimators.current_wait(at, request.model);
                if in_flight == 0 && truth[id].wait() == Some(0.0) {
                    run.idle_signal = run.idle_signal.max(seconds(signal));
                }
                let is_in = |(from, to): (f64, f64)| from < request.at && request.at < to;
                if change.is_some_and(is_in) {
                    let age = |id: &usize| {
                        let ServedTruth { request: other, start, first, .. } = truth[*id];
                        request.at - other.at - first.zip(start).map_or(0.0, |(to, from)| to - from)
                    };
                    let oldest_age = without_output.iter().map(age).fold(0.0, f64::max);
                    run.hang.push(HangSignal { oldest_age, signal });
                }
                if id >= LEARNED_FOR_SIGNAL
                    && let Some(wait) = truth[id].wait()
                    && change.is_none_or(|(from, to)| request.at > to || request.at + wait < from)
                {
                    let reference = reference.expected_wait(id, &truth[id]);
                    run.signals.push(JudgedSignal { at, truth: wait, reference, signal });
                }
                entries[id] = Some(estimators.arrive(at, &request));
                without_output.insert(id);
                in_flight += 1;
            }
            ProxyEvent::FirstOutput => {
                let entry = entries[id].as_mut().expect("it was sent");
                estimators.first_output(entry, at, &request);
                without_output.remove(&id);
            }
            ProxyEvent::Left => {
                let entry = entries[id].take().expect("it was sent");
                without_output.remove(&id);
                in_flight -= 1;
                let is_complete = truth[id].finish.is_some();
                let is_served = is_complete || truth[id].first.is_some() && request.is_streamed;
                let tokens =
                    (traffic.reports_usage && is_complete).then_some(u64::from(request.prompt));
                let estimate = estimators.finish(entry, at, &request, is_served, tokens);
                if id >= scenario.learned
                    && is_served
                    && let Some((wait, start)) = truth[id].wait().zip(truth[id].start)
                {
                    run.waits.push(JudgedWait {
                        truth: wait,
                        until_start: start - request.at,
                        estimate,
                        server_model: estimators.server_model(request.model),
                    });
                }
            }
        }
    }
    let is_idle = truth.iter().all(|one| one.start.is_none_or(|start| start < last));
    for model in (0..traffic.models).filter(|_| is_idle) {
        let signal = estimators.current_wait(last + 1.0, model);
        run.idle_signal = run.idle_signal.max(seconds(signal));
    }
    run
}

/// Expected wait of a new request, from all that could be known about the server.
struct ReferenceSignal<'a> {
    scenario: &'a Scenario,
    /// Instants at which requests left the queue, sorted.
    left_queue: Vec<f64>,
    /// Mean time for which a slot is held, in seconds.
    holding_seconds: f64,
}

impl<'a> ReferenceSignal<'a> {
    fn new(truth: &[ServedTruth], scenario: &'a Scenario) -> Self {
        let left = |one: &ServedTruth| one.start.unwrap_or_else(|| one.left());
        let mut left_queue: Vec<f64> = truth.iter().map(left).collect();
        left_queue.sort_by(f64::total_cmp);
        let held: Vec<f64> = truth.iter().filter_map(|one| scenario.holding(one)).collect();
        let holding_seconds = held.iter().sum::<f64>() / held.len().max(1) as f64;
        Self { scenario, left_queue, holding_seconds }
    }

    fn expected_wait(&self, id: usize, truth: &ServedTruth) -> f64 {
        let left_before = self.left_queue.partition_point(|at| *at <= truth.request.at);
        let queued = id.saturating_sub(left_before);
        let waits = truth.wait().is_some_and(|wait| wait > 0.0);
        let needed = if waits { queued as f64 + 1.0 } else { 0.0 };
        needed * self.holding_seconds / self.scenario.slots_at(id) as f64
    }
}
