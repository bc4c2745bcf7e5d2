#![no_main]

//! Every dialect, in every framing that its content type may declare: the measurements of a response are the
//! same in every split.

use fuzz::assert_splits_agree;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use streamgauge_core::dialect::Dialect;
use streamgauge_core::dialect::ROUTES;
use streamgauge_core::dialect::route::Route;
use streamgauge_core::meter::{Arrival, LiveSample, RequestRecord, ResponseMeter};

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

fn meter(dialect: &'static Dialect, content_type: &str, deflate: bool) -> ResponseMeter {
    if content_type == "websocket" {
        return ResponseMeter::for_websocket(dialect, deflate);
    }
    let Ok(meter) = ResponseMeter::new(dialect, content_type.as_bytes(), b"") else {
        panic!("{content_type} is not read")
    };
    meter
}

fuzz_target!(|input: &[u8]| {
    let dialects: Vec<&'static Dialect> = ROUTES.iter().filter_map(Route::dialect).collect();
    let content_type = TYPES[usize::from(input.get(1).copied().unwrap_or(0)) % TYPES.len()];
    let read = |mode: u8, parts: &[&[u8]]| {
        let dialect = dialects[usize::from(mode) % dialects.len()];
        let mut meter = meter(dialect, content_type, mode & 0x80 != 0);
        let mut samples = Vec::new();
        let mut sink = |sample: LiveSample<'_>| samples.push(format!("{sample:?}"));
        parts.iter().for_each(|part| meter.push(ARRIVAL, part, &mut sink));
        meter.finish(true, &mut sink);
        let tally = meter.tally();
        let (complete, error) = (tally.is_complete(), tally.has_error);
        let mut record = RequestRecord::default();
        record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
        (serde_json::to_string(&record).unwrap(), meter.dialect(), complete, error, samples)
    };
    assert_splits_agree(input, read);
});
