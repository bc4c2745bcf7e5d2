//! Client side: accepts connections, detects their protocol, and drains them at shutdown.

mod drain;
mod listener;
mod sniff;

pub use drain::{DrainStage, DrainTimes};
pub use listener::{Listener, serve};
pub(crate) use sniff::{ProtocolSniffer, SniffedProtocol};
