//! Client side: accepts connections, detects their protocol, and drains them at shutdown.

mod drain;
mod listener;
mod sniff;

pub(crate) use drain::Graceful;
pub use listener::{Listener, serve};
pub(crate) use sniff::{ProtocolSniffer, SniffedProtocol};
