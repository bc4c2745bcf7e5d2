//! Who hears what a response tells while it runs.

use super::super::cold_request::ColdRequest;
use super::super::request_side::RequestSide;
use super::{State, Tap};
use crate::meter::{Meter, Sample};
use crate::metrics::{Series, Start};
use std::time::Duration;

/// What of the measurement takes part in what its meter tells.
pub(super) struct Hearing<'a> {
    tap: &'a Tap,
    side: &'a RequestSide,
    series: &'a Series,
    cold: &'a mut Option<ColdRequest>,
    asked: &'a mut Duration,
    trace_began: Option<Duration>,
    tells_load: bool,
    is_session: bool,
}

impl State {
    /// The meter, while it is there, and who hears it.
    pub(super) fn hearing(&mut self) -> Option<(&mut Meter, Hearing<'_>)> {
        let Self { tap, side, series, cold, asked, before, meter, .. } = self;
        let (meter, series) = (meter.as_mut()?, series.as_deref()?);
        let (tells_load, is_session) = (meter.tells_load(), meter.is_session());
        let trace_began = before.trace_began;
        Some((
            meter,
            Hearing { tap, side, series, cold, asked, trace_began, tells_load, is_session },
        ))
    }
}

impl Hearing<'_> {
    /// Panics if a test put a fault into the meter that these bytes bring out.
    pub fn strike(&self, bytes: &[u8]) {
        self.tap.faults.strike(bytes);
    }

    /// The response told this, with what arrived at `at`.
    pub fn hear(&mut self, at: Duration, sample: &Sample<'_>) {
        let Self { tap, side, series, cold, asked, trace_began, tells_load, is_session } = self;
        match (sample, &mut **cold) {
            (Sample::Asked(at), _) => **asked = *at,
            (Sample::First(at), cold) => {
                side.first_output(*at);
                if let Some(cold) = cold {
                    cold.output(tap, side, *at, !*is_session, *tells_load);
                }
            }
            (Sample::Loading, Some(cold)) => cold.loading(tap, side, at),
            _ => {}
        }
        // The session's own beginning says nothing of a response in it.
        let cold = cold.as_ref().filter(|_| !*is_session);
        let start = cold.map_or(Start::Warm, ColdRequest::start);
        tap.told(sample, series, **asked, start, *trace_began);
    }
}
