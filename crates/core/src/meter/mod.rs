//! Measurement of responses: token counts, times and outcomes, from bytes and the instants at which they arrived.
//!
//! ```text
//! bytes + Arrival --> ResponseMeter --> LiveSample   for each event: TTFT, gaps, tokens, characters
//!                       ` ResponseTally --> RequestRecord   at the end: one line of the request log
//!                                             ^ QueueWait, ColdReason, SloVerdict, Outcome
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `response` | reads one response ([`ResponseMeter`]) |
//! | `session` | separates the responses of a WebSocket session |
//! | `tally` | counts and times of a response while it is in progress ([`ResponseTally`], [`LiveSample`]) |
//! | `arrivals` | inter-token latency: divides a gap between two reads by the tokens of the later read |
//! | `output_flow` | longest gap and burst ratio of a stream ([`OutputFlow`]) |
//! | `outcome` | how a request ended ([`Outcome`]) |
//! | `record` | the finished measurement ([`RequestRecord`]) |
//! | `slo`, `slo_verdict` | whether a request met its targets ([`SloClasses`]) |
//! | [`queue`] | estimates the wait in the server's queue |
//! | `queue_wait` | selects the most reliable source of the queue wait ([`QueueWait`]) |
//! | [`cold`] | detects cold starts |
//! | `trace` | joins the requests of a trace ([`Traces`]) |
//! | `clamped_interval` | intervals that are set to 0 if negative |
//!
//! An instant is a [`Duration`] since a start that all instants share. No code here reads a clock.
//!
//! [`Duration`]: std::time::Duration

mod arrivals;
mod clamped_interval;
pub mod cold;
mod outcome;
mod output_flow;
pub mod queue;
mod queue_wait;
mod record;
mod response;
mod session;
mod slo;
mod slo_verdict;
mod tally;
mod trace;

pub use arrivals::{Arrival, GapBasis, ReadInstant};
pub use clamped_interval::ClampedInterval;
pub use outcome::{EndCause, EndedRequest, GrpcStatus, Outcome};
pub use output_flow::{GapUpdate, OutputFlow};
pub use queue_wait::{QueueWait, QueueWaitSource};
pub use record::{
    RequestRecord, ResponseTokens, TimestampSource, TokenSource, characters_per_second,
};
pub use response::ResponseMeter;
pub use slo::{InputSizeLimits, SloClass, SloClasses, SloLimits, SloTarget};
pub use slo_verdict::SloVerdict;
pub use tally::{LiveSample, OutputKind, ResponseTally, ServerReport};
pub use trace::Traces;
