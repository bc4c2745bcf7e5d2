//! The clock, and sockets that record when bytes arrived and left.
//!
//! [`TimestampedIo`] wraps a socket and records each read and write in its [`SocketTimestamps`]. The measurement uses
//! these times and not those of hyper's frames: one read can contain several frames, and hyper can delay them.

mod clock;
mod io;
mod lag;
mod raw;
mod receive;
mod timestamps;

pub use clock::now;
pub use io::{OnForwarded, TimestampedIo};
pub use lag::{lagged_since, measure_lag, start_heartbeat};
pub use raw::Socket;
pub use receive::set_socket_options;
pub use timestamps::SocketTimestamps;
