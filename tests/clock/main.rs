//! Measured times, compared with the times that a server or a client recorded.

#[path = "../support/mod.rs"]
mod support;

mod cold_starts;
mod engine_progress;
mod goodput;
mod queue_wait_estimated;
mod queue_wait_reported;
mod rag;
mod restarts;
mod stalls;
mod starved;
mod truth;
mod why_different;
