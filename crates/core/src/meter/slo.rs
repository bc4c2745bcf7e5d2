//! Goodput: whether a request met the targets of a service-level objective.
//!
//! Targets are met jointly, per request, which no set of histograms can tell afterwards. A target holds as
//! long as its quantity, as far as it is known, is no more than its limit: the limit itself is met, as it
//! is by a histogram's bucket of that edge. What is still open when a request ends counts with the time
//! that it has taken so far: a client that waited six seconds for a first token saw five seconds missed.

use super::outcome::Outcome;
use super::record::RequestRecord;
use crate::dialect::route::Operation;
use serde::{Serialize, Serializer};
use std::sync::Arc;
use strum::VariantArray;

/// What a target is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum SloTarget {
    /// Time to first token; of streams.
    Ttft,
    /// Time per output token, where it is defined.
    Tpot,
    /// Time to the last output of a stream; to the end of any other answer, which is when it is there.
    Latency,
    /// The longest gap between two outputs of a stream.
    MaxGap,
    /// Request duration over output tokens, where their number is known.
    Normalized,
}

impl SloTarget {
    /// The key of its limit in the configuration.
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

/// The limits of the targets, in seconds; a target without one is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SloLimits([Option<f64>; SloTarget::VARIANTS.len()]);

impl SloLimits {
    /// The limits that `limit` gives.
    pub fn from_fn(limit: impl Fn(SloTarget) -> Option<f64>) -> Self {
        let mut limits = Self::default();
        for (slot, target) in limits.0.iter_mut().zip(SloTarget::VARIANTS) {
            *slot = limit(*target);
        }
        limits
    }

    /// The limit of this target, in seconds.
    pub fn get(&self, target: SloTarget) -> Option<f64> {
        self.0.get(target as usize).copied().flatten()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// These, and where there is none the other's.
    fn or(&self, other: &Self) -> Self {
        Self::from_fn(|target| self.get(target).or(other.get(target)))
    }
}

/// SloLimits for requests of at most so many input tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSizeLimits {
    pub up_to_tokens: u64,
    pub limits: SloLimits,
}

/// A service-level objective, and the requests that it is of: inference, and of each list either one of
/// its entries or, if it is empty, any.
#[derive(Debug, Clone, PartialEq)]
pub struct SloClass {
    /// The value of the label `slo`.
    pub name: Arc<str>,
    /// Models, as they are asked for.
    pub models: Vec<String>,
    pub operations: Vec<Operation>,
    /// Names of upstreams.
    pub upstreams: Vec<String>,
    pub limits: SloLimits,
    /// SloLimits that go before those, in ascending order of sizes.
    pub sizes: Vec<InputSizeLimits>,
}

/// Whether a request met all targets of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum SloVerdict {
    Met,
    Missed,
    /// Nobody can say: the client is to blame, left while all of them held, or the answer could not be read.
    Undecided,
}

impl SloVerdict {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Met => "true",
            Self::Missed => "false",
            Self::Undecided => "undecided",
        }
    }
}

/// In the request log: true, false, or null for undecided.
impl Serialize for SloVerdict {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Met => to.serialize_bool(true),
            Self::Missed => to.serialize_bool(false),
            Self::Undecided => to.serialize_unit(),
        }
    }
}

impl SloClass {
    /// Whether the class is of this request.
    pub fn matches(&self, record: &RequestRecord) -> bool {
        let fits = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|one| one == name))
        };
        let operations = &self.operations;
        record.operation != Operation::Other.label()
            && (operations.is_empty()
                || operations.iter().any(|one| one.label() == record.operation))
            && fits(&self.models, record.model.as_deref())
            && fits(&self.upstreams, Some(&record.upstream))
    }

    /// The limits for a request of so many input tokens: those of the smallest size that holds it, and the
    /// class's own where that has none or the number is not known.
    fn limits(&self, input_tokens: Option<u64>) -> SloLimits {
        let fits = |size: &&InputSizeLimits| input_tokens.is_some_and(|n| n <= size.up_to_tokens);
        let size = self.sizes.iter().find(fits);
        size.map_or(self.limits, |size| size.limits.or(&self.limits))
    }

    /// Whether a request that ended met the targets. A target that does not apply to it holds.
    pub fn evaluate(&self, record: &RequestRecord, outcome: Outcome) -> SloVerdict {
        let if_all_hold = match outcome {
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
        if is_unread(record) {
            return SloVerdict::Undecided;
        }
        let limits = self.limits(record.input_tokens);
        let is_missed = |target: SloTarget| {
            let taken = taken(target, record, outcome == Outcome::Ok);
            limits.get(target).zip(taken).is_some_and(|(limit, taken)| taken > limit)
        };
        if SloTarget::VARIANTS.iter().copied().any(is_missed) {
            SloVerdict::Missed
        } else {
            if_all_hold
        }
    }
}

/// A session holds many responses, and its duration is the user's: only its gaps and its outcome count.
fn is_session(record: &RequestRecord) -> bool {
    record.operation == Operation::Realtime.label()
}

/// Whether this is a stream of which no output was read, because something could not be or nobody reads what
/// this route answers: its output may have come in time.
fn is_unread(record: &RequestRecord) -> bool {
    let is_unread = record.unparsed > 0 || record.dialect.is_none();
    record.stream && record.ttft_s.is_none() && is_unread && !is_session(record)
}

/// What a request took of what is limited, in seconds; `None` where that does not apply. Of one that is not
/// `whole`, since its client left, what it had taken by then.
fn taken(target: SloTarget, record: &RequestRecord, whole: bool) -> Option<f64> {
    let duration = record.duration_s;
    match target {
        // Without an output it is not there yet, or never will be.
        SloTarget::Ttft if record.stream && !is_session(record) => {
            Some(record.ttft_s.unwrap_or(duration))
        }
        SloTarget::Tpot => record.tpot_s,
        SloTarget::Latency if !is_session(record) => {
            Some(record.latency_s.filter(|_| whole).unwrap_or(duration))
        }
        SloTarget::MaxGap => record.max_gap_s,
        // It falls with each token: before the end it says nothing.
        SloTarget::Normalized if whole && !is_session(record) => {
            record.output_tokens.filter(|n| *n > 0).map(|n| duration / n as f64)
        }
        SloTarget::Ttft | SloTarget::Latency | SloTarget::Normalized => None,
    }
}

/// All classes. Clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SloClasses(Arc<[SloClass]>);

impl SloClasses {
    /// These classes.
    pub fn new(classes: Vec<SloClass>) -> Self {
        Self(classes.into())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The classes.
    pub fn iter(&self) -> impl Iterator<Item = &SloClass> {
        self.0.iter()
    }

    /// The different limits that any class and size sets for this target, in seconds and ascending order.
    pub fn distinct_limits(&self, target: SloTarget) -> Vec<f64> {
        let own = self.0.iter().map(|class| &class.limits);
        let of_sizes = self.0.iter().flat_map(|class| &class.sizes).map(|size| &size.limits);
        let mut limits: Vec<f64> =
            own.chain(of_sizes).filter_map(|limits| limits.get(target)).collect();
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        limits
    }

    /// By the name of each class that is of the request, whether it met the targets.
    pub fn evaluate(
        &self,
        record: &RequestRecord,
        outcome: Outcome,
    ) -> Vec<(Arc<str>, SloVerdict)> {
        let of_it = self.0.iter().filter(|class| class.matches(record));
        of_it.map(|class| (Arc::clone(&class.name), class.evaluate(record, outcome))).collect()
    }
}

#[cfg(test)]
#[path = "slo_tests.rs"]
mod tests;
