//! Data plane: forwards requests from clients to an upstream, unchanged.
//!
//! This module knows no inference API. A [`Measurement`](crate::tap::Measurement) accompanies each request and measures
//! its bytes.
//!
//! # Life of a request
//!
//! 1. `client/listener.rs` accepts the connection, with TLS if configured (`tls.rs`), and starts a task for it.
//!    With HTTP/1.1 on both sides, this task does everything below. HTTP/2 adds tasks: one per request of a client's
//!    connection, and one per connection to the upstream.
//! 2. `client/sniff.rs` detects HTTP/1.1 or HTTP/2 by the first bytes.
//! 3. `handover/client_connection.rs`: hyper reads the request and calls the service.
//! 4. `forward/service.rs` starts the measurement. `request.rs` validates the request and prepares its
//!    headers (`headers.rs`, `upgrade.rs`). If the request cannot be forwarded, `error_response.rs` responds.
//! 5. `upstream/pool.rs` returns an idle connection, or `connector.rs` opens one. `http2.rs` shares
//!    connections between requests.
//! 6. `handover/upstream_exchange.rs`: hyper sends the request and reads the response head. `handover/head_gate.rs`
//!    keeps the body back from hyper.
//! 7. `forward/service.rs` decides how the body reaches the client:
//!    - A stream over HTTP/1.1 leaves hyper on both sides: `body/stream_reader.rs` reads the upstream's socket, and
//!      `body/relay.rs` writes to the client's.
//!    - After a 101 (WebSocket), `body/tunnel.rs` copies bytes in both directions.
//!    - hyper carries all other bodies, through `body/upstream_body.rs`.
//! 8. At the end of the body, the upstream connection goes back into the pool and the client connection back to hyper. At
//!    shutdown, `client/drain.rs` lets running requests finish.
//!
//! In this module, a *stream* is a response body without a declared length, whether it carries events or not.
//!
//! `probe` sends requests of Streamgauge itself: readiness probes, and requests for the server's own metrics.

mod body;
mod client;
mod forward;
mod handover;
mod limits;
mod probe;
mod timers;
mod tls;
mod upstream;

pub(crate) use body::ProxyBody;
pub use client::{ConnectionLimit, DrainStage, DrainTimes, Listener, serve};
pub use limits::ProxyLimits;
pub use probe::{watch_readiness, watch_start_time};
pub use timers::Timers;
pub use tls::{
    ClientCertificates, ListenerTls, PemFile, SharedServerConfig, TlsError, TlsFiles,
    verifying_client_config,
};
pub use upstream::{ALPN_HTTP_1, ALPN_HTTP_2};
pub use upstream::{
    Connector, Http2Mode, UpstreamAddress, UpstreamConfig, UpstreamPool, UpstreamTls,
};
