//! Streamgauge: a measuring reverse proxy for LLM inference servers.
//!
//! # The journey of one chunk
//!
//! ```text
//! upstream socket -> StreamReader -> Relay -> client socket      (one turn of one task)
//!                        |           ` frame the very same bytes, and send them
//!                        ` Measurement::data
//!                            | stamp                    (socket)
//!                            | bytes -> events          (wire)
//!                            | event -> facts           (dialect)
//!                            | facts -> samples         (meter)
//!                            ` observe on handles that were resolved once (metrics)
//! ```
//!
//! hyper reads requests and heads, sends requests, and carries bodies of a declared length and all of
//! HTTP/2, through a [`tap::MeteredBody`]. The body of a stream by HTTP/1.1 goes from socket to socket
//! without it, read with the kernel's stamp: it may be open for hours, and holds no buffer while it is
//! silent. So do the bytes of a connection that has switched to another protocol (WebSocket).
//!
//! [`proxy`] accepts a client ([`proxy::serve`]), takes a connection to the upstream from its pool or
//! opens one, and forwards the head. It knows nothing of inference: it gives each request a
//! [`tap::Measurement`] and shows it the response's bytes, the one stop that is ours on a chunk's way.
//! One task does all of it: no channel, no hop, no allocation.
//!
//! Below that stop all is pure: [`wire`](streamgauge_core::wire) finds events in bytes, [`dialect`](streamgauge_core::dialect) says what an event means,
//! [`meter`](streamgauge_core::meter) keeps the account. They take instants and slices and give facts, and know no hyper, no
//! tokio, no prometheus and no clock.
//!
//! [`metrics`] holds the table of metrics and is the only place that names `prometheus`; [`admin`]
//! shows them on a port, thread and runtime of its own. What goes by the clock and not by the
//! traffic has another: probes, the look for stalls, and the timers of the workers, which have none
//! of their own. [`config`] holds the table of keys. [`app`] binds all of it together and is the
//! only place that sees everything. [`sim`](streamgauge_sim) is a simulated inference server, which knows the truth
//! that the meter is held against; [`demo`] shows both at work. [`compare`] reads two request logs.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod compare;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod healthcheck;
pub mod metrics;
pub mod proxy;
pub mod request_log;
pub mod socket;
pub mod tap;
