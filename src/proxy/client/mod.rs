//! Client side: accepts connections, detects their protocol, closes them, and drains them at shutdown.

mod connection_limit;
mod drain;
mod lingering;
mod listener;
mod sniff;

pub use connection_limit::ConnectionLimit;
pub(crate) use connection_limit::ConnectionSlot;
pub use drain::{DrainStage, DrainTimes};
pub(crate) use lingering::discard_rest;
pub use listener::{Listener, serve};
pub(crate) use sniff::{ProtocolSniffer, SniffedProtocol};
