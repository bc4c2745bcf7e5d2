//! Framing and scanning of bytes, without I/O.
//!
//! Every parser here is incremental. It accepts slices as the network delivers them, in any split, keeps a bounded
//! state between two slices, and reports its results to a callback. No parser depends on an inference API; that is
//! the task of [`crate::dialect`].
//!
//! | step | modules |
//! |---|---|
//! | request heads and boundaries | [`request_checker`], [`request_head`] |
//! | transfer coding, content coding | [`chunked`], [`coding`] |
//! | first bytes to framing | [`detection`] |
//! | body to messages | [`framing`], which selects [`sse`], [`lines`], [`json_array`], [`aws_event_stream`] (with [`base64_member`] or [`nested_stream`]), [`length_prefixed`] or [`websocket`] |
//! | message to values | `json`, `memo` (a faster `json` for repeating messages), `protobuf`, `utf8` |
//! | header values | [`request_start`] |

pub mod aws_event_stream;
pub mod base64_member;
pub mod chunked;
pub mod coding;
pub mod detection;
mod frame_event;
pub mod framing;
pub(crate) mod json;
pub mod json_array;
pub mod length_prefixed;
pub mod lines;
pub(crate) mod memo;
pub mod nested_stream;
pub(crate) mod protobuf;
pub mod reject_reason;
pub mod request_checker;
pub mod request_head;
pub mod request_start;
mod scan_event;
pub mod sse;
#[cfg(test)]
mod test_messages;
pub(crate) mod utf8;
pub mod websocket;

pub use frame_event::FrameEvent;
pub(crate) use scan_event::{ScanError, ScanEvent};
