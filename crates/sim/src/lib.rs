//! A simulated LLM inference server, for demos, tests and benchmarks without a GPU.
//!
//! A queueing model ([`model`]) decides when each token is ready. A real HTTP/1.1 server ([`SimServer`]) writes it to a
//! real socket, in the format of the requested API, and records what it sent for every request ([`TruthRecord`]).
//! Measurements of Streamgauge are checked against these records.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use streamgauge_sim::{EngineSpec, SimServer};
//!
//! let server = SimServer::bind(([127, 0, 0, 1], 0).into(), vec![EngineSpec::new("my-model")]).await?;
//! println!("POST http://{}/v1/chat/completions", server.local_addr()?);
//! let truth = server.truth();
//! server.run(tokio::time::sleep(std::time::Duration::from_secs(10))).await;
//! for record in truth.take() {
//!     println!("{}: TTFT {:?} s, {} tokens", record.path, record.ttft_s, record.output_tokens);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`model`] | pure: the engine on virtual time (slots, queue, prefill, decode, loading) |
//! | [`token_text`] | pure: the text of tokens, with known character counts |
//! | `api` | one file per API: its responses, streamed or not |
//! | [`SimServer`] | the HTTP server, scripted by the `sim` object of a request |
//! | [`TruthLog`] | one record per request |
//! | [`Traffic`] | open-loop clients, with the traffic of the demo |
//!
//! The crate does not depend on `streamgauge-core`, because it must not share a fault with the code that it checks.

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
