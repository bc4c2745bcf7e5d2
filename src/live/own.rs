//! How well Streamgauge itself does: forwarding delay, coverage, losses.

use super::snapshot::{OwnState, POINTS};
use super::traffic::rounded;
use crate::metrics::OwnCounters;
use std::collections::VecDeque;
use streamgauge_core::meter::{RequestRecord, TokenSource};

/// Number of steps that the forwarding delay covers, besides the current one.
const DELAY_STEPS: usize = 6;

/// History of the process itself.
#[derive(Debug, Default)]
pub(super) struct OwnHistory {
    /// Oldest first. The last one is the current step.
    steps: VecDeque<OwnStep>,
    counters: OwnCounters,
    /// Cumulative counts of the forwarding delay at the beginning of the last steps, oldest first.
    delays: VecDeque<Vec<(f64, u64)>>,
    reloaded_at: f64,
}

#[derive(Debug, Default)]
struct OwnStep {
    requests: f64,
    degraded: f64,
    /// Successful requests.
    ok: f64,
    /// Those whose output tokens the server reported.
    reported: f64,
}

impl OwnHistory {
    /// `now` is in seconds since 1970.
    pub fn new(now: f64) -> Self {
        let steps = (0..POINTS).map(|_| OwnStep::default()).collect();
        Self { steps, reloaded_at: now, ..Self::default() }
    }

    /// Begins the next step.
    pub fn next_step(&mut self) {
        self.steps.pop_front();
        self.steps.push_back(OwnStep::default());
        if self.delays.len() == DELAY_STEPS {
            self.delays.pop_front();
        }
        self.delays.push_back(self.counters.forwarding_delay.clone());
    }

    /// Adds an ended request, which represents `weight` requests.
    pub fn add_request(&mut self, record: &RequestRecord, weight: f64) {
        let Some(step) = self.steps.back_mut() else { return };
        step.requests += weight;
        step.degraded += if record.degraded { weight } else { 0.0 };
        if record.outcome == "ok" {
            let source = record.output_tokens_source;
            let is_reported = source.is_some_and(|source| source != TokenSource::Events);
            step.ok += weight;
            step.reported += if is_reported { weight } else { 0.0 };
        }
    }

    /// Takes the present counters. Returns whether the configuration was reloaded since the last call.
    pub fn set_counters(&mut self, counters: OwnCounters) -> bool {
        let is_reloaded = counters.reloaded_at > self.reloaded_at;
        self.reloaded_at = self.reloaded_at.max(counters.reloaded_at);
        self.counters = counters;
        is_reloaded
    }

    /// The state at this moment.
    pub fn state(&self) -> OwnState {
        let sum = |value: fn(&OwnStep) -> f64| self.steps.iter().map(value).sum::<f64>();
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| rounded(part / whole));
        OwnState {
            forwarding_p50_s: self.delay(0.5),
            forwarding_p99_s: self.delay(0.99),
            usage_coverage: share(sum(|step| step.reported), sum(|step| step.ok)),
            unparsed: self.counters.unparsed,
            dropped_lines: self.counters.dropped_lines,
            degraded: share(sum(|step| step.degraded), sum(|step| step.requests)),
        }
    }

    /// Quantile of the forwarding delay in the last steps, in seconds, interpolated as in PromQL.
    fn delay(&self, q: f64) -> Option<f64> {
        let before = self.delays.front();
        let count = |at: usize, now: u64| {
            let before = before.and_then(|before| before.get(at)).map_or(0, |(_, count)| *count);
            now.saturating_sub(before) as f64
        };
        let buckets = self.counters.forwarding_delay.iter().enumerate();
        let buckets: Vec<(f64, f64)> =
            buckets.map(|(at, (edge, total))| (*edge, count(at, *total))).collect();
        let rank = q * buckets.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let (mut lower_edge, mut below) = (0.0, 0.0);
        for (edge, count) in buckets {
            if count >= rank {
                let part = if count > below { (rank - below) / (count - below) } else { 1.0 };
                // Beyond the last edge, only that is known.
                let upper = if edge.is_finite() { edge } else { lower_edge };
                return Some(rounded(lower_edge + (upper - lower_edge) * part));
            }
            (lower_edge, below) = (edge, count);
        }
        None
    }
}
