//! How long a running stream has been without output, so that a stall is counted while it lasts.

use crate::metrics::{RequestSeries, StallCounter};
use crate::socket::SocketTimestamps;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use streamgauge_core::meter::{Arrival, GapUpdate, OutputFlow, ResponseTally};

/// Time that a running gap must exceed the threshold by before it is counted. Output that arrived in time may be read
/// this much later.
const GRACE: Duration = Duration::from_millis(100);
/// Flag in [`StreamSilence::gap_start`]: this gap was counted.
const COUNTED: u64 = 1;

/// The current gap of a running stream, shared by the stream and the search for stalls.
#[derive(Debug)]
pub(super) struct StreamSilence {
    /// Start of the current gap in nanoseconds, on a clock that stops while the client accepts no bytes; 0 if no output
    /// is expected. The lowest bit is [`COUNTED`]: start and flag change in one atomic step, so that a gap that is
    /// counted and ended at the same time is counted once.
    gap_start: AtomicU64,
    /// A gap longer than this is a stall.
    threshold: Duration,
    client: Arc<SocketTimestamps>,
    stalls: StallCounter,
    /// Output events so far. Only the stream writes it.
    output_events: AtomicU64,
}

/// Watches the gaps of one running stream until it is dropped.
#[derive(Debug)]
pub(super) struct StallWatch {
    pub flow: OutputFlow,
    silence: Arc<StreamSilence>,
}

impl StreamSilence {
    /// Counts the current gap if it has become a stall. Returns its length.
    pub fn count_stall(&self, now: Duration) -> Duration {
        let seen = self.gap_start.load(Relaxed);
        let Some(silence) = self.length(seen, now) else { return Duration::ZERO };
        let is_new = seen & COUNTED == 0 && silence > self.threshold + GRACE;
        // If output ended the gap in the meantime, the exchange fails, and `end_gap` has counted it.
        if is_new && self.gap_start.compare_exchange(seen, seen | COUNTED, Relaxed, Relaxed).is_ok()
        {
            self.stalls.inc();
        }
        silence
    }

    /// Length of the current gap; `None` if no output is expected.
    pub fn current(&self, now: Duration) -> Option<Duration> {
        self.length(self.gap_start.load(Relaxed), now)
    }

    fn length(&self, gap_start: u64, now: Duration) -> Option<Duration> {
        let now = now.saturating_sub(self.client.stall_time());
        (gap_start != 0).then(|| now.saturating_sub(Duration::from_nanos(gap_start)))
    }

    /// Output events so far.
    pub fn output_events(&self) -> u64 {
        self.output_events.load(Relaxed)
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
    /// Watches a stream to this client, from its first output on. A gap longer than `threshold` is a stall.
    pub fn new(
        client: &Arc<SocketTimestamps>,
        series: &RequestSeries,
        threshold: Duration,
    ) -> Box<Self> {
        let silence = Arc::new(StreamSilence {
            gap_start: AtomicU64::new(0),
            threshold,
            client: Arc::clone(client),
            stalls: series.stall_counter(),
            output_events: AtomicU64::new(0),
        });
        Box::new(Self { flow: OutputFlow::default(), silence })
    }

    /// The current gap of the stream.
    pub fn silence(&self) -> &Arc<StreamSilence> {
        &self.silence
    }

    /// A read was measured.
    pub fn on_read(&mut self, tally: &ResponseTally, arrival: Arrival, start: Duration) {
        let held = self.silence.client.stall_time();
        self.silence.output_events.store(tally.output_events, Relaxed);
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
        // The measurement of a stream can end before the stream does: no output is expected any more.
        self.silence.gap_start.store(0, Relaxed);
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
            output_events: AtomicU64::new(0),
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
