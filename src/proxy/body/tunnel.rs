//! Tunnel of a connection that has switched to another protocol: bytes in both directions, until both have ended.

use crate::socket::TimestampedIo;
use crate::tap::Measurement;
use bytes::{Buf, BytesMut};
use hyper::rt::Write;
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use streamgauge_core::meter::EndCause;

/// Maximum number of bytes per direction that wait to be written. Nothing more is read until they are.
const MAX_UNSENT: usize = 64 * 1024;
/// Maximum number of reads per direction and poll of the task; then other tasks run.
const MAX_READS: usize = 16;

/// Upstream side of a connection after its 101 response.
#[derive(Debug)]
pub(crate) struct UpgradedUpstream {
    pub io: TimestampedIo,
    /// Bytes that were read together with the head of the 101.
    pub first: BytesMut,
    pub measurement: Measurement,
}

/// Moves bytes between a client and the upstream.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: TimestampedIo,
    upstream: TimestampedIo,
    down: TunnelDirection,
    up: TunnelDirection,
    measurement: Measurement,
}

/// State of one direction.
#[derive(Debug, Default)]
struct TunnelDirection {
    unsent: BytesMut,
    /// All data is sent, but part of it may still be in the TLS layer.
    flush_pending: bool,
    /// The sender has closed its side.
    ended: bool,
    /// The end was forwarded to the receiver.
    closed: bool,
}

/// Side of a direction on which an error occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenSide {
    Sender,
    Receiver,
}

impl Tunnel {
    /// Returns a tunnel that first sends `head` to the client. `ahead`: bytes that the client has sent after its request.
    pub fn new(
        client: TimestampedIo,
        head: BytesMut,
        ahead: BytesMut,
        upstream: UpgradedUpstream,
    ) -> Self {
        let UpgradedUpstream { io: upstream, first, mut measurement } = upstream;
        let mut unsent = head;
        if !first.is_empty() {
            measurement.on_response_data(&first);
            unsent.extend_from_slice(&first);
        }
        if !ahead.is_empty() {
            measurement.on_client_data(&ahead);
        }
        let down = TunnelDirection { unsent, ..TunnelDirection::default() };
        let up = TunnelDirection { unsent: ahead, ..TunnelDirection::default() };
        Self { client, upstream, down, up, measurement }
    }

    /// Does the I/O that is possible now. Ready once both directions have ended, or one is broken.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { client, upstream, down, up, measurement } = self;
        for _ in 0..MAX_READS {
            let downward =
                down.poll(cx, upstream, client, |bytes| measurement.on_response_data(bytes));
            let mut upward =
                up.poll(cx, client, upstream, |bytes| measurement.on_client_data(bytes));
            if upward == Err(BrokenSide::Receiver) && down.ended {
                // The upstream has sent everything and no longer reads.
                up.closed = true;
                upward = Ok(Poll::Ready(()));
            }
            if downward == Err(BrokenSide::Sender) || upward == Err(BrokenSide::Receiver) {
                measurement.finish(EndCause::UpstreamFailed);
                client.timestamps().reset_on_close(true);
                return Poll::Ready(());
            }
            if down.closed && up.closed {
                measurement.complete();
                return Poll::Ready(());
            }
            if downward.is_err() || upward.is_err() {
                // Dropping the measurement records that the client has disconnected.
                return Poll::Ready(());
            }
            if downward == Ok(Poll::Pending) && upward == Ok(Poll::Pending) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl TunnelDirection {
    /// Sends waiting data, or reads once and sends that. `record` receives the data that was read. Returns `Pending` if
    /// neither is possible now, or if the direction is closed.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TimestampedIo,
        to: &mut TimestampedIo,
        mut record: impl FnMut(&[u8]),
    ) -> Result<Poll<()>, BrokenSide> {
        thread_local! {
            static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        if self.closed || self.poll_send(cx, to)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if self.ended {
            let closed = Pin::new(to).poll_shutdown(cx);
            return match closed {
                Poll::Pending => Ok(Poll::Pending),
                // An error means that the receiver has closed its connection already.
                Poll::Ready(_) => {
                    self.closed = true;
                    Ok(Poll::Ready(()))
                }
            };
        }
        OUT.with_borrow_mut(|out| {
            out.clear();
            let received = from.poll_receive(cx, MAX_UNSENT, |bytes| {
                record(bytes);
                out.extend_from_slice(bytes);
            });
            match received {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(BrokenSide::Sender),
                Poll::Ready(Ok(0)) => {
                    self.ended = true;
                    return Ok(Poll::Ready(()));
                }
                Poll::Ready(Ok(_)) => {}
            }
            let sent = match to.poll_send(cx, out) {
                Poll::Ready(sent) => sent.map_err(|_| BrokenSide::Receiver)?,
                Poll::Pending => 0,
            };
            self.unsent.extend_from_slice(out.get(sent..).unwrap_or_default());
            self.flush_pending = true;
            Ok(Poll::Ready(()))
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut TimestampedIo,
    ) -> Result<Poll<()>, BrokenSide> {
        match self.poll_unsent(cx, to) {
            Poll::Ready(Err(_)) => Err(BrokenSide::Receiver),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_unsent(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut TimestampedIo,
    ) -> Poll<std::io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(to.poll_send(cx, &self.unsent))?;
            self.unsent.advance(sent);
            self.flush_pending = true;
        }
        if self.flush_pending {
            ready!(to.poll_sent(cx))?;
            self.flush_pending = false;
            // Release the buffer's memory.
            self.unsent = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}
