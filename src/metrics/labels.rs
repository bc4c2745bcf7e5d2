//! Labels of the table, each with the values that it can take.

use super::cold_starts::BOOT_STAGES;
use super::end::{ABANDON_PHASES, stream_label};
use super::input_size::input_sizes;
use super::limit::{AdminLimitKind, LimitKind};
use super::model_labels::OTHER;
use super::request_series::{codes, error_types};
use super::upstream::RequestPhase;
use std::iter;
use streamgauge_core::dialect::{KNOWN_FINISH_REASONS, UnparsedReason, route::Operation};
use streamgauge_core::meter::cold::ColdReason;
use streamgauge_core::meter::queue;
use streamgauge_core::meter::{
    ClampedInterval, GapBasis, Outcome, OutputKind, QueueWaitSource, SloVerdict, TimestampSource,
    TokenSource,
};
use streamgauge_core::wire::reject_reason::RejectReason;
use strum::VariantArray;

/// A label of a family.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Name of the label.
    pub name: &'static str,
    /// Possible values.
    pub values: LabelValues,
}

/// Values that a label can take.
#[derive(Debug, Clone, Copy)]
pub enum LabelValues {
    /// A closed set.
    Closed(fn() -> Vec<String>),
    /// A closed set that depends on the response. Only a request that was answered with 101 or 2xx can have a model
    /// name other than `other`.
    ByResponse {
        /// Values next to a model name.
        with_model: fn() -> Vec<String>,
        /// Values next to the model name `other`: all of them.
        without_model: fn() -> Vec<String>,
    },
    /// Names of the configured proxies.
    Upstream,
    /// The engine of an upstream, as configured or detected, or `unknown`: one for each upstream.
    Provider,
    /// The engine of an upstream, as configured or detected: one for each upstream.
    Engine,
    /// Model names: the first `max_models` that a 2xx response was returned for, those in `models`, and `other`.
    Model,
    /// Names of the `[[slo]]` classes.
    SloClass,
    /// Version of Streamgauge.
    Version,
}

impl LabelValues {
    /// The values, if they are a closed set.
    pub fn closed(self) -> Option<Vec<String>> {
        match self {
            Self::Closed(values) | Self::ByResponse { without_model: values, .. } => Some(values()),
            _ => None,
        }
    }
}

/// Lists the label values of every variant of an enum.
macro_rules! variants {
    ($type:ty) => {
        LabelValues::Closed(|| <$type>::VARIANTS.iter().map(|one| one.label().to_owned()).collect())
    };
}

/// Lists label values that are not an enum's.
macro_rules! fixed {
    ($($value:literal),*) => { LabelValues::Closed(|| strings(&[$($value),*])) };
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Declares a label as a constant.
macro_rules! label {
    ($ident:ident, $name:literal, $values:expr) => {
        pub(super) const $ident: Label = Label { name: $name, values: $values };
    };
}

label!(OPERATION, "gen_ai_operation_name", variants!(Operation));
label!(
    INFERENCE_OPERATION,
    "gen_ai_operation_name",
    LabelValues::Closed(|| {
        let inference = Operation::VARIANTS.iter().filter(|operation| operation.is_inference());
        inference.map(|operation| operation.label().to_owned()).collect()
    })
);
label!(PROVIDER, "gen_ai_provider_name", LabelValues::Provider);
label!(MODEL, "gen_ai_request_model", LabelValues::Model);
label!(UPSTREAM, "upstream", LabelValues::Upstream);
label!(ENGINE, "engine", LabelValues::Engine);
label!(VERSION, "version", LabelValues::Version);
label!(SLO, "slo", LabelValues::SloClass);
label!(MET, "met", variants!(SloVerdict));
label!(START, "start", fixed!("warm", "cold"));
label!(BASIS, "basis", variants!(GapBasis));
label!(KIND, "kind", variants!(OutputKind));
label!(PHASE, "phase", variants!(RequestPhase));
label!(
    ABANDON_PHASE,
    "phase",
    LabelValues::Closed(|| strings(&ABANDON_PHASES.map(|(_, phase)| phase)))
);
label!(INPUT_SIZE, "input_size", LabelValues::Closed(|| strings(&input_sizes())));
label!(
    BODY_SIZE,
    "input_size",
    LabelValues::Closed(|| strings(&queue::SIZE_CLASSES.map(|(_, size)| size)))
);
label!(CLOCK, "source", variants!(TimestampSource));
label!(QUEUE_SOURCE, "source", variants!(QueueWaitSource));
label!(QUEUE_MODEL, "model", variants!(queue::QueueModel));
label!(HELD, "held", variants!(queue::SlotSpan));
label!(TOKEN_SOURCE, "source", variants!(TokenSource));
label!(TYPE, "type", fixed!("input", "output"));
label!(GEN_AI_TOKEN_TYPE, "gen_ai_token_type", fixed!("input", "output"));
label!(SUBSET, "subset", fixed!("cached_input", "reasoning"));
label!(
    STREAM,
    "stream",
    LabelValues::ByResponse {
        with_model: || strings(&[Some(true), Some(false)].map(stream_label)),
        without_model: || strings(&[Some(true), Some(false), None].map(stream_label)),
    }
);
label!(REPORTED, "reported", fixed!("true", "false"));
label!(DIRECTION, "direction", fixed!("up", "down"));
label!(CAPPED_LABEL, "label", fixed!("gen_ai_request_model"));
label!(REJECT_REASON, "reason", variants!(RejectReason));
label!(UNPARSED_REASON, "reason", variants!(UnparsedReason));
label!(
    FINISH_REASON,
    "reason",
    LabelValues::Closed(|| {
        let mut reasons = strings(&KNOWN_FINISH_REASONS);
        reasons.push(OTHER.to_owned());
        reasons
    })
);
label!(COLD_REASON, "reason", variants!(ColdReason));
label!(OUTCOME, "outcome", variants!(Outcome));
label!(CODE, "code", LabelValues::Closed(codes));
label!(
    ERROR_TYPE,
    "error_type",
    LabelValues::ByResponse {
        with_model: || error_types(iter::once(101).chain(200..300)),
        without_model: || error_types(100..1000),
    }
);
label!(INTERVAL, "interval", variants!(ClampedInterval));
label!(LOG, "log", fixed!("log", "requests"));
label!(LIMIT, "limit", variants!(LimitKind));
label!(ADMIN_LIMIT, "limit", variants!(AdminLimitKind));
label!(STAGE, "stage", LabelValues::Closed(|| strings(&BOOT_STAGES)));

#[cfg(test)]
mod tests {
    use super::super::table::ALL;

    #[test]
    fn closed_sets_have_no_duplicates_and_are_not_empty() {
        for metric in ALL {
            for label in metric.labels {
                let Some(mut values) = label.values.closed() else { continue };
                let count = values.len();
                values.sort_unstable();
                values.dedup();
                assert!(count > 0 && values.len() == count, "{} of {}", label.name, metric.name);
            }
        }
    }
}
