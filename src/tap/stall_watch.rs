//! How long a running stream has been without output, so that a stall is counted while it lasts.

use crate::metrics::{RequestSeries, StallCounter};
use crate::socket::SocketTimestamps;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;
use streamgauge_core::meter::{Arrival, GapUpdate, OutputClock, OutputFlow, ResponseTally};

/// Time that a running gap must exceed the threshold by before it is counted. Output that arrived in time may be read
/// this much later.
const GRACE: Duration = Duration::from_millis(100);
/// Flag in [`StreamSilence::gap_start`]: this gap was counted.
const COUNTED: u64 = 1;

/// The current gap of a running stream, shared by the stream and the search for stalls.
#[derive(Debug)]
pub(super) struct StreamSilence {
    /// Start of the current gap in nanoseconds, on the stream's [`OutputClock`](streamgauge_core::meter::OutputClock); 0
    /// if no output is expected. The lowest bit is [`COUNTED`]: start and flag change in one atomic step, so that a gap
    /// that is counted and ended at the same time is counted once.
    gap_start: AtomicU64,
    /// State of the clock, in nanoseconds: the time that it has excluded, and the client's pauses until the latest read.
    excluded: AtomicU64,
    pauses: AtomicU64,
    /// A gap longer than this is a stall.
    threshold: Duration,
    client: Arc<SocketTimestamps>,
    /// The library that carries the body has not yet requested more than the latest output.
    is_client_busy: AtomicBool,
    stalls: StallCounter,
    /// Output events so far. Only the stream writes it.
    output_events: AtomicU64,
}

/// Watches the gaps of one running stream until it is dropped.
#[derive(Debug)]
pub(super) struct StallWatch {
    pub flow: OutputFlow,
    silence: Arc<StreamSilence>,
    /// The gap that the flow holds back was counted while it lasted.
    is_held_gap_counted: bool,
}

impl StreamSilence {
    /// Counts the current gap if it has become a stall. Returns its length; `None` if no output is expected.
    pub fn count_stall(&self, now: Duration) -> Option<Duration> {
        let now = self.server_now(now);
        let seen = self.gap_start.load(Relaxed);
        let silence = length(seen, now)?;
        let is_new = seen & COUNTED == 0 && silence > self.threshold + GRACE;
        // If output ended the gap in the meantime, the exchange fails, and `end_gap` has counted it.
        if is_new && self.gap_start.compare_exchange(seen, seen | COUNTED, Relaxed, Relaxed).is_ok()
        {
            self.stalls.inc();
        }
        Some(silence)
    }

    /// Whether the client accepts output as far as is known.
    pub fn is_client_ready(&self) -> bool {
        !self.client.is_stalled() && !self.is_client_busy.load(Relaxed)
    }

    /// Length of the current gap; `None` if no output is expected.
    pub fn current(&self, now: Duration) -> Option<Duration> {
        let now = self.server_now(now);
        length(self.gap_start.load(Relaxed), now)
    }

