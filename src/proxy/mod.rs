//! The data plane: listener, service, headers, upstream. It knows no inference API; what it forwards
//! is measured by the [`Tap`](crate::tap::Tap) that it is given.

mod address;
mod answer;
mod client;
mod connector;
mod drain;
mod exchange;
mod gate;
mod get;
mod handover;
mod headers;
mod listener;
mod multiplex;
mod opening;
mod page;
mod pool;
mod probe;
mod relay;
mod request;
mod service;
mod stream_body;
mod timers;
mod tls;
mod tunnel;
mod upgrade;
mod upstream_body;

pub use address::UpstreamAddress;
pub use connector::{Connector, Http2Mode};
pub use listener::{Listener, serve};
pub use page::watch_start_time;
pub use pool::{UpstreamConfig, UpstreamPool};
pub use probe::watch_readiness;
pub use timers::Timers;
pub use tls::{TlsError, TlsFiles};

use bytes::Bytes;
use http_body_util::{Either, Full};

/// The body of an answer, as hyper's server sees it: the upstream's, measured; one of our own; or one
/// that hyper does not get to see.
pub(crate) type ProxyBody = Either<
    crate::tap::MeteredBody<upstream_body::UpstreamBody>,
    Either<Full<Bytes>, handover::HandedOver>,
>;
