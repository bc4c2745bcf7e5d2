#![no_main]

//! Every dialect, in every framing that its content type may announce: what the meter makes of a response
//! is the same in any split of it.

use fuzz::agree;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use streamgauge_core::dialect::Dialect;
use streamgauge_core::dialect::ROUTES;
use streamgauge_core::dialect::route::Route;
use streamgauge_core::meter::{Arrival, ResponseMeter, RequestRecord, LiveSample};

const TYPES: [&str; 7] = [
    "text/event-stream",
    "application/json",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "application/grpc",
    "",
    "websocket",
];

const ARRIVAL: Arrival = Arrival::on_time(Duration::ZERO, 0);

fn meter(dialect: &'static Dialect, kind: &str, deflate: bool) -> ResponseMeter {
    if kind == "websocket" {
        return ResponseMeter::for_websocket(dialect, deflate);
    }
    let Ok(meter) = ResponseMeter::new(dialect, kind.as_bytes(), b"") else { panic!("{kind} is not read") };
    meter
}

fuzz_target!(|input: &[u8]| {
    let dialects: Vec<&'static Dialect> = ROUTES.iter().filter_map(Route::dialect).collect();
    let kind = TYPES[usize::from(input.get(1).copied().unwrap_or(0)) % TYPES.len()];
    let read = |mode: u8, pieces: &[&[u8]]| {
        let dialect = dialects[usize::from(mode) % dialects.len()];
        let mut meter = meter(dialect, kind, mode & 0x80 != 0);
        let mut told = Vec::new();
        let mut sink = |sample: LiveSample<'_>| told.push(format!("{sample:?}"));
        pieces.iter().for_each(|piece| meter.push(ARRIVAL, piece, &mut sink));
        meter.finish(true, &mut sink);
        let tally = meter.tally();
        let (complete, error) = (tally.is_complete(), tally.has_error);
        let mut record = RequestRecord::default();
        record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
        (serde_json::to_string(&record).unwrap(), meter.dialect(), complete, error, told)
    };
    agree(input, read);
});