    /// Reading of the stream's clock at `now`. Call it before the start of the gap is loaded: if a read changes all
    /// three in the meantime, the gap is then too short for a moment, but never too long.
    fn server_now(&self, now: Duration) -> Duration {
        let pauses = Duration::from_nanos(self.pauses.load(Acquire));
        let excluded = Duration::from_nanos(self.excluded.load(Acquire));
        let pause = self.client.stall_time().saturating_sub(pauses);
        now.saturating_sub(pause).saturating_sub(excluded)
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

    /// Ends a gap whose length is not known yet. Returns whether it was counted while it lasted.
    fn end_unknown_gap(&self, next_start: Option<Duration>) -> bool {
        let next = next_start.map_or(0, encode_gap_start);
        self.gap_start.swap(next, Relaxed) & COUNTED != 0
    }

    /// Publishes the state of the clock. The start of the gap was set before.
    fn set_clock(&self, clock: &OutputClock) {
        self.excluded.store(nanos(clock.excluded()), Release);
        self.pauses.store(nanos(clock.pauses()), Release);
    }
}

impl StallWatch {
    /// Watches a stream to this client, from its first output on. A gap longer than `threshold` is a stall.
    pub fn new(
        client: &Arc<SocketTimestamps>,
        series: &RequestSeries,
        threshold: Duration,
        clock: &OutputClock,
    ) -> Box<Self> {
        let silence = Arc::new(StreamSilence {
            gap_start: AtomicU64::new(0),
            excluded: AtomicU64::new(nanos(clock.excluded())),
            pauses: AtomicU64::new(nanos(clock.pauses())),
            threshold,
            client: Arc::clone(client),
            is_client_busy: AtomicBool::new(false),
            stalls: series.stall_counter(),
            output_events: AtomicU64::new(0),
        });
        Box::new(Self { flow: OutputFlow::default(), silence, is_held_gap_counted: false })
    }

    /// The current gap of the stream.
    pub fn silence(&self) -> &Arc<StreamSilence> {
        &self.silence
    }

    /// Sets whether the client has taken the latest output, and more is requested. Only where hyper carries the body.
    pub fn set_client_busy(&self, is_busy: bool) {
        self.silence.is_client_busy.store(is_busy, Relaxed);
    }

    /// A read was placed on the clock of the response and measured.
    pub fn on_read(
        &mut self,
        tally: &ResponseTally,
        arrival: Arrival,
        start: Duration,
        clock: &OutputClock,
    ) {
        self.silence.output_events.store(tally.output_events, Relaxed);
        if self.flow.holds_gap() {
            self.end_held_gap(Some(arrival));
        }
        if let Some(GapUpdate { ended_gap, waiting_since }) =
            self.flow.on_read(tally, arrival, start)
        {
            if self.flow.holds_gap() {
                self.is_held_gap_counted |= self.silence.end_unknown_gap(waiting_since);
            } else {
                self.silence.end_gap(ended_gap, waiting_since);
            }
        }
        if arrival.is_held {
            self.silence.set_clock(clock);
        }
    }

    /// The stream has ended.
    pub fn end(&mut self, now: Duration, clock: &OutputClock) {
        self.end_held_gap(None);
        let gap = self.flow.finish(now, clock, self.silence.client.stall_time());
        self.silence.end_gap(gap, None);
    }

    /// Counts the gap that a pause of the client has hidden, if it was a stall that was not counted before.
    #[cold]
    fn end_held_gap(&mut self, arrival: Option<Arrival>) {
        let Some(gap) = self.flow.take_held_gap(arrival) else { return };
        let was_counted = std::mem::take(&mut self.is_held_gap_counted);
        if gap > self.silence.threshold && !was_counted {
            self.silence.stalls.inc();
        }
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        // The measurement of a stream can end before the stream does: no output is expected any more.
        self.silence.gap_start.store(0, Relaxed);
    }
}

/// Length of a gap with this start; `None` if no output is expected.
fn length(gap_start: u64, now: Duration) -> Option<Duration> {
    (gap_start != 0).then(|| now.saturating_sub(Duration::from_nanos(gap_start)))
}

/// 64 bits hold five hundred years.
fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant as [`StreamSilence::gap_start`] has it.
fn encode_gap_start(at: Duration) -> u64 {
    nanos(at).max(2) & !COUNTED
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
            excluded: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            threshold: at(2),
            client: Arc::default(),
            is_client_busy: AtomicBool::new(false),
            stalls: stalls.clone(),
            output_events: AtomicU64::new(0),
        };
        assert_eq!(silence.count_stall(at(9)), None, "no output is expected");
        silence.end_gap(None, Some(at(10)));
        let expect = |counted: u64| assert_eq!(stalls.get(), counted);
        assert_eq!(silence.count_stall(at(12)), Some(at(2)));
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
