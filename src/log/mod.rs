//! The two logs of the process: standard error and the request log.
//!
//! Nothing that is written can stop or slow down traffic. Each log has a bounded queue and a writer thread
//! ([`LogWriter`]). A caller puts a line into the queue ([`LogSender`]) and never waits: if the queue is full, the line
//! is dropped and counted. Only the writer thread waits for an output that accepts no bytes, such as a pipe that
//! nobody reads. At shutdown it gets a deadline.
//!
//! [`LogOutput`] knows files, pipes, FIFOs and terminals. [`StandardErrorLog`] connects `tracing` and panic messages
//! to a queue, and [`RepeatLimit`](repeat_limit::RepeatLimit) limits repeated lines. The crate `tracing-appender` has a
//! similar writer, but it does not count failed writes, does not reopen files, and prints its own errors to
//! standard output.

mod output;
mod repeat_limit;
mod standard_error;
mod writer;

pub use output::LogOutput;
pub use repeat_limit::UNLIMITED;
pub use standard_error::{LogLevelHandle, StandardErrorLog, take_dropped_lines};
pub use writer::{LogEvents, LogSender, LogWriter, QueuedLine};
