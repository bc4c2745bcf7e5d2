//! History of the requests to one upstream and model, or of all requests.

use super::latency_counts::{LatencyCounts, quantile_of};
use super::snapshot::{POINTS, STEP_S, SloState, TrafficNow, TrafficRow, TrafficSeries};
use std::collections::VecDeque;
use std::sync::Arc;
use streamgauge_core::meter::{QueueWaitSource, RequestRecord, SloVerdict};
use strum::VariantArray;

/// Most SLO classes that are kept; further ones are left out.
const MAX_SLO: usize = 8;
/// Number of steps that the current quantiles cover.
const NOW_STEPS: usize = 6;
/// Number of seconds that the current rates cover.
pub(super) const RATE_SECONDS: usize = 10;
/// Share of requests that should meet their SLO: the objective of the error budget.
const OBJECTIVE: f64 = 0.99;

/// History of one row.
#[derive(Debug)]
pub(super) struct TrafficHistory {
    /// Oldest first. The last one is the current step.
    steps: VecDeque<TrafficStep>,
    /// The last seconds, oldest first; the last one is not complete.
    seconds: VecDeque<TrafficSecond>,
    /// Names of the SLO classes, in the order of [`TrafficStep::slo`].
    slo: Vec<Arc<str>>,
    /// Output tokens were counted.
    has_tokens: bool,
}

/// Counts and latencies of one step.
#[derive(Debug, Default)]
struct TrafficStep {
    requests: f64,
    errors: f64,
    tokens: u64,
    cold_starts: u32,
    ttft: LatencyCounts,
    tpot: LatencyCounts,
    queue_wait: LatencyCounts,
    /// In the order of [`QueueWaitSource::VARIANTS`].
    queue_sources: [u32; QueueWaitSource::VARIANTS.len()],
    /// Requests that met and missed each class.
    slo: Vec<(f64, f64)>,
    is_sampled: bool,
}

/// Counts of one second.
#[derive(Debug, Default, Clone, Copy)]
struct TrafficSecond {
    requests: f64,
    errors: f64,
    tokens: u64,
}

/// The time that a history covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct CoveredTime {
    /// Number of steps since the start of the process, with the current one.
    pub steps: usize,
    /// Length of the current step so far, in seconds.
    pub current_s: f64,
    /// Length of the seconds that the current rates cover.
    pub rate_s: f64,
}

impl Default for TrafficHistory {
    fn default() -> Self {
        Self {
            steps: (0..POINTS).map(|_| TrafficStep::default()).collect(),
            seconds: VecDeque::from([TrafficSecond::default()]),
            slo: Vec::new(),
            has_tokens: false,
        }
    }
}

impl TrafficHistory {
    /// Begins the next second.
    pub fn next_second(&mut self) {
        if self.seconds.len() == RATE_SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(TrafficSecond::default());
    }

    /// Begins the next step.
    pub fn next_step(&mut self) {
        self.steps.pop_front();
        self.steps.push_back(TrafficStep::default());
    }

    /// Adds an ended request. `weight` is the number of requests that it represents: 1, or more if not all are known.
    pub fn add_request(&mut self, record: &RequestRecord, is_error: bool, weight: f64) {
        let errors = if is_error { weight } else { 0.0 };
        if let Some(second) = self.seconds.back_mut() {
            second.requests += weight;
            second.errors += errors;
        }
        let Some(step) = self.steps.back_mut() else { return };
        step.requests += weight;
        step.errors += errors;
        step.is_sampled |= weight > 1.0;
        for (name, verdict) in &record.slo {
            let at = self.slo.iter().position(|one| one == name).unwrap_or_else(|| {
                if self.slo.len() < MAX_SLO {
                    self.slo.push(Arc::clone(name));
                }
                self.slo.len() - 1
            });
            if self.slo.get(at) != Some(name) {
                continue;
            }
            if step.slo.len() <= at {
                step.slo.resize(at + 1, (0.0, 0.0));
            }
            match (step.slo.get_mut(at), verdict) {
                (Some((met, _)), SloVerdict::Met) => *met += weight,
                (Some((_, missed)), SloVerdict::Missed) => *missed += weight,
                _ => {}
            }
        }
        // Without output it is unknown.
        if record.cold != Some(false) {
            return;
        }
        if let Some(ttft) = record.ttft_s {
            step.ttft.add(ttft);
        }
        if let Some(tpot) = record.tpot_s {
            step.tpot.add(tpot);
        }
        if let (Some(wait), Some(source)) = (record.queue_s, record.queue_source) {
            step.queue_wait.add(wait);
            let at = QueueWaitSource::VARIANTS.iter().position(|one| one.label() == source);
            if let Some(count) = at.and_then(|at| step.queue_sources.get_mut(at)) {
                *count += 1;
            }
        }
    }

