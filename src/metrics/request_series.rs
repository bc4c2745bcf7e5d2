//! Handles, resolved once.

use super::edge_and_trace::EdgeAndTraceHandles;
use super::families::MetricFamilies;
use super::goodput::GoodputHandles;
use super::model_labels::OTHER;
use super::sharded::{self, ShardedCounter, ShardedFamily, ShardedHistogram};
use super::stream_flow::StreamFlowHandles;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use std::collections::BTreeSet;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use streamgauge_core::dialect::{FinishReason, route::Operation};
use streamgauge_core::meter::{
    GapBasis, LiveSample, Outcome, OutputKind, RequestRecord, ResponseTokens, TokenSource,
};
use strum::VariantArray;

/// The labels that most series of a request share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestLabels {
    pub upstream: Arc<str>,
    pub provider: Arc<str>,
    pub operation: Operation,
    pub model: Arc<str>,
}

/// Whether a request met the server ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartKind {
    Warm,
    Cold,
    /// Only the end of its response tells.
    Undetermined,
}

/// A counter that never falls: what was counted too much is a debt, which later increments pay.
#[derive(Debug)]
struct ReconciledCounter {
    counter: Arc<ShardedCounter>,
    debt: AtomicU64,
}

impl ReconciledCounter {
    fn add(&self, count: u64) {
        if self.debt.load(Relaxed) == 0 {
            self.counter.inc_by(count);
            return;
        }
        let pay = |debt: u64| Some(debt.saturating_sub(count));
        // The closure always gives a value, so this is never an error.
        let debt = self.debt.fetch_update(Relaxed, Relaxed, pay).unwrap_or(0);
        self.counter.inc_by(count.saturating_sub(debt));
    }

    /// A request counted `live` while it ran, and has `n`.
    fn settle(&self, live: u64, n: u64) {
        match n.checked_sub(live) {
            Some(missing) => self.add(missing),
            None => {
                self.debt.fetch_add(live - n, Relaxed);
            }
        }
    }
}

/// Handles of one family by what tells them apart, which are few: a look is cheaper than the hash of all
/// labels. A list that only grows, so that no look takes a lock.
#[derive(Debug)]
pub(super) struct HandleCache<K, M>(OnceLock<Box<CachedHandle<K, M>>>);

#[derive(Debug)]
struct CachedHandle<K, M> {
    key: K,
    handle: M,
    others: HandleCache<K, M>,
}

impl<K, M> Default for HandleCache<K, M> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: PartialEq + Clone, M> HandleCache<K, M> {
    pub(super) fn get(&self, key: K, new: impl Fn() -> M) -> &M {
        let mut list = self;
        loop {
            // Two threads may come at once: whose entry is second goes behind the other's.
            let entry = list.0.get_or_init(|| {
                let (key, others) = (key.clone(), Self::default());
                Box::new(CachedHandle { key, handle: new(), others })
            });
            if entry.key == key {
                return &entry.handle;
            }
            list = &entry.others;
        }
    }
}

/// The handles of one upstream, operation and model. Each series comes to be when it is first needed,
/// so that what is never measured does not show as 0.
pub struct RequestSeries {
    pub(super) families: Arc<MetricFamilies>,
    key: RequestLabels,
    /// Of a warm start, and of a cold one.
    ttft: [OnceLock<Histogram>; 2],
    answer: OnceLock<Histogram>,
    head: OnceLock<Histogram>,
    chunk_gap: OnceLock<Arc<ShardedHistogram>>,
    token_gap: [OnceLock<Arc<ShardedHistogram>>; GapBasis::VARIANTS.len()],
    output_tokens: OnceLock<ReconciledCounter>,
    characters: [OnceLock<Arc<ShardedCounter>>; OutputKind::VARIANTS.len()],
    requests: HandleCache<(Outcome, Option<u16>, bool), IntCounter>,
    request_duration: HandleCache<(Outcome, Option<u16>), Histogram>,
    finish_reasons: HandleCache<&'static str, IntCounter>,
    input_tokens: OnceLock<Arc<ShardedCounter>>,
    token_source: HandleCache<(&'static str, TokenSource), IntCounter>,
    usage_coverage: HandleCache<bool, IntCounter>,
    tpot: HandleCache<TokenSource, Histogram>,
    queue_wait: HandleCache<&'static str, Histogram>,
    engine_residual: OnceLock<Histogram>,
    pub(super) before: EdgeAndTraceHandles,
    latency: OnceLock<Histogram>,
    normalized: OnceLock<Histogram>,
    character_rate: OnceLock<Histogram>,
    token_usage: HandleCache<&'static str, Histogram>,
    goodput: GoodputHandles,
    pub(super) flow: StreamFlowHandles,
}

impl std::fmt::Debug for RequestSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestSeries").field("key", &self.key).finish_non_exhaustive()
    }
}

