//! What a socket's wrapper notes.

use super::clock::instant_of;
use super::now;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use streamgauge_core::meter::Arrival;

/// Instants and counts of one socket, shared between its wrapper and the request that runs on it.
///
/// One task drives both, so the atomics are plain loads and stores; they are atomics because the task may
/// move between threads, and because another thread looks for stalls. 0 means "not yet".
/// What each read touches is side by side, and what each write does.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SocketTimestamps {
    reads: AtomicU64,
    read_at: AtomicU64,
    /// When we got what the latest read brought, and the one before.
    taken_at: AtomicU64,
    after: AtomicU64,
    /// The first read since [`expect_head`](Self::expect_head).
    head_at: AtomicU64,
    /// The kernel did not say when it received what the latest read brought.
    unstamped: AtomicBool,
    is_waiting: AtomicBool,
    reset: AtomicBool,
    written_at: AtomicU64,
    /// Since when the peer has taken no byte that was offered.
    stalled_since: AtomicU64,
    stalled: AtomicU64,
    /// Arrival of the oldest frame that was handed to this socket's connection and not yet written,
    /// and the number of such frames.
    handed_since: AtomicU64,
    handed: AtomicU64,
    /// Who waits for all of them to be written.
    waiting: Mutex<Vec<Waker>>,
}

/// Adds without the price of an atomic addition: only one task writes.
fn add(count: &AtomicU64, more: u64) -> u64 {
    let before = count.load(Relaxed);
    count.store(before.wrapping_add(more), Relaxed);
    before
}

fn instant(nanos: &AtomicU64) -> Option<Duration> {
    Some(nanos.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

fn nanos(instant: Duration) -> u64 {
    // There is room for 584 years.
    instant.as_secs().saturating_mul(1_000_000_000).saturating_add(instant.subsec_nanos().into())
}

impl SocketTimestamps {
    /// The latest read.
    pub fn last_read(&self) -> Arrival {
        let (at, taken) = (self.read_at.load(Relaxed), self.taken_at.load(Relaxed));
        Arrival {
            at: Duration::from_nanos(at),
            read: self.reads.load(Relaxed),
            not_before: Duration::from_nanos(self.after.load(Relaxed)),
            read_delay: Duration::from_nanos(taken.saturating_sub(at)),
            is_stamped: !self.unstamped.load(Relaxed),
        }
    }

    /// When the latest write was completed.
    pub fn last_write(&self) -> Option<Duration> {
        instant(&self.written_at)
    }

    /// The message before is complete: the next byte read is the first of a head.
    pub fn expect_head(&self) {
        self.head_at.store(0, Relaxed);
    }

    /// When the first byte of the current head was read. Bytes that were read together with the
    /// message before (a pipelined request) arrived with the latest read.
    pub fn head_arrived_at(&self) -> Duration {
        instant(&self.head_at).unwrap_or_else(|| self.last_read().at)
    }

    /// For how long, in all, bytes were ready and the peer took none.
    pub fn stall_time(&self) -> Duration {
        let since = Duration::from_nanos(self.stalled_since.load(Acquire));
        let ongoing = if since.is_zero() { since } else { now().saturating_sub(since) };
        Duration::from_nanos(self.stalled.load(Acquire)) + ongoing
    }

    /// A frame that arrived at `at` was handed over to be written.
    pub fn frame_queued(&self, at: Duration) {
        if add(&self.handed, 1) == 0 {
            self.handed_since.store(nanos(at), Relaxed);
        }
    }

    /// Ready once all that was handed over is written to the socket.
    pub fn poll_all_written(&self, cx: &Context<'_>) -> Poll<()> {
        if self.handed.load(Relaxed) == 0 {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        drop(waiting);
        self.is_waiting.store(true, Relaxed);
        Poll::Pending
    }

    /// Whether to close the socket with a reset, so that its peer cannot take what it got for the
    /// whole.
    pub fn reset_on_close(&self, reset: bool) {
        self.reset.store(reset, Relaxed);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    /// A read was completed. `stamp` is the time since 1970 at which the kernel received its last
    /// byte, where it says. Instants never go back: two reads keep their order.
    pub(super) fn note_read(&self, stamp: Option<Duration>) {
        let now = now();
        let before = Duration::from_nanos(self.read_at.load(Relaxed));
        let stamped = stamp.and_then(|stamp| instant_of(stamp, now));
        self.unstamped.store(stamped.is_none(), Relaxed);
        let at = nanos(stamped.unwrap_or(now).max(before));
        self.read_at.store(at, Relaxed);
        self.after.store(self.taken_at.load(Relaxed), Relaxed);
        self.taken_at.store(nanos(now), Relaxed);
        add(&self.reads, 1);
        if self.head_at.load(Relaxed) == 0 {
            self.head_at.store(at, Relaxed);
        }
    }

    pub(super) fn note_write(&self) {
        let at = now();
        self.written_at.store(nanos(at), Relaxed);
        if let Some(since) = instant(&self.stalled_since) {
            // In this order: whoever reads in between counts a stall twice for a moment, and never misses one.
            self.stalled
                .store(self.stalled.load(Relaxed) + nanos(at.saturating_sub(since)), Release);
            self.stalled_since.store(0, Release);
        }
    }

    pub(super) fn note_stall(&self) {
        if self.stalled_since.load(Relaxed) == 0 {
            self.stalled_since.store(nanos(now()), Relaxed);
        }
    }

    /// All that was handed over is written: how long the oldest frame of it took since it arrived,
    /// and how many frames it were.
    pub(super) fn take_forwarded(&self) -> Option<(Duration, u64)> {
        let frames = self.handed.load(Relaxed);
        if frames == 0 {
            return None;
        }
        self.handed.store(0, Relaxed);
        if self.is_waiting.swap(false, Relaxed) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let wakers = std::mem::take(&mut *waiting);
            // Outside the lock: a waker may run anything.
            drop(waiting);
            wakers.into_iter().for_each(Waker::wake);
        }
        let written = self.last_write()?;
        Some((
            written.saturating_sub(Duration::from_nanos(self.handed_since.load(Relaxed))),
            frames,
        ))
    }
}
