//! Requests of Streamgauge itself to the upstream: readiness probes and the server's metrics page.

mod get;
mod metrics_page;
mod readiness;
mod start_time;

pub use metrics_page::watch_start_time;
pub use readiness::watch_readiness;
