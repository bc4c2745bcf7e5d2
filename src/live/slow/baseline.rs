//! Baselines: how long each part of a request usually takes, by upstream, model and size of the prompt.

use super::parts::{PartKind, measured_parts, part_units, wait_for_output};
use crate::metrics::input_size;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use streamgauge_core::meter::RequestRecord;
use strum::VariantArray;

/// Fewest requests that a baseline is the median of.
pub(super) const MIN_SAMPLES: usize = 8;
/// Number of requests that are kept for each model and size.
const MAX_SAMPLES: usize = 64;
/// Most models and sizes that are kept: the ones used last.
const MAX_BASELINES: usize = 256;

/// Baselines of all models. At most 1 MiB.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    by_key: HashMap<BaselineKey, BaselineSamples>,
    /// Number of requests so far.
    added: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct BaselineKey {
    upstream: Arc<str>,
    model: Arc<str>,
    /// Class of the number of input tokens. `None`: all sizes.
    size: Option<&'static str>,
}

#[derive(Debug, Default)]
struct BaselineSamples {
    samples: VecDeque<PartLengths>,
    /// Value of [`Baselines::added`] at the newest sample.
    used: u64,
}

/// Lengths of the parts of one request, in seconds or seconds per token. NaN: absent.
#[derive(Debug, Clone, Copy)]
struct PartLengths {
    id: u64,
    lengths: [f32; PartKind::VARIANTS.len()],
}

/// Baseline of a part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PartBaseline {
    /// Median in seconds, or seconds per token.
    pub median: f64,
    /// Number of requests.
    pub samples: usize,
    /// The requests have prompts of the same size.
    pub is_same_size: bool,
}

/// Upstream, model, size and number of the request that is compared. Its own baseline excludes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ComparedRequest<'a> {
    pub id: u64,
    pub upstream: &'a Arc<str>,
    pub model: &'a Arc<str>,
    /// `None` if unknown.
    pub input_tokens: Option<u64>,
}

impl Baselines {
    /// Adds a request, if it was warm and successful.
    pub fn add(&mut self, record: &RequestRecord, model: &Arc<str>) {
        if record.outcome != "ok" || record.cold == Some(true) {
            return;
        }
        self.added += 1;
        let lengths = PartLengths::of_record(record);
        for size in [None, Some(input_size(record.input_tokens))] {
            let (upstream, model) = (Arc::clone(&record.upstream), Arc::clone(model));
            let samples = self.by_key.entry(BaselineKey { upstream, model, size }).or_default();
            samples.used = self.added;
            if samples.samples.len() == MAX_SAMPLES {
                samples.samples.pop_front();
            }
            samples.samples.push_back(lengths);
        }
        if self.by_key.len() > MAX_BASELINES {
            let oldest = self.by_key.iter().min_by_key(|(_, samples)| samples.used);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.by_key.remove(&key);
            }
        }
    }

    /// Baseline of a part: of prompts of the same size if there are enough, else of all sizes.
    pub fn usual(&self, kind: PartKind, compared: ComparedRequest<'_>) -> Option<PartBaseline> {
        let same_size = Some(input_size(compared.input_tokens));
        [(same_size, true), (None, false)].into_iter().find_map(|(size, is_same_size)| {
            let (upstream, model) = (Arc::clone(compared.upstream), Arc::clone(compared.model));
            let samples = self.by_key.get(&BaselineKey { upstream, model, size })?;
            let (median, samples) = samples.median(kind, compared.id)?;
            Some(PartBaseline { median, samples, is_same_size })
        })
    }
}

impl BaselineSamples {
    /// Median of a part over the requests other than `id` that have it, and their number.
    fn median(&self, kind: PartKind, id: u64) -> Option<(f64, usize)> {
        let others = self.samples.iter().filter(|one| one.id != id);
        let lengths = others.filter_map(|one| one.lengths.get(kind as usize).copied());
        let mut lengths: Vec<f32> = lengths.filter(|length| !length.is_nan()).collect();
        let count = lengths.len();
        if count < MIN_SAMPLES {
            return None;
        }
        let (_, median, _) = lengths.select_nth_unstable_by(count / 2, f32::total_cmp);
        Some((f64::from(*median), count))
    }
}

impl PartLengths {
    fn of_record(record: &RequestRecord) -> Self {
        let mut lengths = [f32::NAN; PartKind::VARIANTS.len()];
        let mut set = |kind: PartKind, length: f64| {
            if let Some(one) = lengths.get_mut(kind as usize) {
                *one = length as f32;
            }
        };
        // Without them, a pooled connection was used, and the client took everything at once.
        set(PartKind::Connect, 0.0);
        set(PartKind::ClientStall, 0.0);
        if record.queue_s.is_some() {
            set(PartKind::Queue, 0.0);
        }
        for part in measured_parts(record) {
            set(part.kind, part.length / part_units(part.kind, record));
        }
        // Cold requests and those whose queue wait is unknown are compared with it.
        if let Some(wait) = wait_for_output(record) {
            set(PartKind::FirstOutput, wait);
        }
        Self { id: record.id, lengths }
    }
}
