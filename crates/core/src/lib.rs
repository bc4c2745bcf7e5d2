//! Reads and measures responses of LLM inference servers, without I/O.
//!
//! The input is bytes and the instants at which they arrived; the output is facts and numbers. The crate depends on no
//! runtime, HTTP library, metrics library or clock.
//!
//! | module | input | output |
//! |---|---|---|
//! | [`wire`] | bytes of a body, in any split | events: the data and the end of each |
//! | [`dialect`] | the data of an event | facts about tokens, text and errors |
//! | [`meter`] | facts and their arrival times | TTFT, TPOT, gaps, outcome, queue wait, cold starts |
//!
//! # Example
//!
//! Measures a recorded stream. Each entry is one read: milliseconds after the first byte of the request, and the bytes.
//!
//! ```
//! use std::time::Duration;
//! use streamgauge_core::dialect::route::Route;
//! use streamgauge_core::meter::{Arrival, LiveSample, RequestRecord, ResponseMeter};
//!
//! let recording: [(u64, &str); 4] = [
//!     (250, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n"),
//!     (270, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" world\"}}]}\n\n"),
//!     (290, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
//!     (291, "data: {\"choices\":[],\"usage\":{\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"),
//! ];
//!
//! let route = Route::find("POST", "/v1/chat/completions");
//! let dialect = route.dialect().ok_or("no dialect for this path")?;
//! let mut meter = ResponseMeter::new(dialect, b"text/event-stream", b"").map_err(|_| "unknown content type")?;
//!
//! // Samples are reported while the stream runs; here only the numbers at the end are used.
//! let mut ignore_samples = |_: LiveSample<'_>| {};
//! for (read_number, (millis, bytes)) in (0..).zip(recording) {
//!     let arrival = Arrival::on_time(Duration::from_millis(millis), read_number);
//!     meter.push(arrival, bytes.as_bytes(), &mut ignore_samples);
//! }
//! meter.finish(true, &mut ignore_samples);
//! assert!(meter.tally().is_complete());
//!
//! // The first byte of the request arrived at 0.
//! let mut record = RequestRecord::default();
//! record.fill_from_response(meter.tally(), meter.is_stream(), Duration::ZERO);
//! println!("TTFT {:?} s, TPOT {:?} s", record.ttft_s, record.tpot_s);
//! assert_eq!(record.ttft_s, Some(0.25));
//! assert_eq!(record.tpot_s, Some(0.02));
//! # Ok::<(), &str>(())
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

// Benchmarks and unit tests include the same files. These refer to `streamgauge_core::`, which this line makes valid inside
// of the crate.
#[cfg(test)]
extern crate self as streamgauge_core;

pub mod dialect;
#[cfg(test)]
mod format_examples;
pub mod meter;
pub mod wire;
