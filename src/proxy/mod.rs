//! The data plane: listener, service, headers, upstream. It knows no inference API; what it forwards
//! is measured by the [`Tap`](crate::tap::Tap) that it is given.

mod body;
mod client;
mod forward;
mod handover;
mod probe;
mod timers;
mod tls;
mod upstream;

pub use client::{Listener, serve};
pub use probe::{watch_readiness, watch_start_time};
pub use timers::Timers;
pub use tls::{TlsError, TlsFiles};
pub use upstream::{Connector, Http2Mode, UpstreamAddress, UpstreamConfig, UpstreamPool};

use bytes::Bytes;
use http_body_util::{Either, Full};

/// The body of an answer, as hyper's server sees it: the upstream's, measured; one of our own; or one
/// that hyper does not get to see.
pub(crate) type ProxyBody = Either<
    crate::tap::MeteredBody<body::UpstreamBody>,
    Either<Full<Bytes>, handover::DetachedBody>,
>;
