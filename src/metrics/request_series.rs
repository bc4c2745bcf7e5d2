//! Handles for the series of one upstream, operation and model.
//!
//! Metrics recorded while a response runs are in [`live`](super::live), those recorded at the end of a request in
//! [`end`](super::end).

use super::families::MetricFamilies;
use super::handle_cache::HandleCache;
use super::live_view::TrafficCounters;
use super::model_labels::OTHER;
use super::reconciled_counter::ReconciledCounter;
use super::sharded::{self, ShardedCounter, ShardedFamily, ShardedHistogram};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use std::collections::BTreeSet;
use std::iter;
use std::sync::{Arc, OnceLock};
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{GapBasis, Outcome, OutputKind, SloVerdict, TokenSource};
use strum::VariantArray;

/// Values of the labels that most series of a request share, without the provider, which depends on the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestLabels {
    pub upstream: Arc<str>,
    pub operation: Operation,
    pub model: Arc<str>,
}

/// Whether the server was ready when a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartKind {
    /// The request did not wait for a cold start.
    Warm,
    /// The request waited for a cold start.
    Cold,
    /// Known at the end of the response only: its TTFT is recorded then.
    Undetermined,
}

/// Series of the requests that have the same labels (`RequestLabels`).
///
/// A series is created when its first value is recorded, so that a metric that was never measured is absent and not 0.
/// Its handle is kept here from then on: recording a token costs no look-up.
pub struct RequestSeries {
    pub(super) families: Arc<MetricFamilies>,
    labels: RequestLabels,
    pub(super) handles: RequestHandles,
}

/// Handles of one [`RequestSeries`], in the order of the table of metrics.
#[derive(Default)]
pub(super) struct RequestHandles {
    /// Warm and cold starts.
    pub ttft: [OnceLock<Histogram>; 2],
    pub ttft_by_input: HandleCache<&'static str, Histogram>,
    pub tpot: HandleCache<TokenSource, Histogram>,
    pub request_duration: HandleCache<(Outcome, Option<u16>), Histogram>,
    pub token_usage: HandleCache<&'static str, Histogram>,
    pub itl: [OnceLock<Arc<ShardedHistogram>>; GapBasis::VARIANTS.len()],
    pub chunk_gap: OnceLock<Arc<ShardedHistogram>>,
    pub answer: OnceLock<Histogram>,
    pub head: OnceLock<Histogram>,
    pub latency: OnceLock<Histogram>,
    pub normalized: OnceLock<Histogram>,
    pub character_rate: OnceLock<Histogram>,
    pub max_gap: OnceLock<Histogram>,
    pub stalls: OnceLock<IntCounter>,
    pub tokens_per_chunk: OnceLock<Histogram>,
    pub burst_ratio: OnceLock<Histogram>,
    pub queue_wait: HandleCache<&'static str, Histogram>,
    pub edge_wait: OnceLock<Histogram>,
    pub trace_ttft: OnceLock<Histogram>,
    pub first_audio: OnceLock<Histogram>,
    pub unrecognised_first_event: OnceLock<Histogram>,
    pub unrecognised_event_gap: OnceLock<Histogram>,
    pub unrecognised_duration: OnceLock<Histogram>,
    pub unrecognised_bytes: OnceLock<IntCounter>,
    pub engine_residual: OnceLock<Histogram>,
    pub input_tokens: OnceLock<Arc<ShardedCounter>>,
    pub output_tokens: OnceLock<ReconciledCounter>,
    pub token_source: HandleCache<(&'static str, TokenSource), IntCounter>,
    pub characters: [OnceLock<Arc<ShardedCounter>>; OutputKind::VARIANTS.len()],
    pub requests: HandleCache<(Outcome, Option<u16>, Option<bool>), IntCounter>,
    pub finish_reasons: HandleCache<&'static str, IntCounter>,
    pub usage_coverage: HandleCache<bool, IntCounter>,
    /// By class and verdict.
    pub slo_requests: HandleCache<(Arc<str>, SloVerdict), IntCounter>,
    pub slo_tokens: HandleCache<(Arc<str>, SloVerdict), IntCounter>,
    pub abandoned: HandleCache<&'static str, Histogram>,
    pub wasted: OnceLock<IntCounter>,
}

impl std::fmt::Debug for RequestSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestSeries").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl RequestSeries {
    pub(super) fn new(families: Arc<MetricFamilies>, labels: RequestLabels) -> Self {
        Self { families, labels, handles: RequestHandles::default() }
    }

    /// Whether these series have this operation and this model.
    pub(super) fn matches(&self, operation: Operation, model: &str) -> bool {
        self.labels.operation == operation && *self.labels.model == *model
    }

    pub(super) fn operation(&self) -> Operation {
        self.labels.operation
    }

    /// Counters of the live history.
    pub(super) fn traffic_counters(&self) -> TrafficCounters {
        TrafficCounters {
            output_tokens: self.handles.output_tokens.get().map(ReconciledCounter::get),
            stalls: self.handles.stalls.get().map(IntCounter::get),
        }
    }

    /// Values of the common labels, followed by those of the family's own labels.
    fn label_values<'a, const OWN: usize>(&'a self, own: [&'a str; OWN]) -> Vec<&'a str> {
        let RequestLabels { upstream, operation, model } = &self.labels;
        let mut values = Vec::with_capacity(3 + OWN);
        values.extend([operation.label(), model, upstream]);
        values.extend(own);
        values
    }

    pub(super) fn histogram<const OWN: usize>(
        &self,
        family: &HistogramVec,
        own: [&str; OWN],
    ) -> Histogram {
        family.with_label_values(&self.label_values(own))
    }

    pub(super) fn counter<const OWN: usize>(
        &self,
        family: &IntCounterVec,
        own: [&str; OWN],
    ) -> IntCounter {
        family.with_label_values(&self.label_values(own))
    }

    pub(super) fn sharded<M: sharded::ShardedMetric, const OWN: usize>(
        &self,
        family: &ShardedFamily<M>,
        own: [&str; OWN],
    ) -> Arc<M> {
        family.with_label_values(&self.label_values(own))
    }
}

/// Label value of a status. Codes that are not registered are `other`: a server can invent 500 of them.
pub(super) fn code_label(status: u16) -> String {
    let known = hyper::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    known.map_or_else(|| OTHER.to_owned(), |_| status.to_string())
}

/// Label value of OpenTelemetry's `error.type`: empty for success, else the status if that is the error, else the
/// outcome.
pub(super) fn error_type(outcome: Outcome, status: Option<u16>) -> String {
    match (outcome, status) {
        (Outcome::Ok, _) => String::new(),
        (Outcome::ClientError | Outcome::Rejected | Outcome::ServerError, Some(status @ 400..)) => {
            code_label(status)
        }
        _ => outcome.label().to_owned(),
    }
}

/// Every value of the label `code`: registered codes, `other`, and the empty string if no status was sent.
pub(super) fn codes() -> Vec<String> {
    let codes: BTreeSet<String> = (100..1000).map(code_label).collect();
    iter::once(String::new()).chain(codes).collect()
}

/// Every value of the label `error_type` for requests with such statuses.
pub(super) fn error_types(statuses: impl Iterator<Item = u16> + Clone) -> Vec<String> {
    let of_outcome = |outcome| {
        let with_status = statuses.clone().map(move |status| error_type(outcome, Some(status)));
        with_status.chain([error_type(outcome, None)])
    };
    let types: BTreeSet<String> = Outcome::VARIANTS.iter().copied().flat_map(of_outcome).collect();
    types.into_iter().collect()
}
