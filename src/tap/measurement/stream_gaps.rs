//! Gaps between the outputs of a stream, without the pauses of its client.

use super::super::stall_watch::StallWatch;
use super::{Measurement, RequestState};
use crate::socket;
use streamgauge_core::meter::{Arrival, ClientPauses};

impl Measurement {
    /// hyper carries the response body. It reads ahead, and its HTTP/2 connections carry several bodies.
    pub fn on_buffered_body(&mut self) {
        if let Some(state) = &mut self.state {
            state.reads_directly = false;
        }
    }

    /// Sets whether hyper has yet to take the latest bytes of the body that it carries, before it requests more.
    pub fn set_client_busy(&self, is_busy: bool) {
        if let Some(stall_watch) = self.state.as_ref().and_then(|state| state.stall_watch.as_ref())
        {
            stall_watch.set_client_busy(is_busy);
        }
    }
}

impl RequestState {
    /// Places a read on the clock of the gaps between outputs.
    pub(super) fn place_on_output_clock(&mut self, arrival: &mut Arrival) {
        let pauses = self.client.stall_time();
        if pauses == self.output_clock.pauses() {
            self.output_clock.place(arrival);
        } else {
            let (now, is_direct) = (socket::now(), self.reads_directly);
            let client = ClientPauses { total: pauses, now, is_direct };
            self.output_clock.place_after_pause(arrival, client);
        }
    }

    /// Follows the gaps between outputs, from the first output of a stream on.
    pub(super) fn watch_stalls(&mut self, arrival: Arrival) {
        let Self {
            tap,
            meter: Some(meter),
            series: Some(series),
            stall_watch,
            client,
            started_at,
            operation,
            slot,
            output_clock,
            ..
        } = self
        else {
            return;
        };
        if stall_watch.is_none()
            && meter.is_stream()
            && meter.tally().first_output.is_some()
            && operation.is_inference()
        {
            let watch = StallWatch::new(client, series, tap.config.load().stall, output_clock);
            tap.in_flight.set_silence(*slot, watch.silence());
            *stall_watch = Some(watch);
            // Long streams would hold back the series of the upstream until their end.
            if let Some(engine) = meter.tally().engine {
                tap.set_detected_engine(engine);
            }
        }
        if let Some(stall_watch) = stall_watch {
            stall_watch.on_read(meter.tally(), arrival, *started_at, output_clock);
        }
    }
}
