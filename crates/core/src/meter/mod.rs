//! What the bytes of a response amount to: pure, on instants that are handed in.
//!
//! [`Meter`] reads the response of one request and keeps its [`Tally`]; [`session`] tells apart the many
//! responses of a WebSocket; [`arrivals`] shares gaps out over tokens; [`Flow`] tells how evenly output comes;
//! [`queue`] estimates a wait in the server, and [`queue_wait`] picks its best source; [`trace`] joins the calls of
//! a trace; [`outcome`] says how a request ended and [`slo`] whether it met its targets; [`Record`] is the finished
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

pub use arrivals::{Arrival, Basis, ReadAt};
pub use flow::{Flow, Heard};
pub use interval::Interval;
pub use outcome::{CallStatus, End, Ended, Outcome};
pub use queue_wait::{QueueSource, QueueWait};
pub use record::{Clock, Record, TokenSource, Tokens, characters_per_second};
pub use response::Meter;
pub use slo::{Limits, Met, SizeLimits, SloClass, SloClasses, Target};
pub use tally::{Kind, Sample, Tally, Told};
pub use trace::Traces;
