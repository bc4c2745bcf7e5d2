//! The data plane: listener, service, headers, upstream. It knows no inference API; what it forwards
//! is measured by the [`Tap`](crate::tap::Tap) that it is given.

mod answer;
mod drain;
mod exchange;
mod gate;
mod headers;
mod listener;
mod pool;
mod service;
mod stream_body;
mod upstream_body;

pub use listener::{Listener, serve};
pub use pool::{Upstream, UpstreamConfig};

use bytes::Bytes;
use http_body_util::{Either, Full};

/// The body of an answer: the upstream's, measured, or one of our own.
pub(crate) type ProxyBody =
    Either<crate::tap::MeteredBody<upstream_body::UpstreamBody>, Full<Bytes>>;
