//! Streamgauge: a measuring reverse proxy for LLM inference servers.
//!
//! # The journey of one chunk
//!
//! ```text
//! upstream socket -> UpstreamBody -> MeteredBody::poll_frame -> hyper server -> client socket
//!                                      | stamp                    (socket)
//!                                      | frame -> events          (wire)
//!                                      | event -> facts           (dialect)
//!                                      | facts -> samples         (meter)
//!                                      | observe on handles that were resolved once (metrics)
//!                                      ` return the very same frame
//! ```
//!
//! The head of an answer is read by hyper's client, and so is a body of a declared length. The body of
//! a stream is read from the socket as it is, with the kernel's stamp of each read.
//!
//! [`proxy`] accepts a client ([`proxy::serve`]), takes a connection to the upstream from its pool or
//! opens one, and forwards the head. It knows nothing of inference: it gives each request a
//! [`tap::Measurement`] and wraps the response's body in a [`tap::MeteredBody`], the one stop that is
//! ours on a chunk's way. One task does all of it: no channel, no copy, no hop.
//!
//! Below that stop all is pure: [`wire`] finds events in bytes, [`dialect`] says what an event means,
//! [`meter`] keeps the account. They take instants and slices and give facts, and know no hyper, no
//! tokio, no prometheus and no clock.
//!
//! [`metrics`] holds the table of metrics and is the only place that names `prometheus`; [`admin`]
//! shows them on a port, thread and runtime of its own. [`config`] holds the table of keys. [`app`]
//! binds all of it together and is the only place that sees everything. [`sim`] is a simulated
//! inference server, which knows the truth that the meter is held against; [`demo`] shows both at work.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod healthcheck;
pub mod meter;
pub mod metrics;
pub mod proxy;
pub mod request_log;
pub mod sim;
pub mod socket;
pub mod tap;
pub mod wire;
