//! What the bytes of a response amount to: pure, on instants that are handed in.
//!
//! [`Meter`] reads the response of one request and keeps its [`Tally`]; [`session`] tells apart the many
//! responses of a WebSocket; [`arrivals`] shares gaps out over tokens; [`outcome`] says how a request ended; [`queue`]
//! estimates how long it waited; [`Record`] is the finished account, one line of
//! the request log. An instant is a [`Duration`] since some start that all instants share.
//!
//! [`Duration`]: std::time::Duration

mod arrivals;
mod outcome;
pub mod queue;
mod record;
mod response;
mod session;
mod tally;

pub use arrivals::Basis;
pub use outcome::{CallStatus, End, Ended, Outcome};
pub use record::{Clock, Record, TokenSource, Tokens, characters_per_second};
pub use response::Meter;
pub use tally::{Arrival, Kind, Sample, Tally, Told};
