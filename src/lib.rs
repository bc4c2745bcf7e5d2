//! Streamgauge.
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod demo;
pub mod dialect;
pub mod healthcheck;
pub mod meter;
pub mod metrics;
pub mod proxy;
pub mod request_log;
pub mod sim;
pub mod socket;
pub mod tap;
pub mod wire;
