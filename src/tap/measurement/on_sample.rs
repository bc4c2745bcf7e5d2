//! Who hears what a response tells while it runs.

use super::super::cold_request::ColdRequest;
use super::super::edge_and_trace::EdgeAndTrace;
use super::super::request_side::RequestSide;
use super::{RequestState, Tap};
use crate::metrics::{RequestSeries, StartKind};
use std::time::Duration;
use streamgauge_core::meter::{LiveSample, ResponseMeter};

/// What of the measurement takes part in what its meter tells.
pub(super) struct SampleObserver<'a> {
    tap: &'a Tap,
    side: &'a RequestSide,
    series: &'a RequestSeries,
    cold: &'a mut Option<ColdRequest>,
    asked: &'a mut Duration,
    before: Option<&'a EdgeAndTrace>,
    tells_load: bool,
    is_session: bool,
}

impl RequestState {
    /// The meter, while it is there, and who hears it.
    pub(super) fn hearing(&mut self) -> Option<(&mut ResponseMeter, SampleObserver<'_>)> {
        let Self { tap, side, series, cold, asked, before, meter, .. } = self;
        let (meter, series) = (meter.as_mut()?, series.as_deref()?);
        let before = before.as_deref();
        let (tells_load, is_session) = (meter.reports_load_time(), meter.is_session());
        Some((
            meter,
            SampleObserver { tap, side, series, cold, asked, before, tells_load, is_session },
        ))
    }
}

impl SampleObserver<'_> {
    /// Panics if a test put a fault into the meter that these bytes bring out.
    pub fn strike(&self, bytes: &[u8]) {
        self.tap.faults.strike(bytes);
    }

    /// The response told this, with what arrived at `at`.
    pub fn hear(&mut self, at: Duration, sample: &LiveSample<'_>) {
        match sample {
            LiveSample::ResponseRequested(at) => *self.asked = *at,
            LiveSample::FirstOutput(at) => self.first(*at),
            LiveSample::ModelLoading => {
                if let Some(cold) = self.cold {
                    cold.loading(self.tap, self.side, at);
                }
            }
            LiveSample::Unparsed(reason) => self.tap.series.unparsed(*reason),
            _ => {}
        }
        self.series.observe(sample, *self.asked, || self.start());
    }

    /// The first output arrived.
    fn first(&mut self, at: Duration) {
        let Self { tap, side, series, cold, before, tells_load, is_session, .. } = self;
        side.first_output(at);
        if let Some(cold) = cold {
            cold.output(tap, side, at, !*is_session, *tells_load);
        }
        if let Some(began) = before.and_then(|before| before.trace_began) {
            series.trace_first_token(at.saturating_sub(began));
        }
    }

    /// Whether the response met its model ready. A session's own beginning says nothing of a response in it.
    fn start(&self) -> StartKind {
        let cold = self.cold.as_ref().filter(|_| !self.is_session);
        cold.map_or(StartKind::Warm, ColdRequest::start)
    }
}
