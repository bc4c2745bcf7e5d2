//! Follows whether the engine of an upstream still generates.

use super::models::UpstreamModels;
use super::queue::has_queue;
use super::request_progress::RequestProgress;
use super::request_registry::RunningStreams;
use super::{OTHER, lock};
use crate::metrics::RequestPhase;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streamgauge_core::meter::progress::{EngineProgress, EngineView};
use streamgauge_core::meter::queue::ExpectedTtft;

/// Requests without output are looked at only after this time without any output.
const QUIET: Duration = Duration::from_secs(1);
/// A prompt may take longer than expected by this many standard deviations.
const DEVIATIONS: f64 = 2.0;

/// An engine that is stuck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StuckEngine {
    /// Time for which output is due and none comes.
    pub silence: Duration,
    /// Longest such time that is usual.
    pub limit: Duration,
}

/// Progress of the engine of one upstream.
#[derive(Debug, Default)]
pub(super) struct EngineWatch {
    progress: Mutex<EngineProgress>,
    /// Latest output of requests that are not watched as streams, in nanoseconds; 0 before the first.
    latest_output: AtomicU64,
    /// Model of the latest request that had its first output.
    latest_model: Mutex<Option<Arc<str>>>,
}

impl EngineWatch {
    /// The first output of a stream of this model arrived.
    pub fn on_first_output(&self, at: Duration, model: Option<Arc<str>>) {
        self.on_output(at);
        let mut latest = lock(&self.latest_model);
        if *latest != model {
            *latest = model;
        }
    }

    /// Output arrived.
    pub fn on_output(&self, at: Duration) {
        self.latest_output.fetch_max(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A response that is not streamed has ended, this time after the request was sent.
    pub fn on_document(&self, time: Duration) {
        lock(&self.progress).on_document(time);
    }

    /// Time for which output is due and none comes, and the limit beyond which the engine is stuck.
    pub fn silence(&self) -> (Duration, Duration) {
        let progress = lock(&self.progress);
        (progress.silence(), progress.limit())
    }

    /// `None` if the engine is not stuck.
    pub fn stuck(&self) -> Option<StuckEngine> {
        let progress = lock(&self.progress);
        let stuck = StuckEngine { silence: progress.silence(), limit: progress.limit() };
        progress.is_stuck().then_some(stuck)
    }

    /// Records the state of the engine. `silent`: the requests without output.
    pub fn observe(
        &self,
        now: Duration,
        streams: &RunningStreams,
        models: &UpstreamModels,
        silent: impl FnOnce() -> Vec<Arc<RequestProgress>>,
    ) {
        let ended = Some(self.latest_output.load(Relaxed)).filter(|nanos| *nanos > 0);
        let latest_output = ended.map(Duration::from_nanos).max(streams.latest_output);
        let mut view = EngineView {
            latest_output,
            is_streaming: streams.is_output_due,
            is_pausing: streams.is_pausing,
            prefill: Some(Duration::ZERO),
            ..EngineView::default()
        };
        if latest_output.is_some_and(|latest| now.saturating_sub(latest) > QUIET) {
            let model = lock(&self.latest_model).clone();
            add_silent(&mut view, model.as_deref(), models, &silent());
        }
        lock(&self.progress).observe(now, &view);
    }
}

/// Adds the requests without output. `latest_model`: model of the latest output.
fn add_silent(
    view: &mut EngineView,
    latest_model: Option<&str>,
    models: &UpstreamModels,
    silent: &[Arc<RequestProgress>],
) {
    let earlier = |known: Option<Duration>, at: Duration| Some(known.map_or(at, |one| one.min(at)));
    // Largest prompt of each model.
    let mut prompts = BTreeMap::new();
    for request in silent.iter().filter(|request| has_queue(request.operation())) {
        let (Some(sent), Some(phase)) = (request.sent(), request.phase()) else { continue };
        let model = request.model();
        if request.expects_stream() {
            // A stream after its first output has ended as far as output is concerned.
            if phase == RequestPhase::Streaming {
                continue;
            }
            view.oldest_waiting = earlier(view.oldest_waiting, sent);
            view.is_other_model |= model.as_deref() != latest_model;
        } else {
            view.oldest_document = earlier(view.oldest_document, sent);
        }
        let largest = prompts.entry(model).or_insert(0);
        *largest = request.bytes().max(*largest);
    }
    let times = prompts.iter().map(|(model, bytes)| {
        let model = model.as_deref().unwrap_or(OTHER);
        models.expected_ttft(model, *bytes).or_else(|| models.longest_ttft(*bytes))
    });
    view.prefill = times.map(|time| time.map(at_most)).try_fold(Duration::ZERO, |longest, time| {
        // Without any baseline, only a stream that waits makes the time unknown.
        if time.is_none() && view.oldest_waiting.is_none() {
            Some(longest)
        } else {
            Some(longest.max(time?))
        }
    });
}

/// Time to first output that is not exceeded as a rule.
fn at_most(expected: ExpectedTtft) -> Duration {
    let factor = (DEVIATIONS * expected.log_spread).exp();
    Duration::try_from_secs_f64(expected.ttft.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}
