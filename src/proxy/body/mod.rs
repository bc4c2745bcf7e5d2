//! Bodies on their way to the client: carried by hyper, or relayed from socket to socket.

mod relay;
mod stream_reader;
mod tunnel;
mod upstream_body;

pub(crate) use relay::{ClientFraming, Relay, RelayEnd, StreamResponse};
pub(crate) use stream_reader::StreamReader;
pub(crate) use tunnel::{Tunnel, UpgradedUpstream};
pub(crate) use upstream_body::{BodySource, UpstreamBody};
