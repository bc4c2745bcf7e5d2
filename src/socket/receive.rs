//! Reads from a socket together with the kernel's receive timestamp.

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt,
    sockopt::{
        KeepAlive, ReceiveTimestampns, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpNoDelay,
    },
};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Maximum number of bytes per read.
const MAX_READ: usize = 64 * 1024;
/// Idle time after which the kernel checks whether the peer is still there, in seconds.
const KEEP_ALIVE_IDLE: u32 = 60;
/// Time between two checks, in seconds.
const KEEP_ALIVE_INTERVAL: u32 = 15;
/// Number of checks without a reply after which the connection is broken.
const KEEP_ALIVE_COUNT: u32 = 4;
/// Size of one control message with a `timespec`.
const CONTROL: usize = 64;

/// Read buffer shared by all sockets of a thread, so that an idle socket needs none. The alignment is that of control
/// messages.
#[repr(align(16))]
struct ReadScratch {
    control: [u8; CONTROL],
    data: [u8; MAX_READ],
}

/// Result of a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketRead {
    pub bytes: usize,
    /// The read has emptied the socket.
    pub drained: bool,
}

/// Sets the options of a socket. On Linux, accepted sockets inherit them from the listening socket.
///
/// Disables Nagle's algorithm, which would delay tokens. `kernel_stamps` enables the kernel's receive timestamps
/// (`SO_TIMESTAMPNS`, socket(7)). If the kernel refuses, reads have no timestamp.
///
/// Keep-alive finds peers that have vanished without closing, after two minutes. There is no `TCP_USER_TIMEOUT`: it would
/// also break connections to clients that pause reading, because unanswered probes of a closed window count.
pub fn set_socket_options(socket: &impl AsFd, kernel_stamps: bool) {
    // Fails if the socket was reset in the meantime. The first read will return that error.
    let _ = setsockopt(socket, TcpNoDelay, &true);
    let _ = setsockopt(socket, KeepAlive, &true);
    let _ = setsockopt(socket, TcpKeepIdle, &KEEP_ALIVE_IDLE);
    let _ = setsockopt(socket, TcpKeepInterval, &KEEP_ALIVE_INTERVAL);
    let _ = setsockopt(socket, TcpKeepCount, &KEEP_ALIVE_COUNT);
    if kernel_stamps {
        let _ = setsockopt(socket, ReceiveTimestampns, &true);
    }
}

/// Reads at most `max` bytes and passes them to `take`, with the time since 1970 at which the kernel received the last
/// byte. There is no timestamp on other systems, for other kinds of sockets, and for the first packets after the option
/// was set.
pub(super) fn receive(
    socket: &impl AsRawFd,
    max: usize,
    take: impl FnOnce(&[u8], Option<Duration>),
) -> io::Result<SocketRead> {
    thread_local! {
        static SCRATCH: RefCell<Box<ReadScratch>> =
            RefCell::new(Box::new(ReadScratch { control: [0; CONTROL], data: [0; MAX_READ] }));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let ReadScratch { control, data } = &mut **scratch;
        let max = max.min(MAX_READ);
        let (data, _) = data.split_at_mut(max);
        let mut slices = [IoSliceMut::new(data)];
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(control), MsgFlags::empty())?;
        let bytes = message.bytes;
        let stamp = message.cmsgs().ok().and_then(|mut messages| messages.find_map(timestamp));
        take(data.get(..bytes).unwrap_or_default(), stamp);
        // A read that does not fill its buffer has emptied the socket (epoll(7)).
        Ok(SocketRead { bytes, drained: bytes > 0 && bytes < max })
    })
}

fn timestamp(message: ControlMessageOwned) -> Option<Duration> {
    let ControlMessageOwned::ScmTimestampns(time) = message else { return None };
    let nanos = u32::try_from(time.tv_nsec()).ok()?;
    Some(Duration::new(u64::try_from(time.tv_sec()).ok()?, nanos)).filter(|time| !time.is_zero())
}
