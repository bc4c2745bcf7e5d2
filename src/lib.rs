//! Streamgauge: a measuring reverse proxy for LLM inference servers.
//!
//! The program calls [`run`]. To embed the proxy: [`config::load`] merges the flags ([`cli::Cli`]), environment and file
//! into a [`Config`], [`App::bind`] opens all listeners, and [`App::run`] serves them.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | upstream | inference server behind a configured proxy; each has its own metrics |
//! | worker | thread that accepts connections, and handles each of them until it closes |
//! | read | one read of a socket; all its bytes have the same arrival time |
//! | event | one message in a response body: an SSE event, JSON line, WebSocket or gRPC message |
//! | dialect | description of how one API writes its responses |
//! | facts | contents of an event: text, token counts, finish reason, error |
//! | sample | value that the meter reports while a response runs |
//! | series | one metric with one set of label values, as in Prometheus |
//! | tap | measurement state that all requests to one upstream share |
//! | relay | sends a streamed body from socket to socket, without hyper |
//!
//! # The path of one request
//!
//! ```text
//! src/proxy/     accepts the connection, reads the request headers
//! src/tap/       starts a Measurement for the request
//! src/proxy/     takes an upstream connection from the pool, forwards the request
//! src/socket/    reads response bytes with their kernel timestamps
//! src/tap/       passes the bytes and their arrival time to the meter:
//!   crates/core/src/wire/       bytes -> events (SSE, JSON lines, WebSocket, gRPC ...)
//!   crates/core/src/dialect/    event -> facts (text, token counts, finish reason)
//!   crates/core/src/meter/      facts -> samples (first output, gaps, tokens)
//! src/metrics/   observes each sample in the series of this upstream and model
//! src/proxy/     sends the same bytes to the client, in the same task
//! src/tap/       records the end of the request once, however it ends: outcome, TPOT, queue wait ...
//! src/request_log.rs   writes one line per request, through src/log/
//! src/admin/     serves /metrics to Prometheus, on a port, thread and runtime of its own
//! ```
//!
//! `src/app.rs` connects these parts and owns the threads. `src/config/` merges flags, environment
//! and file. `src/compare/` compares two request logs, `src/explain/` prints what is read in a recorded
//! response, `src/demo/` runs the proxy against a simulated server (`crates/sim/`), and
//! `src/healthcheck.rs`, `src/tail/` and `src/top/` read the admin port of a running instance (`src/admin_client/`).
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod testing;

mod admin;
mod admin_client;
mod app;
mod cli_documents;
mod commands;
mod compare;
mod control_characters;
#[cfg(feature = "demo")]
mod demo;
mod descriptors;
mod explain;
mod healthcheck;
mod live;
mod log;
mod metrics;
mod proxy;
mod readable;
mod reload;
mod request_log;
mod signals;
mod socket;
mod tail;
mod tap;
mod top;

pub use app::{App, AppError, ListenerName};
pub use commands::run;
pub use config::Config;
pub use proxy::DrainStage;
