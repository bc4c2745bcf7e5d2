//! Streamgauge: a measuring reverse proxy for LLM inference servers.
//!
//! A program starts it in three steps: [`cli::Cli`] parses the command line, [`config::load`] merges the
//! configuration's sources into a [`Config`], and [`App::bind`] opens all listeners, so that
//! [`App::run`] can serve them.
//!
//! # The path of one request
//!
//! ```text
//! client        src/proxy/     accepts the connection, reads the request headers
//!   |           src/tap/       starts a Measurement for the request
//!   |           src/proxy/     takes an upstream connection from the pool, forwards the request
//! upstream      src/socket/    reads response bytes with their kernel timestamps
//!   |           src/proxy/     sends the same bytes to the client, in the same task
//!   |           src/tap/       passes the bytes and their arrival time to the meter:
//!   |             crates/core/src/wire/       bytes -> events (SSE, JSON lines, WebSocket, gRPC ...)
//!   |             crates/core/src/dialect/    event -> facts (text, token counts, finish reason)
//!   |             crates/core/src/meter/      facts -> samples (TTFT, TPOT, gaps, queue wait)
//!   |           src/metrics/   observes each sample in the series of this upstream and model
//! client        src/tap/       records the end of the request once, however it ends
//!               src/request_log.rs   writes one line per request
//! Prometheus    src/admin/     serves /metrics on a port, thread and runtime of its own
//! ```
//!
//! `src/app.rs` connects these parts and owns the threads. `src/config/` reads flags, environment and
//! file. `src/compare/` compares two request logs, `src/demo/` runs the proxy against a simulated
//! server (`crates/sim/`), and `src/healthcheck.rs` checks a running instance.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod testing;

mod admin;
mod app;
mod commands;
mod compare;
#[cfg(feature = "demo")]
mod demo;
mod healthcheck;
mod metrics;
mod proxy;
mod request_log;
mod socket;
mod tap;

pub use app::{App, AppError, ListenerName};
pub use commands::run;
pub use config::Config;