    /// Adds output tokens.
    pub fn add_tokens(&mut self, tokens: u64) {
        self.has_tokens = true;
        if let (Some(second), Some(step)) = (self.seconds.back_mut(), self.steps.back_mut()) {
            second.tokens += tokens;
            step.tokens += tokens;
        }
    }

    /// Adds a cold start that has ended.
    pub fn add_cold_start(&mut self) {
        if let Some(step) = self.steps.back_mut() {
            step.cold_starts += 1;
        }
    }

    /// TTFT counts of each step, oldest first.
    pub fn ttft_by_step(&self) -> impl Iterator<Item = &LatencyCounts> {
        self.steps.iter().map(|step| &step.ttft)
    }

    /// Number of requests that ended in the last ten minutes.
    pub fn requests(&self) -> f64 {
        self.steps.iter().map(|step| step.requests).sum()
    }

    /// The row of a snapshot.
    pub fn row(&self, time: CoveredTime) -> TrafficRow {
        let count = |value: f64| value.round() as u64;
        TrafficRow {
            now: self.now(time),
            series: self.series(time),
            requests: count(self.requests()),
            errors: count(self.steps.iter().map(|step| step.errors).sum()),
            cold_starts: self.steps.iter().map(|step| u64::from(step.cold_starts)).sum(),
            slo: self.slo.iter().enumerate().map(|(at, name)| self.slo_state(at, name)).collect(),
            is_sampled: self.steps.iter().any(|step| step.is_sampled),
            ..TrafficRow::default()
        }
    }

    fn slo_state(&self, at: usize, name: &Arc<str>) -> SloState {
        let counts = self.steps.iter().filter_map(|step| step.slo.get(at));
        let (met, missed) = counts.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let goodput = (met + missed > 0.0).then(|| met / (met + missed));
        SloState {
            name: Arc::clone(name),
            met: met.round() as u64,
            missed: missed.round() as u64,
            goodput: goodput.map(rounded),
            objective: OBJECTIVE,
            budget_left: goodput.map(|goodput| rounded(1.0 - (1.0 - goodput) / (1.0 - OBJECTIVE))),
        }
    }

    fn now(&self, time: CoveredTime) -> TrafficNow {
        let rate = |count: f64| (time.rate_s > 0.0).then(|| rounded(count / time.rate_s));
        let sum = |value: fn(&TrafficSecond) -> f64| self.seconds.iter().map(value).sum();
        let last = || self.steps.iter().skip(POINTS - NOW_STEPS);
        let quantile = |counts: fn(&TrafficStep) -> &LatencyCounts, q| {
            quantile_of(&last().map(counts).collect::<Vec<_>>(), q).map(rounded)
        };
        TrafficNow {
            requests_per_s: rate(sum(|second| second.requests)),
            errors_per_s: rate(sum(|second| second.errors)),
            ttft_p50_s: quantile(|step| &step.ttft, 0.5),
            ttft_p95_s: quantile(|step| &step.ttft, 0.95),
            tpot_p50_s: quantile(|step| &step.tpot, 0.5),
            output_tokens_per_s: self
                .has_tokens
                .then(|| rate(sum(|second| second.tokens as f64)))
                .flatten(),
            queue_wait_p95_s: quantile(|step| &step.queue_wait, 0.95),
            queue_source: most_frequent(last().map(|step| &step.queue_sources)),
            goodput: lowest_share(last(), self.slo.len()),
        }
    }

    fn series(&self, time: CoveredTime) -> TrafficSeries {
        let count = self.steps.len();
        // The process did not run in the steps before the first.
        let first = count.saturating_sub(time.steps);
        let point = |value: &dyn Fn(&TrafficStep) -> Option<f64>| -> Vec<Option<f64>> {
            let points = self.steps.iter().enumerate();
            points.map(|(at, step)| value(step).filter(|_| at >= first).map(rounded)).collect()
        };
        let rate = |value: &dyn Fn(&TrafficStep) -> Option<f64>| -> Vec<Option<f64>> {
            let mut points = point(&|step| value(step).map(|count| count / f64::from(STEP_S)));
            if let (Some(last), Some(step)) = (points.last_mut(), self.steps.back()) {
                // A rate over less than a second is noise.
                let length = (time.current_s >= 1.0).then_some(time.current_s);
                *last = value(step).zip(length).map(|(count, length)| rounded(count / length));
            }
            points
        };
        TrafficSeries {
            requests_per_s: rate(&|step| Some(step.requests)),
            errors_per_s: rate(&|step| Some(step.errors)),
            ttft_p50_s: point(&|step| step.ttft.quantile(0.5)),
            ttft_p95_s: point(&|step| step.ttft.quantile(0.95)),
            tpot_p50_s: point(&|step| step.tpot.quantile(0.5)),
            output_tokens_per_s: rate(&|step| self.has_tokens.then_some(step.tokens as f64)),
            queue_wait_p95_s: point(&|step| step.queue_wait.quantile(0.95)),
            cold_starts: point(&|step| Some(f64::from(step.cold_starts))),
            goodput: point(&|step| lowest_share([step].into_iter(), self.slo.len())),
        }
    }
}

