//! What the bytes of a response amount to: pure, on instants that are handed in.
//!
//! [`ResponseMeter`] reads the response of one request and keeps its [`ResponseTally`]; [`session`] tells apart the many
//! responses of a WebSocket; [`arrivals`] shares gaps out over tokens; [`OutputFlow`] tells how evenly output comes;
//! [`queue`] estimates a wait in the server, and [`queue_wait`] picks its best source; [`trace`] joins the calls of
//! a trace; [`outcome`] says how a request ended and [`slo`] whether it met its targets; [`RequestRecord`] is the finished
//! account, one line of the request log. [`cold`] finds cold starts. An instant is a [`Duration`] since some start
//! that all instants share.
//!
//! [`Duration`]: std::time::Duration

mod arrivals;
pub mod cold;
mod flow;
mod interval;
mod outcome;
pub mod queue;
mod queue_wait;
mod record;
mod response;
mod session;
mod slo;
mod tally;
mod trace;

pub use arrivals::{Arrival, GapBasis, ReadInstant};
pub use flow::{GapUpdate, OutputFlow};
pub use interval::ClampedInterval;
pub use outcome::{EndCause, EndedRequest, GrpcStatus, Outcome};
pub use queue_wait::{QueueWait, QueueWaitSource};
pub use record::{
    RequestRecord, ResponseTokens, TimestampSource, TokenSource, characters_per_second,
};
pub use response::ResponseMeter;
pub use slo::{InputSizeLimits, SloClass, SloClasses, SloLimits, SloTarget, SloVerdict};
pub use tally::{LiveSample, OutputKind, ResponseTally, ServerReport};
pub use trace::Traces;
