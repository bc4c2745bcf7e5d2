//! The kernel's receive timestamps (`SO_TIMESTAMPNS`, socket(7)), converted to `clock::now`.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::clock::{nanos, now};

/// Number of readings of both clocks, of which the least disturbed counts.
const LOOKS: usize = 100;

/// Enables receive timestamps on `socket`.
pub fn enable(socket: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

/// Waits for bytes and reads them into `buffer`. Returns their number, and the wall-clock time at which the kernel received
/// the last one, if known.
pub async fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
    socket
        .async_io(Interest::READABLE, || {
            let (mut control, mut slices) = (nix::cmsg_space!(TimeSpec), [IoSliceMut::new(buffer)]);
            let fd = socket.as_raw_fd();
            let message = recvmsg::<()>(fd, &mut slices, Some(&mut control), MsgFlags::empty())?;
            let stamp = message.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(nanos(time.into())),
                _ => None,
            });
            Ok((message.bytes, stamp.filter(|stamp| *stamp > 0)))
        })
        .await
}

/// Returns how far the wall clock is ahead of the monotonic clock, in nanoseconds. It changes only when the wall clock is
/// set, because both are slewed together.
pub fn wall_ahead() -> u64 {
    let look = |_| {
        let before = now();
        let wall = ClockId::CLOCK_REALTIME.now().map_or(0, |at| nanos(at.into()));
        let between = now() - before;
        (between, wall.saturating_sub(before + between / 2))
    };
    (0..LOOKS).map(look).min().map_or(0, |(_, ahead)| ahead)
}
