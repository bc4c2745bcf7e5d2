//! The simulated inference server: for the demo, for tests and for benchmarks, where no GPU is at hand.
//!
//! It is not a mock. A written queueing model ([`model`]) decides when each token is ready, a real HTTP/1.1
//! server ([`SimServer`]) writes it on a real socket in the shape of the API that was asked by, and for every
//! request the server notes what truly happened ([`TruthRecord`]). What the gauge says it measured can so be
//! held against what was sent.
//!
//! | part | what it is |
//! |---|---|
//! | [`model`] | pure: the engine on virtual time: slots, queue, prefill, decode, loading |
//! | [`text`] | pure: what the tokens say, with known character counts |
//! | `api` | one file per API: how it writes an answer, streamed or whole |
//! | [`SimServer`] | the HTTP server, scripted by the `sim` object of a request |
//! | [`TruthLog`] | one record per request, of the sender's own making |
//! | [`Traffic`] | open-loop clients, with the mix of the demo |
//!
//! Nothing outside `sim` depends on it but the demo, and it depends on nothing else of this crate: it must not
//! share a bug with the code that it checks.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod model;
pub mod token_text;

mod api;
mod content;
mod engine_host;
mod frame_queue;
mod pending_record;
mod request;
mod response_body;
pub mod rng;
mod server;
mod template;
mod traffic;
mod truth;

pub use model::EngineSpec;
pub use server::SimServer;
pub use traffic::{Traffic, TrafficApi, TrafficClass, TrafficSummary, demo_engines};
pub use truth::{ReportedValues, TruthEnd, TruthLog, TruthRecord};
