//! Results of each scenario, beside the truth.

use super::scenarios::{EvalScenario, Knowable};
use std::fmt::Write as _;
use streamgauge_core::meter::cold::ColdReason;

/// Runs of each scenario, with different seeds.
pub const SEEDS: u64 = 5;
/// A length may differ by this part, or by this many seconds.
pub const LENGTH_TOLERANCE: (f64, f64) = (0.1, 0.2);
/// This part of the cold requests may be called warm: those that arrive between the last failed probe and readiness, which
/// is 4 % of the time so far.
pub const MISSED_TOLERANCE: f64 = 0.04;
/// Warm requests that may be called cold, as a part of the cold ones. They arrive between the end of a load and the first
/// output after it: the end of the load cannot be seen.
pub const FALSE_TOLERANCE: f64 = 0.01;
/// Longest time of a load that may become a queue wait, in seconds.
pub const QUEUE_TOLERANCE: f64 = 0.2;
/// The 95 % quantile of warm TTFT may differ by this part.
pub const WARM_TOLERANCE: f64 = 0.05;

/// Result of all runs of one scenario.
#[derive(Debug, Default)]
pub struct EvalResult {
    pub true_starts: usize,
    pub found_starts: usize,
    /// Runs in which the number is right.
    pub right_counts: u64,
    pub true_seconds: f64,
    pub found_seconds: f64,
    /// Cold starts whose length is out of tolerance, where the number is right.
    pub wrong_lengths: usize,
    pub true_cold: usize,
    /// Cold requests that were called warm, and warm ones that were called cold.
    pub missed_cold: usize,
    pub false_cold: usize,
    /// 95 % quantiles of TTFT: of the warm requests, and of those that were called warm.
    pub true_warm_p95: f64,
    pub found_warm_p95: f64,
    /// Longest queue wait of a cold request, in seconds.
    pub most_queue: f64,
    /// Reasons, of all runs.
    pub reasons: Vec<&'static str>,
    /// Runs at whose end the judgement was suspended.
    pub suspended: u64,
}

impl EvalResult {
    /// Runs a scenario with all seeds.
    pub fn of(scenario: &EvalScenario) -> Self {
        let mut all = Self::default();
        let (mut true_warm, mut found_warm) = (Vec::new(), Vec::new());
        let from = if let Knowable::From(from) = scenario.knowable { from } else { 0.0 };
        for seed in 1..=SEEDS {
            let world = (scenario.run)(seed);
            let mut found: Vec<(f64, f64, ColdReason)> = world
                .found
                .iter()
                .map(|one| {
                    let ended = one.ended.as_secs_f64();
                    (one.began.map_or(ended, |began| began.as_secs_f64()), ended, one.reason)
                })
                .filter(|one| one.0 >= from)
                .collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut truth: Vec<(f64, f64)> =
                world.truth.iter().copied().filter(|one| one.0 >= from).collect();
            truth.sort_by(|a, b| a.0.total_cmp(&b.0));
            all.true_starts += truth.len();
            all.found_starts += found.len();
            all.true_seconds += truth.iter().map(|one| one.1 - one.0).sum::<f64>();
            all.found_seconds += found.iter().map(|one| one.1 - one.0).sum::<f64>();
            all.reasons.extend(found.iter().map(|one| one.2.label()));
            if truth.len() == found.len() {
                all.right_counts += 1;
                all.wrong_lengths += truth
                    .iter()
                    .zip(&found)
                    .filter(|(truth, found)| {
                        let (truth, found) = (truth.1 - truth.0, found.1 - found.0);
                        let (part, seconds) = LENGTH_TOLERANCE;
                        (truth - found).abs() > seconds.max(part * truth)
                    })
                    .count();
            }
            for one in world.outcomes.iter().filter(|one| one.arrived >= from) {
                all.true_cold += usize::from(one.is_cold);
                all.missed_cold += usize::from(one.is_cold && !one.found_cold);
                all.false_cold += usize::from(!one.is_cold && one.found_cold);
                if !one.is_cold {
                    true_warm.push(one.ttft);
                }
                if !one.found_cold {
                    found_warm.push(one.ttft);
                }
                if one.is_cold {
                    all.most_queue = all.most_queue.max(one.queue.unwrap_or(0.0));
                }
            }
            all.suspended += u64::from(world.is_suspended());
        }
        (all.true_warm_p95, all.found_warm_p95) = (p95(true_warm), p95(found_warm));
        all.reasons.sort_unstable();
        all.reasons.dedup();
        all
    }

    /// Whether the numbers, lengths, cold requests and warm TTFT are right.
    pub fn is_right(&self) -> bool {
        self.right_counts == SEEDS
            && self.wrong_lengths == 0
            && self.false_cold as f64 <= FALSE_TOLERANCE * self.true_cold as f64
            && self.missed_cold as f64 <= MISSED_TOLERANCE * self.true_cold as f64
            && self.most_queue <= QUEUE_TOLERANCE
            && (self.found_warm_p95 - self.true_warm_p95).abs()
                <= WARM_TOLERANCE * self.true_warm_p95
    }

    /// Row of the table.
    pub fn row(&self, scenario: &EvalScenario) -> String {
        let EvalScenario { name, sight, knowable, .. } = scenario;
        let sight = if sight.is_empty() { "requests" } else { sight };
        let verdict = match knowable {
            Knowable::No(_) => "unknowable",
            _ if self.is_right() => "right",
            _ => "wrong",
        };
        let reasons = self.reasons.join(", ");
        let mut row = String::new();
        let _ = write!(
            row,
            "| {name} | {sight} | {} | {} | {:.2} | {:.2} | {} | {} | {} | {:.0} | {:.0} | {reasons} | {verdict} |",
            self.true_starts,
            self.found_starts,
            self.true_seconds,
            self.found_seconds,
            self.true_cold,
            self.missed_cold,
            self.false_cold,
            self.true_warm_p95 * 1e3,
            self.found_warm_p95 * 1e3,
        );
        row
    }
}

pub const HEAD: &str = "| scenario | seen beside the requests | cold starts | found | seconds | found | cold requests | missed | false | warm p95, ms | found | reasons | |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn p95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * 0.95) as usize).copied().unwrap_or(0.0)
}
