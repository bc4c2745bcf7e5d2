//! The streams that run, and how long each has been silent: what a stall is counted by while it lasts.

use super::lock;
use crate::metrics::{RequestSeries, StallCounter};
use crate::socket::SocketTimestamps;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use streamgauge_core::meter::{Arrival, GapUpdate, OutputFlow, ResponseTally};

/// What output may be late by, on its way from the kernel to us, and yet end a gap before it is counted.
const GRACE: Duration = Duration::from_millis(100);
/// In [`StreamSilence::awaited`]: this gap is counted.
const COUNTED: u64 = 1;

/// The running streams of one upstream. The lock is taken at a stream's first output and its end, and to
/// look at them all.
#[derive(Debug)]
pub(super) struct RunningStreams {
    /// A silence longer than this is a stall.
    threshold: Duration,
    running: Mutex<HashMap<u64, Arc<StreamSilence>>>,
    ids: AtomicU64,
}

/// What is shared of a running stream.
#[derive(Debug)]
struct StreamSilence {
    /// Since when output is awaited, in nanoseconds of the clock that stands still while the client takes
    /// nothing; 0 if none is. The lowest bit is [`COUNTED`], so that who counts a gap and who ends it
    /// cannot miss each other.
    awaited: AtomicU64,
    client: Arc<SocketTimestamps>,
    stalls: StallCounter,
}

/// The silence of one running stream, watched until this is dropped.
#[derive(Debug)]
pub(super) struct StallWatch {
    pub flow: OutputFlow,
    pulse: Arc<StreamSilence>,
    id: u64,
    pulses: Arc<RunningStreams>,
}

impl RunningStreams {
    pub fn new(threshold: Duration) -> Self {
        Self { threshold, running: Mutex::default(), ids: AtomicU64::new(0) }
    }

    /// Watches a stream to this client, which has its first output.
    pub fn watch(
        self: &Arc<Self>,
        client: &Arc<SocketTimestamps>,
        series: &RequestSeries,
    ) -> Box<StallWatch> {
        let pulse = Arc::new(StreamSilence {
            awaited: AtomicU64::new(0),
            client: Arc::clone(client),
            stalls: series.stalls(),
        });
        let id = self.ids.fetch_add(1, Relaxed);
        self.lock().insert(id, Arc::clone(&pulse));
        Box::new(StallWatch { flow: OutputFlow::default(), pulse, id, pulses: Arc::clone(self) })
    }

    /// Counts the gaps that have become stalls; gives the longest silence there is now.
    pub fn sweep(&self, now: Duration) -> Duration {
        let running = self.lock();
        running.values().map(|pulse| pulse.look(now, self.threshold)).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<StreamSilence>>> {
        lock(&self.running)
    }
}

impl StreamSilence {
    /// For how long the stream has been silent; a stall is counted once.
    fn look(&self, now: Duration, threshold: Duration) -> Duration {
        let seen = self.awaited.load(Relaxed);
        if seen == 0 {
            return Duration::ZERO;
        }
        let now = now.saturating_sub(self.client.stall_time());
        let silence = now.saturating_sub(Duration::from_nanos(seen));
        let is_new = seen & COUNTED == 0 && silence > threshold + GRACE;
        // Output that has come meanwhile says for itself what gap it ended.
        if is_new && self.awaited.compare_exchange(seen, seen | COUNTED, Relaxed, Relaxed).is_ok() {
            self.stalls.inc();
        }
        silence
    }

    /// A gap ended: the next one begins at `awaited`, if one does.
    fn beat(&self, gap: Option<Duration>, awaited: Option<Duration>, threshold: Duration) {
        let next = awaited.map_or(0, mark);
        if gap.is_none_or(|gap| gap <= threshold) {
            self.awaited.store(next, Relaxed);
        } else if self.awaited.swap(next, Relaxed) & COUNTED == 0 {
            self.stalls.inc();
        }
    }
}

impl StallWatch {
    /// A read was accounted for.
    pub fn read(&mut self, tally: &ResponseTally, arrival: Arrival, start: Duration) {
        let held = self.pulse.client.stall_time();
        if let Some(GapUpdate { ended_gap, waiting_since }) =
            self.flow.on_read(tally, arrival, start, held)
        {
            self.pulse.beat(ended_gap, waiting_since, self.pulses.threshold);
        }
    }

    /// The stream has ended.
    pub fn end(&mut self, now: Duration) {
        let gap = self.flow.finish(now, self.pulse.client.stall_time());
        self.pulse.beat(gap, None, self.pulses.threshold);
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.pulses.lock().remove(&self.id);
    }
}

/// An instant with room for [`COUNTED`]. Five hundred years fit.
fn mark(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).max(2) & !COUNTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gap_is_counted_once_whoever_sees_it_first() {
        let at = Duration::from_secs;
        let stalls = StallCounter::alone();
        let threshold = at(2);
        let pulse = StreamSilence {
            awaited: AtomicU64::new(0),
            client: Arc::default(),
            stalls: stalls.clone(),
        };
        assert_eq!(pulse.look(at(9), threshold), Duration::ZERO, "nothing is awaited");
        pulse.beat(None, Some(at(10)), threshold);
        let told = |counted: u64| assert_eq!(stalls.get(), counted);
        assert_eq!(pulse.look(at(12), threshold), at(2));
        told(0);
        pulse.look(at(13), threshold);
        pulse.look(at(14), threshold);
        told(1);
        pulse.beat(Some(at(5)), Some(at(15)), threshold);
        told(1);
        pulse.beat(Some(at(2)), Some(at(17)), threshold);
        told(1);
        // Nobody looked while this one lasted.
        pulse.beat(Some(at(3)), Some(at(20)), threshold);
        told(2);
        pulse.look(at(23), threshold);
        pulse.beat(Some(at(4)), None, threshold);
        pulse.look(at(60), threshold);
        told(3);
    }
}
