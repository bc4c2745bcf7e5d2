//! The hand-over of connections between hyper and the proxy's own relay.

mod client_connection;
mod client_io;
mod exchange;
mod head_gate;

pub(crate) use client_connection::ClientConnection;
pub(crate) use client_io::{DetachedBody, ResponseHandover, Takeover};
pub(crate) use exchange::{SendError, UpstreamConnection, UpstreamExchange};
