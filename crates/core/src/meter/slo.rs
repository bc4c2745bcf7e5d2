//! Goodput: whether a request met the targets of a service-level objective (SLO).
//!
//! Example: a class has the targets TTFT <= 5 s and TPOT <= 0.1 s. A request meets the class only if it meets both,
//! which histograms of TTFT and TPOT cannot show afterwards.
//!
//! A value equal to its limit meets the target, as with a histogram bucket of that edge. A value that is still open when
//! the request ends counts with the time so far. Example: the TTFT target is 5 s, and a client disconnects after 6 s
//! without output. The target is missed.

use super::outcome::Outcome;
use super::record::RequestRecord;
use super::slo_verdict::SloVerdict;
use crate::dialect::FinishClass;
use crate::dialect::route::Operation;
use std::sync::Arc;
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// Quantity that a target limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum SloTarget {
    /// Time to first token of a stream.
    Ttft,
    /// Time per output token, if it is defined.
    Tpot,
    /// Time to the last output of a stream, or to the end of any other response.
    Latency,
    /// Longest gap between two outputs of a stream.
    MaxGap,
    /// Request duration divided by the number of output tokens, if that is known.
    Normalized,
}

impl SloTarget {
    /// Configuration key of the limit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_seconds",
            Self::Tpot => "tpot_seconds",
            Self::Latency => "latency_seconds",
            Self::MaxGap => "max_gap_seconds",
            Self::Normalized => "normalized_seconds",
        }
    }
}

/// Limits of the targets, in seconds. A target without a limit is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SloLimits([Option<f64>; SloTarget::VARIANTS.len()]);

impl SloLimits {
    /// Builds the limits from a function that returns the limit of a target.
    pub fn from_fn(limit: impl Fn(SloTarget) -> Option<f64>) -> Self {
        let mut limits = Self::default();
        for (slot, target) in limits.0.iter_mut().zip(SloTarget::VARIANTS) {
            *slot = limit(*target);
        }
        limits
    }

    /// Limit of a target, in seconds.
    pub fn get(&self, target: SloTarget) -> Option<f64> {
        self.0.get(target as usize).copied().flatten()
    }

    /// Whether no target has a limit.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// These limits, completed by those of `other`.
    fn or(&self, other: &Self) -> Self {
        Self::from_fn(|target| self.get(target).or(other.get(target)))
    }
}

/// Limits for requests with at most `up_to_tokens` input tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSizeLimits {
    /// Largest number of input tokens.
    pub up_to_tokens: u64,
    /// Limits of the targets.
    pub limits: SloLimits,
}

/// How a class judges a request whose finish reason is a refusal, such as `content_filter` or `SAFETY`.
///
/// A refusal is quick and cheap, but the user has no answer. Its times do not show the speed of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum RefusalRule {
    /// It is neither met nor missed.
    #[default]
    Undecided,
    /// It is missed.
    Missed,
    /// By its times, like every other request.
    Judged,
}

/// Service-level objective and the inference requests that it applies to.
///
/// A request matches if it matches an entry of each list. An empty list matches every request.
#[derive(Debug, Clone, PartialEq)]
pub struct SloClass {
    /// Value of the label `slo`.
    pub name: Arc<str>,
    /// Model names in requests.
    pub models: Vec<String>,
    /// Operations of requests.
    pub operations: Vec<Operation>,
    /// Configured names of upstreams.
    pub upstreams: Vec<String>,
    /// How a request is judged that a policy of the provider refused.
    pub refusals: RefusalRule,
    /// Limits without regard to the input size.
    pub limits: SloLimits,
    /// Limits by input size, in ascending order. They take precedence over `limits`.
    pub sizes: Vec<InputSizeLimits>,
}

impl SloClass {
    /// Whether the class applies to this request.
    pub fn matches(&self, record: &RequestRecord) -> bool {
        let matches_name = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|one| one == name))
        };
        let operations = &self.operations;
        Operation::is_inference_label(record.operation)
            && (operations.is_empty()
                || operations.iter().any(|one| one.label() == record.operation))
            && matches_name(&self.models, record.model.as_deref())
            && matches_name(&self.upstreams, Some(&record.upstream))
    }

    /// Limits for a request with this number of input tokens: those of the smallest size that covers it, completed by
    /// the limits of the class. If the number is unknown, the limits of the class.
    fn limits(&self, input_tokens: Option<u64>) -> SloLimits {
        let fits = |size: &&InputSizeLimits| input_tokens.is_some_and(|n| n <= size.up_to_tokens);
        let size = self.sizes.iter().find(fits);
        size.map_or(self.limits, |size| size.limits.or(&self.limits))
    }

    /// Compares a finished request with the targets. A target that does not apply to the request is met.
    pub fn evaluate(&self, record: &RequestRecord, outcome: Outcome) -> SloVerdict {
        let if_all_met = match outcome {
            Outcome::Ok => SloVerdict::Met,
            Outcome::ClientGoneBeforeHead
            | Outcome::ClientGoneBeforeToken
            | Outcome::ClientGoneMidStream => SloVerdict::Undecided,
            Outcome::ClientError => return SloVerdict::Undecided,
            Outcome::Rejected
            | Outcome::ServerError
            | Outcome::StreamError
            | Outcome::Truncated
            | Outcome::UpstreamUnreachable
            | Outcome::Timeout
            | Outcome::ProxyRejected
            | Outcome::ProxyShutdown
            | Outcome::Internal => return SloVerdict::Missed,
        };
        if is_output_unreadable(record) {
            return SloVerdict::Undecided;
        }
        match self.refusals {
            RefusalRule::Undecided if is_refused(record) => return SloVerdict::Undecided,
            RefusalRule::Missed if is_refused(record) => return SloVerdict::Missed,
            _ => {}
        }
        let limits = self.limits(record.input_tokens);
        let is_missed = |target: SloTarget| {
            let value = measured_value(target, record, outcome == Outcome::Ok);
            limits.get(target).zip(value).is_some_and(|(limit, value)| value > limit)
        };
        if SloTarget::VARIANTS.iter().copied().any(is_missed) {
            SloVerdict::Missed
        } else {
            if_all_met
        }
    }
}

