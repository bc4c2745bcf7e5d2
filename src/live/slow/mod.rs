//! `GET /requests/slow`: the slow requests of the last ten minutes, and why they were slow.
//!
//! The time of a request is split into [`parts`]. Each part is compared with its baseline, the median of other requests
//! to the same upstream and model ([`baseline`]). The part that exceeds it most explains the request ([`explain`]).

mod baseline;
mod explain;
mod parts;
#[cfg(test)]
mod tests;

use super::traffic::rounded;
use crate::tap::InFlightRequest;
use baseline::Baselines;
use explain::{Explanation, SLOW_EXCESS};
pub(super) use explain::{cold_reason, seconds};
pub use parts::PartKind;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use streamgauge_core::meter::RequestRecord;

/// Time that the list covers, in seconds.
const WINDOW_S: f64 = 600.0;
/// Most slow and cold requests in the list.
const MAX_SLOW: usize = 12;
/// Most failures in the list.
const MAX_FAILED: usize = 6;
/// Most running requests in the list.
const MAX_RUNNING_SLOW: usize = 6;
/// Most requests of one cause (a cold start, a kind of failure) in the list.
const MAX_OF_CAUSE: usize = 2;
/// Most requests of each class that are kept.
const MAX_KEPT: usize = 48;
/// Most requests that are added to the baselines in a second, evenly taken from those that ended.
const MAX_SAMPLED: usize = 100;
/// Most requests that are explained in a second: the longest of those that ended. An explanation costs some microseconds.
pub(super) const MAX_EXPLAINED: usize = 16;

/// The slow requests of the last ten minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowRequests {
    /// Instant of the list, in seconds since 1970.
    pub now: f64,
    /// Time that the list covers.
    pub window_s: f64,
    /// Running requests first, then those that took longest beyond their baselines, then failures.
    pub requests: Vec<SlowRequest>,
}

/// A slow or failed request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowRequest {
    /// Number of the request in the request log: 16 hexadecimal digits.
    pub id: String,
    /// Arrival, in seconds since 1970.
    pub started_at: f64,
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// Value of the label `gen_ai_request_model`. For a running request, the model that it names.
    pub model: Option<Arc<str>>,
    /// Operation: the label `gen_ai_operation_name`.
    pub operation: String,
    /// Whether it still runs.
    pub is_running: bool,
    /// Outcome: the label `outcome`. `None` while it runs.
    pub outcome: Option<String>,
    /// Status that the client received.
    pub status: Option<u16>,
    /// Reason of the cold start that it waited for.
    pub cold_reason: Option<String>,
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
    /// Time from its arrival to its end, or until now.
    pub duration_s: f64,
    /// Duration divided by the sum of the baselines of its parts. `None` without a baseline.
    pub slowness: Option<f64>,
    /// Duration beyond the sum of the baselines of its parts. `None` without a baseline.
    pub beyond_usual_s: Option<f64>,
    /// Its parts in the order of time, then those that overlap others. A part that is unknown is absent.
    pub parts: Vec<RequestPart>,
    /// The part that was unusual.
    pub unusual: Option<PartKind>,
    /// One sentence that names it.
    pub sentence: String,
}

/// A part of a request's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestPart {
    /// Name of the part.
    pub kind: PartKind,
    /// When it began, since the arrival of the request. Negative: before it. `None`: within other parts.
    pub start_s: Option<f64>,
    /// Its length.
    pub duration_s: f64,
    /// Its baseline: the median of other requests. `None` with fewer than eight of them.
    pub usual_s: Option<f64>,
    /// Number of requests that the baseline is the median of.
    pub samples: u32,
    /// The baseline is that of prompts of this size. `false`: of all sizes, because too few had this one.
    pub is_same_size: bool,
}

/// Baselines and the requests that may be in the list.
#[derive(Debug, Default)]
pub(super) struct SlowHistory {
    baselines: Baselines,
    slow: Vec<KeptRequest>,
    cold: Vec<KeptRequest>,
    failed: Vec<KeptRequest>,
}

/// An ended request that may be in the list.
#[derive(Debug)]
struct KeptRequest {
    record: Arc<RequestRecord>,
    model: Arc<str>,
    ended_at: f64,
    /// Higher ranks are kept longer.
    rank: f64,
    /// Why an upstream could not be reached.
    cause: Option<String>,
}

/// An ended request and the label of its model.
#[derive(Debug, Clone)]
pub(super) struct LabelledRecord {
    pub record: Arc<RequestRecord>,
    pub model: Arc<str>,
    pub ended_at: f64,
    pub is_error: bool,
    /// Number of requests that it represents in counts. 0: others represent it.
    pub weight: f64,
    /// Why the upstream could not be reached, if it could not.
    pub cause: Option<String>,
}

