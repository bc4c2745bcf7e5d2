//! Framing and scanning of bytes, without any I/O.
//!
//! Everything here is incremental: it takes slices as the network delivers them, in any split, keeps
//! a bounded state between two slices, and calls back with what it found. Nothing here knows what an
//! inference API is; that is [`crate::dialect`].

pub mod aws_event_stream;
pub mod base64_member;
pub mod chunked;
pub mod coding;
mod frame_event;
pub mod framing;
pub mod json;
pub mod json_array;
pub mod length_prefixed;
pub mod lines;
pub mod memo;
pub mod protobuf;
pub mod request_start;
mod scan_event;
pub mod sse;
#[cfg(test)]
mod test_messages;
pub mod utf8;
pub mod websocket;

pub use frame_event::FrameEvent;
pub use scan_event::{ScanError, ScanEvent};
