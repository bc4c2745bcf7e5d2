//! The kernel's stamp of what a socket receives (`SO_TIMESTAMPNS`, socket(7)), told on [`clock::now`].

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

/// So often the two clocks are looked at, to have one look that nothing came between.
const LOOKS: usize = 100;

/// Asks the kernel to stamp what `socket` receives.
pub fn enable(socket: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

/// Waits for bytes and reads them into `buffer`: how many, and when the kernel received the last of them by the
/// wall's clock, where it says.
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

/// How far the wall's clock is ahead of ours, nanoseconds. That changes only when it is set: what adjusts its
/// speed adjusts ours alike.
pub fn wall_ahead() -> u64 {
    let look = |_| {
        let before = now();
        let wall = ClockId::CLOCK_REALTIME.now().map_or(0, |at| nanos(at.into()));
        let between = now() - before;
        (between, wall.saturating_sub(before + between / 2))
    };
    (0..LOOKS).map(look).min().map_or(0, |(_, ahead)| ahead)
}
