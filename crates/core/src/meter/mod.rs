//! Measurement of responses: token counts, times and outcomes, from bytes and the instants at which they arrived.
//!
//! ```text
//! bytes + Arrival --> ResponseMeter   parses the bytes into EventFacts
//!                       |
//!                       +--> LiveSample      while the response runs: first output, gaps, tokens, characters
//!                       |
//!                       +--> ResponseTally   counts and times so far
//!                              |
//!                              +--> RequestRecord   at the end: one line of the request log
//! ```
//!
//! At the end, the record also gets the [`QueueWait`], [`ColdReason`](cold::ColdReason), [`Outcome`] and [`SloVerdict`].
//!
//! | module | what it does |
//! |---|---|
//! | `response` | reads one response ([`ResponseMeter`]) |
//! | `session` | separates the responses of a WebSocket session |
//! | `tally` | counts and times of a response while it is in progress ([`ResponseTally`], [`LiveSample`]) |
//! | `arrivals` | inter-token latency: divides a gap between two reads by the tokens or output events of the later |
//! | `output_clock` | clock of the gaps between outputs, which excludes pauses of the client ([`OutputClock`]) |
//! | `output_flow` | longest gap and burst ratio of a stream ([`OutputFlow`]) |
//! | `end_report` | what a server reports at the end of a response ([`ServerReport`]) |
//! | `outcome` | how a request ended ([`Outcome`]) |
//! | `record` | the finished measurement ([`RequestRecord`]) |
//! | `slo`, `slo_verdict` | whether a request met its targets ([`SloClasses`]) |
//! | [`progress`] | whether the engine behind an upstream still generates ([`EngineProgress`](progress::EngineProgress)) |
//! | [`queue`] | estimates the wait in the server's queue |
//! | `queue_wait` | selects the most reliable source of the queue wait ([`QueueWait`]) |
//! | [`cold`] | detects cold starts |
//! | [`capacity`] | estimates saturation and the sustainable request rate |
//! | `robust_stats` | medians, quantiles, a resistant line, a rank correlation, for `queue` and `cold` |
//! | `bounded` | a queue that keeps the newest values |
//! | `trace` | joins the requests of a trace ([`Traces`]) |
//! | `clamped_interval` | intervals that are set to 0 if negative |
//!
//! An instant is a [`Duration`] since one fixed point in time, which the caller chooses. No code here reads a clock.
//!
//! [`Duration`]: std::time::Duration

mod arrivals;
mod bounded;
pub mod capacity;
mod choice_reports;
mod clamped_interval;
pub mod cold;
mod end_report;
mod outcome;
mod output_clock;
mod output_flow;
pub mod progress;
pub mod queue;
mod queue_wait;
mod record;
mod response;
mod robust_stats;
mod session;
mod slo;
mod slo_verdict;
mod tally;
mod trace;

pub use arrivals::{Arrival, GapBasis, ReadInstant};
pub use clamped_interval::ClampedInterval;
pub use end_report::ServerReport;
pub use outcome::{EndCause, EndedRequest, ErrorKind, GrpcStatus, Outcome};
pub use output_clock::{ClientPauses, OutputClock};
pub use output_flow::{GapUpdate, OutputFlow};
pub use queue_wait::{QueueWait, QueueWaitSource};
pub use record::{
    RequestRecord, ResponseTokens, TimestampSource, TokenSource, characters_per_second,
};
pub use response::ResponseMeter;
pub use slo::{InputSizeLimits, RefusalRule, SloClass, SloClasses, SloLimits, SloTarget};
pub use slo_verdict::SloVerdict;
pub use tally::{LiveSample, OutputKind, ResponseTally};
pub use trace::Traces;
