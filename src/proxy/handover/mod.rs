//! Hand-over of connections between hyper and Streamgauge's own relay.
//!
//! hyper parses and writes heads (request line or status line, and headers) and enforces HTTP's rules. It does not carry
//! HTTP/1.1 streams (bodies without a declared length): the [`Relay`](super::body::Relay) moves them from socket to
//! socket with one read and one write per chunk. Both sockets therefore change owner during a request:
//!
//! ```text
//! client socket      ClientPhase                       upstream socket    GateState
//!
//!   Sniffing                                             UpstreamConnection::Socket or ::Hyper
//!      | start_protocol                                       | UpstreamExchange::send
//!      v                                                      v
//!   Http1 (hyper) <-------------------+                  NewRequest      hyper writes the request
//!      | request read, forwarded      |                       | first use of the socket
//!      |                              |                       v
//!      | <--- response head ----------|------------------ ReadingHead    hyper reads the response head
//!      |                              |                       |
//!      |  HandoverState               |          +------------+------------------+
//!      |  Hyper: hyper writes         |          | take_socket                   | read_body_with_hyper
//!      |    | start                   |          v                               v
//!      |  CollectingHead              |     StreamReader or Tunnel            Open
//!      |    | hyper flushes           |     reads the socket               hyper reads the body
//!      |  HeadComplete                |          |                               |
//!      |    | finish                  |          | body complete                 | body complete
//!      v    v                         |          v                               v
//!   Stream (Relay) -- end_stream -----+     UpstreamConnection::Socket   UpstreamConnection::Hyper
//!   Tunnel               |                  (back in the pool)           (back in the pool)
//!      |                 | linger
//!      |                 v
//!      |             Lingering
//!      v                 |
//!   Closed <-------------+
//! ```
//!
//! The left and the right side are independent until the response head has arrived. Then
//! [`ProxyService`](super::forward::ProxyService) decides for both:
//!
//! - A stream without a declared length, or a 101: `take_socket` on the upstream side, `start` on the client side.
//! - Everything else: `read_body_with_hyper`, and hyper also sends the body to the client. This includes bodies with a
//!   `Content-Length`, HTTP/2 on either side, and responses that start before the request is completely sent.
//!
//! A response that starts before the request is completely received is the last of its connection. After it, `Http1` leads
//! to `Lingering`, which discards what the client still sends. A stream that is the last leads there if bytes are unread.
//!
//! From `ReadingHead`, the gate goes to `HeldBack` if hyper asks for more bytes although the head is complete. That
//! happens if hyper's parser sees the end of the head elsewhere; hyper is right, and the gate opens.
//!
//! # Assumptions about hyper
//!
//! hyper has no API for such a hand-over, so this module depends on how hyper uses its sockets. Each line has a test:
//!
//! | hyper ... | test |
//! |---|---|
//! | client: returns a response once its head is read | `head_gate::tests::hyper_returns_the_head_without_the_body` |
//! | client: keeps no byte in its own buffer after the head | the same |
//! | client: flushes only after it has written all its buffers | `head_gate::tests::hyper_flushes_only_when_the_whole_request_is_written` |
//! | client: finds the end of a head where [`head_end`] does, or asks for more | `head_end::tests`, `tests/proxy/transparency_framing.rs` |
//! | server: writes the head before it needs the body, and then flushes | `response_handover::tests::hyper_writes_the_whole_head_and_then_flushes` |
//! | server: waits for a body that is pending | the same |
//! | server: returns bytes of the next request from `into_parts` | `response_handover::tests::hyper_returns_the_bytes_of_the_next_request`, `tests/proxy/connections.rs` |
//! | server: writes `connection: close` if it will close | `response_handover::tests::hyper_announces_that_it_closes`, `tests/proxy/connections.rs` |
//! | server: closes after a response with `connection: close` | `tests/proxy/drain.rs` |
//! | server: closes an idle connection at once in a graceful shutdown | `tests/product/shutdown.rs` |
//! | server: writes or flushes in each turn, also while it does not read | `tests/proxy/departures.rs` |
//! | client: reads on while a write is pending | `head_gate::tests::a_broken_write_does_not_hide_the_response` |
//! | server: ends after a 101, and only shuts the socket down | `response_handover::tests::the_socket_stays_open_after_a_101`, `tests/proxy/upgrade.rs` |
//!
//! # Socket wrappers
//!
//! [`ClientIo`](response_handover::ClientIo) and [`HeadGate`](head_gate::HeadGate) wrap the sockets that hyper owns.
//! `ClientIo` also checks each request before hyper reads it ([`request_gate`]). They
//! share state with the code outside hyper through `ResponseHandover` and `HeadGateControl`: one atomic each, which is
//! loaded per read or write. The only lock is taken twice per hand-over.

mod client_connection;
mod client_requests;
mod head_end;
mod head_gate;
mod request_gate;
mod response_handover;
mod upstream_exchange;

pub(crate) use client_connection::ClientConnection;
pub(crate) use client_requests::{ClientRequests, OpenRequest};
pub(crate) use request_gate::reject_reason;
pub(crate) use response_handover::{DetachedBody, DetachedResponse, ResponseHandover};
pub(crate) use upstream_exchange::{SendError, UpstreamConnection, UpstreamExchange};
