//! The clock and the two sockets: where instants come from.
//!
//! [`TimestampedIo`] wraps a socket and notes, in [`SocketTimestamps`] that the rest of the request's code can read,
//! when each read and write was completed. hyper hands over frames, of which one read may hold several
//! and which it hands over when it pleases; the stamps are the socket's.

mod clock;
mod io;
mod lag;
mod raw;
mod receive;
mod stamps;

pub use clock::now;
pub use io::{OnForwarded, TimestampedIo};
pub use lag::{lagged_since, start_heartbeat, watch_lag};
pub use raw::Socket;
pub use receive::set_socket_options;
pub use stamps::SocketTimestamps;
