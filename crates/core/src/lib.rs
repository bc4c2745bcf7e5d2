//! Reads and measures streamed responses of LLM inference servers, without I/O.
//!
//! Bytes and instants go in; facts and numbers come out. The crate depends on no runtime, no HTTP library, no metrics
//! library and no clock, so every part of it is tested with tables of inputs and outputs.
//!
//! | module | input | output |
//! |---|---|---|
//! | [`wire`] | bytes of a body, in any split | events |
//! | [`dialect`] | the bytes of an event, the API's tables | facts about tokens, text and errors |
//! | [`meter`] | facts and instants | TTFT, TPOT, gaps, outcome, queue wait, cold starts |
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

// The evaluation of the queue estimate is shared by a benchmark and a unit test: it names the crate from outside.
#[cfg(test)]
extern crate self as streamgauge_core;

pub mod dialect;
#[cfg(test)]
mod format_examples;
pub mod meter;
pub mod wire;
