//! Requests of Streamgauge itself to the upstream, each on a new connection.
//!
//! They run on the thread with timers, not on the workers.

mod get;
mod metrics_page;
mod readiness;
mod start_time;

pub use metrics_page::watch_start_time;
pub use readiness::watch_readiness;
