//! Bodies of responses: carried by hyper, or moved from socket to socket by Streamgauge.
//!
//! | response | carried by |
//! |---|---|
//! | stream over HTTP/1.1 on both sides (no declared length) | [`Relay`], which reads a [`StreamReader`] |
//! | 101 Switching Protocols, such as WebSocket | [`Tunnel`] |
//! | everything else | hyper, which reads an [`UpstreamBody`] |

mod proxy_body;
mod relay;
mod response_deadline;
mod stream_reader;
mod tunnel;
mod upstream_body;

pub(crate) use proxy_body::{BodyContent, ProxyBody};
pub(crate) use relay::{ClientFraming, FinishedRelay, Relay, RelayEnd, StreamResponse};
pub(crate) use response_deadline::ResponseDeadline;
pub(crate) use stream_reader::StreamReader;
pub(crate) use tunnel::{Tunnel, UpgradedUpstream};
pub(crate) use upstream_body::{BodySource, UpstreamBody, UpstreamBodyError};