impl SlowHistory {
    /// Adds the requests that ended in the last second. `now` is in seconds since 1970.
    pub fn add(&mut self, records: &[LabelledRecord], now: f64) {
        let sampled = records.iter().step_by(records.len().div_ceil(MAX_SAMPLED).max(1));
        sampled.for_each(|one| self.baselines.add(&one.record, &one.model));
        let failed = records.iter().rev().filter(|one| one.is_error).take(MAX_KEPT);
        self.failed.extend(failed.map(|one| KeptRequest::new(one, one.ended_at)));
        let may_be_slow = |one: &&LabelledRecord| {
            let is_cold = one.record.cold == Some(true);
            !one.is_error && (is_cold || one.record.duration_s >= SLOW_EXCESS)
        };
        let mut longest: Vec<&LabelledRecord> = records.iter().filter(may_be_slow).collect();
        longest.sort_by(|one, two| two.record.duration_s.total_cmp(&one.record.duration_s));
        for one in longest.into_iter().take(MAX_EXPLAINED) {
            let explanation = Explanation::of_record(&one.record, &one.model, &self.baselines);
            let rank = explanation.beyond_usual().unwrap_or(0.0);
            if one.record.cold == Some(true) {
                self.cold.push(KeptRequest::new(one, rank));
            } else if explanation.is_slow() {
                self.slow.push(KeptRequest::new(one, rank));
            }
        }
        for list in [&mut self.slow, &mut self.cold, &mut self.failed] {
            list.retain(|one| now - one.ended_at <= WINDOW_S);
            list.sort_by(|one, two| two.rank.total_cmp(&one.rank));
            list.truncate(MAX_KEPT);
        }
    }

    /// Makes the list. `running` are the oldest requests in flight of each upstream, and `now` is the instant on the
    /// program's clock and in seconds since 1970.
    pub fn list(
        &self,
        running: &[(Arc<str>, InFlightRequest)],
        now: (std::time::Duration, f64),
    ) -> SlowRequests {
        let mut requests = self.running(running, now);
        let mut ended: Vec<(f64, SlowRequest)> = Vec::new();
        let by_cold_start = |one: &KeptRequest| one.record.cold_reason;
        let slow = self.slow.iter().chain(few_of_each(&self.cold, by_cold_start));
        for kept in slow {
            let explanation = Explanation::of_record(&kept.record, &kept.model, &self.baselines);
            // More samples may have shown that it was usual.
            if kept.record.cold == Some(true) || explanation.is_slow() {
                let rank = explanation.beyond_usual().unwrap_or(0.0);
                ended.push((rank, kept.explained(&explanation)));
            }
        }
        ended.sort_by(|one, two| two.0.total_cmp(&one.0));
        requests.extend(ended.into_iter().take(MAX_SLOW).map(|(_, request)| request));
        let by_outcome = |one: &KeptRequest| (one.record.outcome, Arc::clone(&one.model));
        let failed = few_of_each(&self.failed, by_outcome).take(MAX_FAILED);
        requests.extend(failed.map(|kept| {
            let explanation = Explanation::of_record(&kept.record, &kept.model, &self.baselines);
            kept.explained(&explanation)
        }));
        SlowRequests { now: now.1, window_s: WINDOW_S, requests }
    }

    fn running(
        &self,
        running: &[(Arc<str>, InFlightRequest)],
        (now, wall): (std::time::Duration, f64),
    ) -> Vec<SlowRequest> {
        let explain = |(upstream, request): &(Arc<str>, InFlightRequest)| {
            let explanation = Explanation::of_running(request, upstream, now, &self.baselines)?;
            let age = now.saturating_sub(request.started_at).as_secs_f64();
            Some(SlowRequest {
                id: format!("{:016x}", request.id),
                started_at: wall - age,
                upstream: Arc::clone(upstream),
                model: request.model.clone(),
                operation: request.operation.to_owned(),
                is_running: true,
                duration_s: rounded(age),
                slowness: explanation.slowness().map(rounded),
                beyond_usual_s: explanation.beyond_usual().map(rounded),
                sentence: explanation.sentence(None),
                unusual: explanation.unusual(),
                parts: explanation.into_parts(),
                ..SlowRequest::default()
            })
        };
        running.iter().filter_map(explain).take(MAX_RUNNING_SLOW).collect()
    }
}

impl KeptRequest {
    fn new(labelled: &LabelledRecord, rank: f64) -> Self {
        let LabelledRecord { record, model, ended_at, cause, .. } = labelled.clone();
        Self { record, model, ended_at, rank, cause }
    }

    fn explained(&self, explanation: &Explanation<'_>) -> SlowRequest {
        let RequestRecord { id, upstream, operation, outcome, status, .. } = &*self.record;
        SlowRequest {
            id: format!("{id:016x}"),
            started_at: self.record.time.as_secs_f64(),
            upstream: Arc::clone(upstream),
            model: Some(Arc::clone(&self.model)),
            operation: (*operation).to_owned(),
            is_running: false,
            outcome: Some((*outcome).to_owned()),
            status: *status,
            cold_reason: self.record.cold_reason.map(str::to_owned),
            input_tokens: self.record.input_tokens,
            output_tokens: self.record.output_tokens,
            duration_s: rounded(self.record.duration_s),
            slowness: explanation.slowness().map(rounded),
            beyond_usual_s: explanation.beyond_usual().map(rounded),
            parts: explanation.clone().into_parts(),
            unusual: explanation.unusual(),
            sentence: explanation.sentence(self.cause.as_deref()),
        }
    }
}

/// The first requests of each upstream and cause.
fn few_of_each<'a, C: PartialEq>(
    kept: &'a [KeptRequest],
    cause: impl Fn(&KeptRequest) -> C + 'a,
) -> impl Iterator<Item = &'a KeptRequest> {
    let is_same = move |one: &KeptRequest, two: &KeptRequest| {
        one.record.upstream == two.record.upstream && cause(one) == cause(two)
    };
    kept.iter().enumerate().filter_map(move |(at, one)| {
        let earlier = kept.iter().take(at).filter(|other| is_same(one, other)).count();
        (earlier < MAX_OF_CAUSE).then_some(one)
    })
}
