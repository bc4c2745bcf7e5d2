//! Streamgauge.
pub mod dialect;
pub mod meter;
pub mod metrics;
pub mod sim;
pub mod socket;
pub mod wire;