impl RequestSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, key: RequestLabels) -> Self {
        Self {
            families,
            key,
            ttft: Default::default(),
            answer: OnceLock::new(),
            head: OnceLock::new(),
            chunk_gap: OnceLock::new(),
            token_gap: Default::default(),
            output_tokens: OnceLock::new(),
            characters: Default::default(),
            requests: HandleCache::default(),
            request_duration: HandleCache::default(),
            finish_reasons: HandleCache::default(),
            input_tokens: OnceLock::new(),
            token_source: HandleCache::default(),
            usage_coverage: HandleCache::default(),
            tpot: HandleCache::default(),
            queue_wait: HandleCache::default(),
            engine_residual: OnceLock::new(),
            before: EdgeAndTraceHandles::default(),
            latency: OnceLock::new(),
            normalized: OnceLock::new(),
            character_rate: OnceLock::new(),
            token_usage: HandleCache::default(),
            goodput: GoodputHandles::default(),
            flow: StreamFlowHandles::default(),
        }
    }

    /// Whether these are its operation and its model.
    pub(super) fn is_of(&self, operation: Operation, model: &str) -> bool {
        self.key.operation == operation && *self.key.model == *model
    }

    /// Whether requests of these labels are sessions of many responses.
    pub(super) fn is_of_sessions(&self) -> bool {
        self.key.operation == Operation::Realtime
    }

    fn labels<'a, const OWN: usize>(&'a self, own: [&'a str; OWN]) -> Vec<&'a str> {
        let RequestLabels { upstream, provider, operation, model } = &self.key;
        let mut labels = Vec::with_capacity(4 + OWN);
        labels.extend([operation.label(), provider, model, upstream]);
        labels.extend(own);
        labels
    }

    pub(super) fn histogram<const OWN: usize>(
        &self,
        family: &HistogramVec,
        own: [&str; OWN],
    ) -> Histogram {
        family.with_label_values(&self.labels(own))
    }

    pub(super) fn counter<const OWN: usize>(
        &self,
        family: &IntCounterVec,
        own: [&str; OWN],
    ) -> IntCounter {
        family.with_label_values(&self.labels(own))
    }

    fn cells<M: sharded::ShardedMetric, const OWN: usize>(
        &self,
        family: &ShardedFamily<M>,
        own: [&str; OWN],
    ) -> Arc<M> {
        family.with_label_values(&self.labels(own))
    }

    /// The upstream's head arrived, this long after the request's first byte.
    pub fn head(&self, after: Duration) {
        let new = || self.histogram(&self.families.head, []);
        self.head.get_or_init(new).observe(after.as_secs_f64());
    }

    /// The first output of a stream came this long (in seconds) after its request. A start that is untold
    /// is to be told later.
    pub fn first(&self, after: f64, start: StartKind) {
        let [warm, cold] = &self.ttft;
        let (cell, label) = match start {
            StartKind::Warm => (warm, "warm"),
            StartKind::Cold => (cold, "cold"),
            StartKind::Undetermined => return,
        };
        cell.get_or_init(|| self.histogram(&self.families.ttft, [label])).observe(after);
    }

    /// The same of its first output that is not reasoning, which is not measured of a cold start.
    pub fn first_answer(&self, after: f64, start: StartKind) {
        if start == StartKind::Warm {
            let new = || self.histogram(&self.families.answer, []);
            self.answer.get_or_init(new).observe(after);
        }
    }

    /// What a response told while it runs. `asked` is the instant of the request's first byte; in a session,
    /// that at which the response was asked for.
    pub fn observe(&self, sample: &LiveSample<'_>, asked: Duration, start: impl Fn() -> StartKind) {
        let since = |at: Duration| at.saturating_sub(asked).as_secs_f64();
        match *sample {
            LiveSample::FirstOutput(at) => self.first(since(at), start()),
            LiveSample::FirstAnswer(at) => self.first_answer(since(at), start()),
            LiveSample::ChunkGap(gap) => {
                let new = || self.cells(&self.families.chunk_gap, []);
                self.chunk_gap.get_or_init(new).observe(gap.as_secs_f64());
            }
            LiveSample::TokenGap { gap, shares, basis } => {
                let new = || self.cells(&self.families.itl, [basis.label()]);
                let [token, event] = &self.token_gap;
                let cell = if basis == GapBasis::Token { token } else { event };
                let histogram = cell.get_or_init(new);
                let share = gap.as_secs_f64() / shares.max(1) as f64;
                histogram.observe_many(share, shares);
            }
            LiveSample::OutputTokens(count) => self.output_tokens().add(count),
            LiveSample::Characters(kind, count) => self.characters(kind).inc_by(count),
            LiveSample::Finished(reason) => self.finished(reason),
            LiveSample::ResponseRequested(_)
            | LiveSample::ModelLoading
            | LiveSample::Unparsed(_) => {}
        }
    }

    fn output_tokens(&self) -> &ReconciledCounter {
        self.output_tokens.get_or_init(|| ReconciledCounter {
            counter: self.cells(&self.families.tokens, ["output"]),
            debt: AtomicU64::new(0),
        })
    }

    fn characters(&self, kind: OutputKind) -> &ShardedCounter {
        let [answer, reasoning, tool] = &self.characters;
        let cell = match kind {
            OutputKind::Answer => answer,
            OutputKind::Reasoning => reasoning,
            OutputKind::Tool => tool,
        };
        cell.get_or_init(|| self.cells(&self.families.characters, [kind.label()]))
    }

    fn finished(&self, reason: &FinishReason) {
        // Only the usual reasons are borrowed; what a server makes up is no label.
        let reason = match reason {
            FinishReason::Borrowed(usual) => *usual,
            FinishReason::Owned(_) => OTHER,
        };
        let new = || self.counter(&self.families.finish_reasons, [reason]);
        self.finish_reasons.get(reason, new).inc();
    }

    /// The request's end, which every request has once.
    pub fn ended(&self, record: &RequestRecord, outcome: Outcome) {
        let status = record.status;
        let code = || status.map(code_label).unwrap_or_default();
        let new = || {
            let stream = if record.stream { "true" } else { "false" };
            self.counter(&self.families.requests, [outcome.label(), &code(), stream])
        };
        self.requests.get((outcome, status, record.stream), new).inc();
        if self.key.operation.is_inference() {
            let new = || {
                // OpenTelemetry's: empty when ok, else the status or what went wrong without one.
                let error = match outcome {
                    Outcome::Ok => String::new(),
                    Outcome::ClientError | Outcome::Rejected | Outcome::ServerError
                        if status.is_some_and(|status| status >= 400) =>
                    {
                        code()
                    }
                    _ => outcome.label().to_owned(),
                };
                self.histogram(&self.families.request_duration, [&error])
            };
            self.request_duration.get((outcome, status), new).observe(record.duration_s);
            if let Some(stall) = record.client_stall_s {
                self.histogram(&self.families.client_stall, []).observe(stall);
            }
            self.waited_before(record);
            self.told_by_server(record);
            self.goodput.judged(&self.families, record, |family, own| self.counter(family, own));
            self.flowed(record);
            self.left(record, outcome);
        }
    }

    /// What the server says of its own time.
    fn told_by_server(&self, record: &RequestRecord) {
        if record.cold == Some(true) {
            return;
        }
        if let (Some(wait), Some(source)) = (record.queue_s, record.queue_source) {
            let new = || self.histogram(&self.families.queue_wait, [source]);
            self.queue_wait.get(source, new).observe(wait);
        }
        if let (Some(wire), Some(engine)) = (record.ttft_s, record.engine_ttft_s) {
            let new = || self.histogram(&self.families.engine_residual, []);
            // What the server counts and the wire does not show is rounding.
            self.engine_residual.get_or_init(new).observe((wire - engine).max(0.0));
        }
    }

    /// The token counts of a response that ended, whatever its outcome. `live` is what was counted of
    /// its output while it ran.
    pub fn counted(&self, tokens: &ResponseTokens, live: u64) {
        let MetricFamilies { tokens: total, token_subset, .. } = &*self.families;
        if let Some((count, source)) = tokens.input {
            self.input_tokens.get_or_init(|| self.cells(total, ["input"])).inc_by(count);
            self.token_source("input", source).inc();
        }
        if let Some((count, source)) = tokens.output {
            self.output_tokens().settle(live, count);
            self.token_source("output", source).inc();
        }
        for (count, subset) in [(tokens.cached, "cached_input"), (tokens.reasoning, "reasoning")] {
            if let Some(count) = count {
                self.counter(token_subset, [subset]).inc_by(count);
            }
        }
    }

    fn token_source(&self, kind: &'static str, source: TokenSource) -> &IntCounter {
        let new = || self.counter(&self.families.token_source, [kind, source.label()]);
        self.token_source.get((kind, source), new)
    }

    /// What only a complete response gives (outcome ok).
    pub fn completed(&self, record: &RequestRecord, tokens: &ResponseTokens) {
        self.pieced(record, tokens);
        let families = &*self.families;
        let reported = tokens.output.is_some_and(|(_, source)| source != TokenSource::Events);
        let new = || {
            let reported = if reported { "true" } else { "false" };
            self.counter(&families.usage_coverage, [reported])
        };
        self.usage_coverage.get(reported, new).inc();
        if record.cold == Some(true) {
            return;
        }
        if let (Some(tpot), Some((_, source))) = (record.tpot_s, tokens.output) {
            let new = || self.histogram(&families.tpot, [source.label()]);
            self.tpot.get(source, new).observe(tpot);
        }
        if let Some(latency) = record.latency_s {
            let new = || self.histogram(&families.latency, []);
            self.latency.get_or_init(new).observe(latency);
        }
        if let Some((count, _)) = tokens.output.filter(|(count, _)| *count > 0) {
            let new = || self.histogram(&families.normalized, []);
            self.normalized.get_or_init(new).observe(record.duration_s / count as f64);
        }
        if let Some(rate) = record.characters_per_second {
            let new = || self.histogram(&families.character_rate, []);
            self.character_rate.get_or_init(new).observe(rate);
        }
        for (count, kind) in [(tokens.input, "input"), (tokens.output, "output")] {
            if let Some((count, TokenSource::Usage | TokenSource::Engine)) = count {
                let new = || self.histogram(&families.token_usage, [kind]);
                self.token_usage.get(kind, new).observe(count as f64);
            }
        }
    }
}

