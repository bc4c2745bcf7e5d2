//! Upstream side: the server's address, new connections to it, and the pool of idle and shared ones.

mod address;
mod connector;
mod dialer;
mod http2;
mod pool;
mod resolver;

pub use address::UpstreamAddress;
pub use connector::{Connector, Http2Mode, UpstreamTls};
pub use pool::{UpstreamConfig, UpstreamPool};

pub use connector::{ALPN_HTTP_1, ALPN_HTTP_2};
pub(crate) use connector::{ConnectCause, ConnectError, NewConnection, UpstreamProtocol};
pub(crate) use http2::Http2Slot;
pub(crate) use pool::{Checkout, PooledConnection};
