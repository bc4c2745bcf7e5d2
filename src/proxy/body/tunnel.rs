//! A connection that has switched to another protocol: bytes, in both directions, until both have ended.

use crate::socket::TimestampedIo;
use crate::tap::Measurement;
use bytes::{Buf, BytesMut};
use hyper::rt::Write;
use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use streamgauge_core::meter::EndCause;

/// Most bytes of a direction that wait to be written; nothing more is read meanwhile.
const MAX_UNSENT: usize = 64 * 1024;
/// Most reads of one direction before others have their turn.
const TURNS: usize = 16;

/// The upstream's side of a connection that has switched.
#[derive(Debug)]
pub(crate) struct UpgradedUpstream {
    pub io: TimestampedIo,
    /// What was read behind the head of its 101.
    pub first: BytesMut,
    pub measurement: Measurement,
}

/// Carries bytes between a client and the upstream.
#[derive(Debug)]
pub(crate) struct Tunnel {
    client: TimestampedIo,
    upstream: TimestampedIo,
    down: TunnelDirection,
    up: TunnelDirection,
    measurement: Measurement,
}

/// One direction.
#[derive(Debug, Default)]
struct TunnelDirection {
    unsent: BytesMut,
    /// All was sent, and part of it may wait above the socket (TLS).
    held: bool,
    /// The sender has ended its direction.
    ended: bool,
    /// So has the other side been told.
    closed: bool,
}

/// Which side of a direction broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokenSide {
    Sender,
    Receiver,
}

impl Tunnel {
    /// Sends `head` to the client, and goes on with what it has sent behind its request.
    pub fn new(
        client: TimestampedIo,
        head: BytesMut,
        ahead: BytesMut,
        switched: UpgradedUpstream,
    ) -> Self {
        let UpgradedUpstream { io: upstream, first, mut measurement } = switched;
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

    /// Does what can be done now; ready once both directions have ended, or one is broken.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { client, upstream, down, up, measurement } = self;
        for _ in 0..TURNS {
            let downward =
                down.poll(cx, upstream, client, |bytes| measurement.on_response_data(bytes));
            let mut upward =
                up.poll(cx, client, upstream, |bytes| measurement.on_client_data(bytes));
            if upward == Err(BrokenSide::Receiver) && down.ended {
                // It has said all, and listens no more.
                up.closed = true;
                upward = Ok(Poll::Ready(()));
            }
            if downward == Err(BrokenSide::Sender) || upward == Err(BrokenSide::Receiver) {
                measurement.finish(EndCause::UpstreamFailed);
                client.stamps().reset_on_close(true);
                return Poll::Ready(());
            }
            if down.closed && up.closed {
                measurement.complete();
                return Poll::Ready(());
            }
            if downward.is_err() || upward.is_err() {
                // The drop says that the client has left.
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
    /// Sends what is left, or reads once and sends that. Pending if neither can be done now, or nothing is
    /// left to do.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TimestampedIo,
        to: &mut TimestampedIo,
        mut show: impl FnMut(&[u8]),
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
                // A receiver that has closed already knows.
                Poll::Ready(_) => {
                    self.closed = true;
                    Ok(Poll::Ready(()))
                }
            };
        }
        OUT.with_borrow_mut(|out| {
            out.clear();
            let received = from.poll_receive(cx, MAX_UNSENT, |bytes| {
                show(bytes);
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
            self.held = true;
            Ok(Poll::Ready(()))
        })
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut TimestampedIo,
    ) -> Result<Poll<()>, BrokenSide> {
        let sent = self.poll_unsent(cx, to).map(|sent| sent.map_err(|_| BrokenSide::Receiver));
        match sent {
            Poll::Ready(Err(broken)) => Err(broken),
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
            self.held = true;
        }
        if self.held {
            ready!(to.poll_sent(cx))?;
            self.held = false;
            // Its memory is given back.
            self.unsent = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}