/// Label value of a status. Codes that are not registered are `other`: a server can invent 500 of them.
fn code_label(status: u16) -> String {
    let known = hyper::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    known.map_or_else(|| OTHER.to_owned(), |_| status.to_string())
}

/// Every value of the label `code`: registered codes, `other`, and the empty string without a status.
pub(super) fn status_codes() -> Vec<String> {
    iter::once(String::new()).chain(code_labels(|_| true)).collect()
}

/// Every value of the label `error_type` for responses with such statuses: the empty string, what went wrong without
/// a status of 400 or more, and those codes.
pub(super) fn error_types(has_status: impl Fn(u16) -> bool) -> Vec<String> {
    let failures = Outcome::VARIANTS.iter().filter(|outcome| **outcome != Outcome::Ok);
    iter::once(String::new())
        .chain(failures.map(|outcome| outcome.label().to_owned()))
        .chain(code_labels(has_status))
        .collect()
}

fn code_labels(has_status: impl Fn(u16) -> bool) -> BTreeSet<String> {
    (100..1000).filter(|status| has_status(*status)).map(code_label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_is_paid_by_what_comes_next() {
        let family = ShardedFamily::counters("tokens_total", "h", &[], 1).unwrap();
        let counter = family.with_label_values(&[]);
        let settled = ReconciledCounter { counter: Arc::clone(&counter), debt: AtomicU64::new(0) };
        settled.add(10);
        settled.settle(10, 12);
        assert_eq!(counter.get(), 12);
        settled.add(5);
        settled.settle(5, 1);
        assert_eq!(counter.get(), 17, "a counter never falls");
        settled.add(1);
        assert_eq!(counter.get(), 17);
        settled.add(9);
        assert_eq!(counter.get(), 12 + 1 + 10, "and is right in the end");
    }
}
