//! The last ten minutes in memory, for the page and `streamgauge top`.
//!
//! | file | content |
//! |---|---|
//! | `snapshot` | types of `GET /live` |
//! | `history` | [`LiveHistory`]: reads what is new once a second |
//! | `record_sample` | which ended requests it reads in full |
//! | `traffic`, `latency_counts` | history of one upstream and model; latencies in log-spaced buckets |
//! | `heatmap`, `newest` | TTFT by time; rows of the newest requests |
//! | `upstream_history` | whether an upstream answers, and whether its engine generates |
//! | `events` | cold starts, outages, hangs, stalls, failures |
//! | `own` | forwarding delay, coverage and losses of the process itself |
//! | `slow` | `GET /requests/slow`: slow requests and why they were slow |

mod events;
mod heatmap;
mod history;
mod latency_counts;
mod newest;
mod own;
mod record_sample;
pub mod slow;
pub mod snapshot;
mod traffic;
mod upstream_history;

pub use history::LiveHistory;
