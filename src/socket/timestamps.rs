//! Timestamps and counts of a socket.

use super::clock::instant_of;
use super::now;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use streamgauge_core::meter::Arrival;

/// Timestamps and counts of one socket, shared between its wrapper and the request that uses it.
///
/// One task drives both, so the atomics are plain loads and stores. They are atomics because a task's future must be
/// `Send`, and because another thread checks for stalls. Times are nanoseconds on the program's clock; 0 means "not
/// yet". Fields that each read changes are adjacent, and so are those that each write changes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SocketTimestamps {
    reads: AtomicU64,
    read_at: AtomicU64,
    /// Number of bytes of the latest read.
    read_size: AtomicUsize,
    /// When the program made the latest read, and the one before.
    taken_at: AtomicU64,
    after: AtomicU64,
    /// Arrival of the first read since [`expect_head`](Self::expect_head).
    head_at: AtomicU64,
    /// The latest read has no kernel timestamp.
    unstamped: AtomicBool,
    is_waiting: AtomicBool,
    reset: AtomicBool,
    written_at: AtomicU64,
    /// Start of the current stall: the peer accepts no byte since then.
    stalled_since: AtomicU64,
    /// Total length of earlier stalls.
    stalled: AtomicU64,
    /// Arrival of the oldest frame that is queued for this socket and not yet written, and number of such frames.
    queued_since: AtomicU64,
    queued: AtomicU64,
    /// Tasks that wait until all queued frames are written.
    waiting: Mutex<Vec<Waker>>,
}

/// Adds without an atomic addition, which would cost more: only one task writes.
fn add(count: &AtomicU64, more: u64) -> u64 {
    let before = count.load(Relaxed);
    count.store(before.wrapping_add(more), Relaxed);
    before
}

fn instant(nanos: &AtomicU64) -> Option<Duration> {
    Some(nanos.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

fn nanos(instant: Duration) -> u64 {
    // u64 has room for 584 years.
    instant.as_secs().saturating_mul(1_000_000_000).saturating_add(instant.subsec_nanos().into())
}

impl SocketTimestamps {
    /// Returns the arrival of the latest read.
    pub fn last_read(&self) -> Arrival {
        let (read_at, taken) = (self.read_at.load(Relaxed), self.taken_at.load(Relaxed));
        let at = Duration::from_nanos(read_at);
        Arrival {
            at,
            server_at: at,
            read: self.reads.load(Relaxed),
            size: self.read_size.load(Relaxed),
            not_before: Duration::from_nanos(self.after.load(Relaxed)),
            read_delay: Duration::from_nanos(taken.saturating_sub(read_at)),
            is_stamped: !self.unstamped.load(Relaxed),
            is_held: false,
        }
    }

    /// Returns when the latest write was completed.
    pub fn last_write(&self) -> Option<Duration> {
        instant(&self.written_at)
    }

    /// Marks the current message as complete: the next byte read is the first of a head.
    pub fn expect_head(&self) {
        self.head_at.store(0, Relaxed);
    }

    /// Returns when the first read of the current head arrived; `None` if no byte of it was read.
    pub fn head_began_at(&self) -> Option<Duration> {
        instant(&self.head_at)
    }

    /// Returns when the first read of the current head arrived. A pipelined request, which was read together with the
    /// previous message, arrived with the latest read.
    pub fn head_arrived_at(&self) -> Duration {
        self.head_began_at().unwrap_or_else(|| self.last_read().at)
    }

    /// Returns the total time in which data was ready to be sent and the peer accepted none.
    pub fn stall_time(&self) -> Duration {
        let since = Duration::from_nanos(self.stalled_since.load(Acquire));
        let ongoing = if since.is_zero() { since } else { now().saturating_sub(since) };
        Duration::from_nanos(self.stalled.load(Acquire)) + ongoing
    }

    /// Whether data is ready to be sent and the peer accepts none.
    pub fn is_stalled(&self) -> bool {
        self.stalled_since.load(Acquire) > 0
    }

    /// Records that a frame, which arrived at `at`, is queued to be written.
    pub fn frame_queued(&self, at: Duration) {
        if add(&self.queued, 1) == 0 {
            self.queued_since.store(nanos(at), Relaxed);
        }
    }

    /// Ready once all queued frames are written to the socket.
    pub fn poll_all_written(&self, cx: &Context<'_>) -> Poll<()> {
        if self.queued.load(Relaxed) == 0 {
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

    /// Sets whether the socket is closed with a reset, which shows the peer that the data is incomplete.
    pub fn reset_on_close(&self, reset: bool) {
        self.reset.store(reset, Relaxed);
    }

    pub(super) fn is_reset_on_close(&self) -> bool {
        self.reset.load(Relaxed)
    }

    /// Records a read of `size` bytes. `stamp`: time since 1970 at which the kernel received the last byte. Arrivals never
    /// go back, so reads keep their order.
    pub(super) fn record_read(&self, size: usize, stamp: Option<Duration>) {
        let now = now();
        let before = Duration::from_nanos(self.read_at.load(Relaxed));
        let stamped = stamp.and_then(|stamp| instant_of(stamp, now));
        self.unstamped.store(stamped.is_none(), Relaxed);
        let at = nanos(stamped.unwrap_or(now).max(before));
        self.read_at.store(at, Relaxed);
        self.read_size.store(size, Relaxed);
        self.after.store(self.taken_at.load(Relaxed), Relaxed);
        self.taken_at.store(nanos(now), Relaxed);
        add(&self.reads, 1);
        if self.head_at.load(Relaxed) == 0 {
            self.head_at.store(at, Relaxed);
        }
    }

    pub(super) fn record_write(&self) {
        let at = now();
        self.written_at.store(nanos(at), Relaxed);
        if let Some(since) = instant(&self.stalled_since) {
            // In this order, a concurrent reader can count a stall twice for a moment, but never misses it.
            self.stalled
                .store(self.stalled.load(Relaxed) + nanos(at.saturating_sub(since)), Release);
            self.stalled_since.store(0, Release);
        }
    }

    pub(super) fn record_stall(&self) {
        if self.stalled_since.load(Relaxed) == 0 {
            self.stalled_since.store(nanos(now()), Relaxed);
        }
    }

    /// Takes all queued frames, which are now written. Returns the time from the oldest frame's arrival to the latest
    /// write, and the number of frames.
    pub(super) fn take_forwarded(&self) -> Option<(Duration, u64)> {
        let frames = self.queued.load(Relaxed);
        if frames == 0 {
            return None;
        }
        self.queued.store(0, Relaxed);
        if self.is_waiting.swap(false, Relaxed) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let wakers = std::mem::take(&mut *waiting);
            // Outside the lock: a waker can run any code.
            drop(waiting);
            wakers.into_iter().for_each(Waker::wake);
        }
        let written = self.last_write()?;
        Some((
            written.saturating_sub(Duration::from_nanos(self.queued_since.load(Relaxed))),
            frames,
        ))
    }
}
