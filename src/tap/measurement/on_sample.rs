//! Live measurements: what happens with each sample that the meter reports while a response runs.

use super::super::cold_request::ColdRequest;
use super::super::edge_and_trace::EdgeAndTrace;
use super::super::request_progress::RequestProgress;
use super::{RequestState, Tap};
use crate::metrics::{RequestSeries, StartKind};
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::dialect::route::Operation;
use streamgauge_core::meter::{LiveSample, ResponseMeter};

/// The parts of a [`RequestState`] that the samples of its meter update.
pub(super) struct SampleObserver<'a> {
    tap: &'a Tap,
    progress: &'a RequestProgress,
    series: &'a mut Arc<RequestSeries>,
    operation: &'a mut Operation,
    is_inference: bool,
    started_at: Duration,
    cold: &'a mut Option<ColdRequest>,
    requested_at: &'a mut Duration,
    edge: Option<&'a EdgeAndTrace>,
    reports_load: bool,
    is_session: bool,
}

impl RequestState {
    /// Returns the meter and the observer of its samples; `None` if the body is not read.
    pub(super) fn sample_observer(&mut self) -> Option<(&mut ResponseMeter, SampleObserver<'_>)> {
        let Self { tap, progress, series, operation, cold, requested_at, edge, meter, .. } = self;
        let (meter, series) = (meter.as_mut()?, series.as_mut()?);
        let (reports_load, is_session) = (meter.reports_load_time(), meter.is_session());
        let edge = edge.as_deref();
        let observer = SampleObserver {
            tap,
            progress,
            series,
            is_inference: operation.is_inference(),
            operation,
            started_at: self.started_at,
            cold,
            requested_at,
            edge,
            reports_load,
            is_session,
        };
        Some((meter, observer))
    }
}

impl SampleObserver<'_> {
    /// Panics if a test injected a fault for these bytes.
    pub fn inject_fault(&self, bytes: &[u8]) {
        self.tap.faults.inject(bytes);
    }

    /// Handles a sample of a read that arrived at `at`.
    pub fn on_sample(&mut self, at: Duration, sample: &LiveSample<'_>) {
        match sample {
            LiveSample::ResponseRequested(at) => *self.requested_at = *at,
            LiveSample::FirstOutput(at) => self.on_first_output(*at),
            LiveSample::ModelLoading => {
                if let Some(cold) = self.cold {
                    cold.on_loading(self.tap, self.progress, at);
                }
            }
            LiveSample::Unparsed(reason) => self.tap.on_unparsed(*reason),
            LiveSample::Recognised(operation) => self.on_recognised(*operation),
            // Also for operations that are not inference.
            LiveSample::UnrecognisedEvent { at, gap } => {
                let elapsed = at.saturating_sub(*self.requested_at);
                self.series.record_unrecognised_event(elapsed, *gap);
            }
            _ => {}
        }
        if self.is_inference {
            self.series.record_live(sample, *self.requested_at, || self.start_kind());
        }
    }

    /// The response on an unknown path is inference. From here on it is measured like a response on a known path.
    fn on_recognised(&mut self, operation: Operation) {
        let Self { tap, progress, series, cold, .. } = self;
        (*self.operation, self.is_inference) = (operation, operation.is_inference());
        let model = progress.model();
        **series = tap.metrics.request_series(&tap.arrivals, operation, model.as_deref());
        **cold = Some(ColdRequest::start(progress.tap(), self.started_at));
    }

    /// Must run before TTFT is recorded: it determines whether the start was cold.
    fn on_first_output(&mut self, at: Duration) {
        let Self { tap, progress, series, cold, edge, reports_load, is_session, .. } = self;
        progress.on_first_output(at);
        tap.engine_watch.on_first_output(at, progress.model());
        if let Some(cold) = cold {
            cold.on_first_output(tap, progress, at, !*is_session, *reports_load);
        }
        if let Some(began) = edge.and_then(|edge| edge.trace_began) {
            series.record_trace_ttft(at.saturating_sub(began));
        }
    }

    /// Whether the server was ready for this response. The start of a realtime session does not count for the responses
    /// in it.
    fn start_kind(&self) -> StartKind {
        let cold = self.cold.as_ref().filter(|_| !self.is_session);
        cold.map_or(StartKind::Warm, ColdRequest::start_kind)
    }
}
