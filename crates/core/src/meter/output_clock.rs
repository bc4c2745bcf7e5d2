//! Clock of the server's output, which stands still while the server may be waiting for a slow client.
//!
//! While a client accepts no bytes (a *pause*), Streamgauge reads nothing from the server. The bytes of the server lie in
//! the kernel, and when the kernel accepts no more, the server has to wait. Two things are then unknown:
//!
//! - **When the server could write again.** It may have been blocked from the last byte that arrived until the read that
//!   made room.
//! - **When the bytes arrived.** The kernel's stamp is that of the last byte. Without stamps, the bytes may have arrived at
//!   any time in the pause.
//!
//! The clock therefore excludes the pause, unless the first read after it shows that nothing is unknown: if it has a stamp
//! and returned few bytes, the kernel had room, so the server was never blocked. Gaps on this clock are never longer than
//! the server's own gaps. Example: the client pauses from 10 s to 13 s. The read at 13 s returns 60 KiB, whose last byte
//! arrived at 10.5 s. The server may have been blocked from 10.5 s to 13 s. On the clock it is 10 s at both ends of the
//! pause, and the gap to the next output at 13.1 s is 0.1 s. If the read returned 300 bytes, the gap is 2.6 s, as the
//! server made it.

use super::arrivals::Arrival;
use std::time::Duration;

/// A read of fewer bytes shows that the server was not blocked. It is the smallest receive buffer of Linux
/// (the first value of `tcp_rmem`).
const ROOM: usize = 4096;

/// State of the client when a read is measured.
#[derive(Debug, Clone, Copy)]
pub struct ClientPauses {
    /// Total time for which the client accepted no bytes.
    pub total: Duration,
    /// The present.
    pub now: Duration,
    /// Each read is measured at once, and returns bytes of this stream only. False if a library reads ahead, or if
    /// several streams share the socket: the stamp can then be that of other bytes.
    pub is_direct: bool,
}

/// Clock of one response.
#[derive(Debug, Default)]
pub struct OutputClock {
    /// Pauses of the client until the latest read.
    pauses: Duration,
    /// Time that was excluded so far.
    excluded: Duration,
    /// The clock shows at least this. Bytes that arrived in excluded time have it as their arrival.
    floor: Duration,
    /// Number of the first read after the latest pause, and its time on this clock. Reads are numbered from 1.
    read_after_pause: u64,
    resumed: Duration,
}

impl OutputClock {
    /// A clock that has excluded nothing. `pauses`: total time for which the client accepted no bytes.
    pub fn new(pauses: Duration) -> Self {
        Self { pauses, ..Self::default() }
    }

    /// Total time for which the client accepted no bytes, at the latest read.
    pub fn pauses(&self) -> Duration {
        self.pauses
    }

    /// Time that the clock has excluded so far.
    pub fn excluded(&self) -> Duration {
        self.excluded
    }

    /// Reading of the clock at `now`. The pauses since the latest read are excluded.
    pub fn read(&self, now: Duration, pauses: Duration) -> Duration {
        let pause = pauses.saturating_sub(self.pauses);
        now.saturating_sub(pause).saturating_sub(self.excluded).max(self.floor)
    }

    /// Length of the gap from an output at `last`, on this clock, to the end of the connection at `now`. The end has no
    /// timestamp, so it may have come in the pause before the latest read.
    pub fn gap_to_end(&self, last: Duration, now: Duration, pauses: Duration) -> Duration {
        self.read(now, pauses).saturating_sub(last.max(self.resumed))
    }

    /// Places a read on the clock, before which the client did not pause.
    #[inline]
    pub fn place(&self, arrival: &mut Arrival) {
        // The bytes of one read can be measured in several parts.
        arrival.is_held = arrival.read == self.read_after_pause;
        if !self.excluded.is_zero() {
            arrival.server_at = arrival.at.saturating_sub(self.excluded).max(self.floor);
        }
    }

    /// Places the first read after a pause of the client. Call it before the read is measured.
    #[cold]
    pub fn place_after_pause(&mut self, arrival: &mut Arrival, client: ClientPauses) {
        let pause = client.total.saturating_sub(self.pauses);
        self.pauses = client.total;
        self.read_after_pause = arrival.read;
        arrival.is_held = true;
        let is_exact = client.is_direct && arrival.is_stamped && arrival.size < ROOM;
        if is_exact {
            arrival.server_at = arrival.at.saturating_sub(self.excluded).max(self.floor);
        } else {
            // Not before the previous read, which was on the clock as it was.
            let previous = arrival.not_before.saturating_sub(self.excluded);
            let at = arrival.at.saturating_sub(self.excluded + pause).max(previous).max(self.floor);
            (arrival.server_at, self.floor) = (at, at);
            self.excluded = client.now.saturating_sub(at);
        }
        self.resumed = client.now.saturating_sub(self.excluded);
    }
}

#[cfg(test)]
#[path = "output_clock_tests.rs"]
mod tests;
