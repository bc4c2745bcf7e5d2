//! Running streams and how long each has been without output, so that a stall is counted while it lasts.

use super::lock;
use crate::metrics::{RequestSeries, StallCounter};
use crate::socket::SocketTimestamps;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use streamgauge_core::meter::{Arrival, GapUpdate, OutputFlow, ResponseTally};

/// Time that a running gap must exceed the threshold by before it is counted. Output that arrived in time may be read
/// this much later.
const GRACE: Duration = Duration::from_millis(100);
/// Flag in [`StreamSilence::gap_start`]: this gap was counted.
const COUNTED: u64 = 1;

/// Running streams of one upstream. The lock is taken at the first output and the end of each stream, and to search for
/// stalls.
#[derive(Debug)]
pub(super) struct RunningStreams {
    /// A gap longer than this number of nanoseconds is a stall, in streams that start from now on.
    threshold: AtomicU64,
    running: Mutex<HashMap<u64, Arc<StreamSilence>>>,
    ids: AtomicU64,
}

/// The current gap of a running stream, shared by the stream and the search for stalls.
#[derive(Debug)]
struct StreamSilence {
    /// Start of the current gap in nanoseconds, on a clock that stops while the client accepts no bytes; 0 if no output
    /// is expected. The lowest bit is [`COUNTED`]: start and flag change in one atomic step, so that a gap that is
    /// counted and ended at the same time is counted once.
    gap_start: AtomicU64,
    /// A gap longer than this is a stall.
    threshold: Duration,
    client: Arc<SocketTimestamps>,
    stalls: StallCounter,
}

/// Watches the gaps of one running stream until it is dropped.
#[derive(Debug)]
pub(super) struct StallWatch {
    pub flow: OutputFlow,
    silence: Arc<StreamSilence>,
    id: u64,
    streams: Arc<RunningStreams>,
}

impl RunningStreams {
    pub fn new(threshold: Duration) -> Self {
        let streams = Self {
            threshold: AtomicU64::new(0),
            running: Mutex::default(),
            ids: AtomicU64::new(0),
        };
        streams.set_threshold(threshold);
        streams
    }

    /// Sets the gap above which a gap is a stall.
    pub fn set_threshold(&self, threshold: Duration) {
        self.threshold.store(u64::try_from(threshold.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Watches a stream to this client, from its first output on.
    pub fn watch(
        self: &Arc<Self>,
        client: &Arc<SocketTimestamps>,
        series: &RequestSeries,
    ) -> Box<StallWatch> {
        let silence = Arc::new(StreamSilence {
            gap_start: AtomicU64::new(0),
            // u64 has room for 584 years.
            threshold: Duration::from_nanos(self.threshold.load(Relaxed)),
            client: Arc::clone(client),
            stalls: series.stall_counter(),
        });
        let id = self.ids.fetch_add(1, Relaxed);
        self.lock().insert(id, Arc::clone(&silence));
        Box::new(StallWatch { flow: OutputFlow::default(), silence, id, streams: Arc::clone(self) })
    }

    /// Counts the current gaps that have become stalls. Returns the longest current gap.
    pub fn count_stalls(&self, now: Duration) -> Duration {
        let running = self.lock();
        running.values().map(|stream| stream.count_stall(now)).max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<StreamSilence>>> {
        lock(&self.running)
    }
}

impl StreamSilence {
    /// Counts the current gap if it has become a stall. Returns its length.
    fn count_stall(&self, now: Duration) -> Duration {
        let seen = self.gap_start.load(Relaxed);
        if seen == 0 {
            return Duration::ZERO;
        }
        let now = now.saturating_sub(self.client.stall_time());
        let silence = now.saturating_sub(Duration::from_nanos(seen));
        let is_new = seen & COUNTED == 0 && silence > self.threshold + GRACE;
        // If output ended the gap in the meantime, the exchange fails, and `end_gap` has counted it.
        if is_new && self.gap_start.compare_exchange(seen, seen | COUNTED, Relaxed, Relaxed).is_ok()
        {
            self.stalls.inc();
        }
        silence
    }

    /// Ends a gap, and counts it if it was a stall that was not counted before. The next gap begins at `next_start`, if
    /// output is still expected.
    fn end_gap(&self, gap: Option<Duration>, next_start: Option<Duration>) {
        let next = next_start.map_or(0, encode_gap_start);
        if gap.is_none_or(|gap| gap <= self.threshold) {
            self.gap_start.store(next, Relaxed);
        } else if self.gap_start.swap(next, Relaxed) & COUNTED == 0 {
            self.stalls.inc();
        }
    }
}

impl StallWatch {
    /// A read was measured.
    pub fn on_read(&mut self, tally: &ResponseTally, arrival: Arrival, start: Duration) {
        let held = self.silence.client.stall_time();
        if let Some(GapUpdate { ended_gap, waiting_since }) =
            self.flow.on_read(tally, arrival, start, held)
        {
            self.silence.end_gap(ended_gap, waiting_since);
        }
    }

    /// The stream has ended.
    pub fn end(&mut self, now: Duration) {
        let gap = self.flow.finish(now, self.silence.client.stall_time());
        self.silence.end_gap(gap, None);
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
    }
}

/// An instant as [`StreamSilence::gap_start`] has it. 64 bits hold five hundred years.
fn encode_gap_start(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX).max(2) & !COUNTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_counted_once_by_the_search_or_by_its_end() {
        let at = Duration::from_secs;
        let stalls = StallCounter::unregistered();
        let silence = StreamSilence {
            gap_start: AtomicU64::new(0),
            threshold: at(2),
            client: Arc::default(),
            stalls: stalls.clone(),
        };
        assert_eq!(silence.count_stall(at(9)), Duration::ZERO, "no output is expected");
        silence.end_gap(None, Some(at(10)));
        let expect = |counted: u64| assert_eq!(stalls.get(), counted);
        assert_eq!(silence.count_stall(at(12)), at(2));
        expect(0);
        silence.count_stall(at(13));
        silence.count_stall(at(14));
        expect(1);
        silence.end_gap(Some(at(5)), Some(at(15)));
        expect(1);
        silence.end_gap(Some(at(2)), Some(at(17)));
        expect(1);
        // No search ran during this gap.
        silence.end_gap(Some(at(3)), Some(at(20)));
        expect(2);
        silence.count_stall(at(23));
        silence.end_gap(Some(at(4)), None);
        silence.count_stall(at(60));
        expect(3);
    }
}
