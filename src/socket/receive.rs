//! Reads a socket together with the kernel's stamp of what it brought.

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt,
    sockopt::{ReceiveTimestampns, TcpNoDelay},
};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Most bytes that one read takes.
const MAX_READ: usize = 64 * 1024;
/// Room for one control message with a `timespec`.
const CONTROL: usize = 64;

/// A buffer that all sockets of a thread read into, so that none needs one of its own while it is
/// silent. Aligned as control messages are.
#[repr(align(16))]
struct ReadScratch {
    control: [u8; CONTROL],
    data: [u8; MAX_READ],
}

/// What a read brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketRead {
    pub bytes: usize,
    /// The socket held no more than this.
    pub drained: bool,
}

/// Prepares a socket, or with a listening socket all that it accepts (Linux has them inherit it): tokens
/// must not wait for Nagle's algorithm, and with `stamps` the kernel is asked to stamp what arrives
/// (`SO_TIMESTAMPNS`, socket(7)). Where it refuses, reads have no stamp.
pub fn set_socket_options(socket: &impl AsFd, stamps: bool) {
    // A socket that was reset in the meantime refuses; its first read will say so.
    let _ = setsockopt(socket, TcpNoDelay, &true);
    if stamps {
        let _ = setsockopt(socket, ReceiveTimestampns, &true);
    }
}

/// Reads what is there, at most `most` bytes, and shows it to `take`, with the time since 1970 at which
/// the kernel received its last byte. There is none where it does not say: other systems, other kinds of
/// sockets, the first packets after the option was set.
pub(super) fn receive(
    socket: &impl AsRawFd,
    most: usize,
    take: impl FnOnce(&[u8], Option<Duration>),
) -> io::Result<SocketRead> {
    thread_local! {
        static SCRATCH: RefCell<Box<ReadScratch>> =
            RefCell::new(Box::new(ReadScratch { control: [0; CONTROL], data: [0; MAX_READ] }));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let ReadScratch { control, data } = &mut **scratch;
        let most = most.min(MAX_READ);
        let (data, _) = data.split_at_mut(most);
        let mut slices = [IoSliceMut::new(data)];
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(control), MsgFlags::empty())?;
        let bytes = message.bytes;
        let stamp = message.cmsgs().ok().and_then(|mut messages| messages.find_map(stamp_of));
        take(data.get(..bytes).unwrap_or_default(), stamp);
        // A read of a stream that fills less than its buffer has emptied the socket (epoll(7)).
        Ok(SocketRead { bytes, drained: bytes > 0 && bytes < most })
    })
}

fn stamp_of(message: ControlMessageOwned) -> Option<Duration> {
    let ControlMessageOwned::ScmTimestampns(time) = message else { return None };
    let nanos = u32::try_from(time.tv_nsec()).ok()?;
    Some(Duration::new(u64::try_from(time.tv_sec()).ok()?, nanos)).filter(|time| !time.is_zero())
}