/// Whether the request is a WebSocket session. A session holds many responses and lasts as long as the user stays, so
/// only its gaps and its outcome are compared with targets.
fn is_session(record: &RequestRecord) -> bool {
    record.operation == Operation::Realtime.label()
}

/// Whether a policy refused the request or cut its answer.
fn is_refused(record: &RequestRecord) -> bool {
    record.finish_reasons.iter().any(|reason| FinishClass::of(reason) == FinishClass::Refusal)
}

/// Whether no output could be read: a part of the body was not parsed, or the route of the stream has no dialect. Output
/// may have arrived in time.
fn is_output_unreadable(record: &RequestRecord) -> bool {
    if is_session(record) {
        return false;
    }
    if record.stream == Some(true) {
        return record.ttft_s.is_none() && (record.unparsed > 0 || record.dialect.is_none());
    }
    let RequestRecord { answer_chars, reasoning_chars, tool_chars, output_tokens, .. } = *record;
    let counts = [answer_chars, reasoning_chars, tool_chars, output_tokens, record.input_tokens];
    record.unparsed > 0 && counts.iter().all(|count| count.unwrap_or(0) == 0)
}

/// Value of the quantity that a target limits, in seconds. `None` if the target does not apply. If the response is not
/// complete because the client disconnected, the value so far.
fn measured_value(target: SloTarget, record: &RequestRecord, is_complete: bool) -> Option<f64> {
    let duration = record.duration_s;
    match target {
        // Without output, the wait so far.
        SloTarget::Ttft if record.stream == Some(true) && !is_session(record) => {
            Some(record.ttft_s.unwrap_or(duration))
        }
        SloTarget::Tpot => record.tpot_s,
        SloTarget::Latency if !is_session(record) => {
            Some(record.latency_s.filter(|_| is_complete).unwrap_or(duration))
        }
        SloTarget::MaxGap => record.max_gap_s,
        // It falls with each token, so it is only known at the end.
        SloTarget::Normalized if is_complete && !is_session(record) => {
            record.output_tokens.filter(|n| *n > 0).map(|n| duration / n as f64)
        }
        SloTarget::Ttft | SloTarget::Latency | SloTarget::Normalized => None,
    }
}

/// All configured classes. Clones share the memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SloClasses(Arc<[SloClass]>);

impl SloClasses {
    /// Wraps the configured classes.
    pub fn new(classes: Vec<SloClass>) -> Self {
        Self(classes.into())
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no class is configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the classes.
    pub fn iter(&self) -> impl Iterator<Item = &SloClass> {
        self.0.iter()
    }

    /// Names of the classes that can apply to requests of this upstream.
    pub fn names_for(&self, upstream: &str) -> impl Iterator<Item = &str> {
        let applies = move |class: &&SloClass| {
            class.upstreams.is_empty() || class.upstreams.iter().any(|one| one == upstream)
        };
        self.0.iter().filter(applies).map(|class| &*class.name)
    }

    /// Distinct limits that all classes and sizes set for a target, in seconds, in ascending order.
    pub fn distinct_limits(&self, target: SloTarget) -> Vec<f64> {
        let own = self.0.iter().map(|class| &class.limits);
        let of_sizes = self.0.iter().flat_map(|class| &class.sizes).map(|size| &size.limits);
        let mut limits: Vec<f64> =
            own.chain(of_sizes).filter_map(|limits| limits.get(target)).collect();
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        limits
    }

    /// Compares a finished request with each class that applies to it. Returns the verdicts with the class names.
    pub fn evaluate(
        &self,
        record: &RequestRecord,
        outcome: Outcome,
    ) -> Vec<(Arc<str>, SloVerdict)> {
        let matching = self.0.iter().filter(|class| class.matches(record));
        matching.map(|class| (Arc::clone(&class.name), class.evaluate(record, outcome))).collect()
    }
}

#[cfg(test)]
#[path = "slo_tests.rs"]
mod tests;