/// Lowest share of requests that met their class, over all classes.
fn lowest_share<'a>(
    steps: impl Iterator<Item = &'a TrafficStep> + Clone,
    classes: usize,
) -> Option<f64> {
    let share = |at: usize| {
        let counts = steps.clone().filter_map(|step| step.slo.get(at));
        let (met, missed) = counts.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (met + missed > 0.0).then(|| rounded(met / (met + missed)))
    };
    (0..classes).filter_map(share).min_by(f64::total_cmp)
}

/// Source of most queue waits.
fn most_frequent<'a>(
    steps: impl Iterator<Item = &'a [u32; QueueWaitSource::VARIANTS.len()]>,
) -> Option<String> {
    let mut sums = [0; QueueWaitSource::VARIANTS.len()];
    for step in steps {
        sums.iter_mut().zip(step).for_each(|(sum, count)| *sum += count);
    }
    let sources = QueueWaitSource::VARIANTS.iter().zip(sums).filter(|(_, count)| *count > 0);
    let (source, _) = sources.max_by_key(|(_, count)| *count)?;
    Some(source.label().to_owned())
}

/// Rounds to four significant digits, so that a snapshot is short.
pub(super) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    // Powers of ten are exact, so the result is the number with these digits.
    let scale = 10_f64.powi(digits.abs());
    if digits < 0 { (value / scale).round() * scale } else { (value * scale).round() / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: CoveredTime = CoveredTime { steps: 3, current_s: 5.0, rate_s: 10.0 };

    fn record(ttft: f64, cold: bool, met: SloVerdict) -> RequestRecord {
        RequestRecord {
            ttft_s: Some(ttft),
            queue_s: Some(0.2),
            queue_source: Some("slots"),
            cold: Some(cold),
            slo: vec![("interactive".into(), met)],
            ..RequestRecord::default()
        }
    }

    #[test]
    fn warm_and_cold_requests_are_kept_apart() {
        let mut history = TrafficHistory::default();
        history.add_request(&record(0.1, false, SloVerdict::Met), false, 1.0);
        history.add_request(&record(30.0, true, SloVerdict::Missed), false, 1.0);
        history.add_request(&record(0.1, false, SloVerdict::Undecided), true, 1.0);
        let row = history.row(TIME);
        let p95 = row.now.ttft_p95_s.unwrap();
        assert!((0.09..0.11).contains(&p95), "{p95}");
        assert_eq!(row.now.queue_source.as_deref(), Some("slots"));
        assert_eq!((row.requests, row.errors), (3, 1));
        assert_eq!(row.now.requests_per_s, Some(0.3));
        let [slo] = &row.slo[..] else { panic!("{:?}", row.slo) };
        assert_eq!((slo.met, slo.missed, slo.goodput), (1, 1, Some(0.5)));
        assert_eq!(slo.budget_left, Some(-49.0), "half missed, one in a hundred may miss");
    }

    #[test]
    fn steps_before_the_start_have_no_point_and_idle_steps_have_zero() {
        let mut history = TrafficHistory::default();
        history.add_request(&record(0.1, false, SloVerdict::Met), false, 1.0);
        history.next_step();
        let TrafficSeries { requests_per_s, ttft_p50_s, goodput, .. } = history.row(TIME).series;
        assert_eq!(requests_per_s[POINTS - 4], None);
        assert_eq!(requests_per_s[POINTS - 3..], [Some(0.0), Some(0.1), Some(0.0)]);
        assert_eq!(ttft_p50_s[POINTS - 3], None, "no sample");
        assert_eq!(ttft_p50_s[POINTS - 1], None, "no sample");
        assert_eq!(goodput[POINTS - 2], Some(1.0));
        assert_eq!(history.row(TIME).now.output_tokens_per_s, None, "never counted");
    }

    #[test]
    fn a_record_that_represents_others_counts_for_them() {
        let mut history = TrafficHistory::default();
        history.add_request(&record(0.1, false, SloVerdict::Met), true, 2.5);
        history.add_request(&record(0.1, false, SloVerdict::Met), false, 2.5);
        let row = history.row(TIME);
        assert_eq!((row.requests, row.errors, row.is_sampled), (5, 3, true));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.123456, 12345.678, 0.3, 0.0].map(rounded), [0.1235, 12350.0, 0.3, 0.0]);
    }
}
