//! How evenly the output of a stream arrives: its longest gap, and the share of output at its very end.
//!
//! A stream whose text arrives in one burst at the end (fake streaming) has a [burst ratio](OutputFlow::burst_ratio) near
//! 1; an even stream has one near 0.1.

use super::arrivals::Arrival;
use super::output_clock::OutputClock;
use super::tally::ResponseTally;
use std::time::Duration;

/// Part of the request's time, at its end, whose output is the burst.
const BURST_PART: f64 = 0.1;
/// The start of the burst is exact to one such part of the time so far.
const RESOLUTION: u32 = 200;
/// Number of slots of that size that are kept. The last tenth of any time has at most 23.
const SLOTS: usize = 24;
/// Streams with fewer characters have no burst ratio: one word always arrives at once.
const MIN_CHARS: u64 = 20;

/// Output of one slot of time. Single precision is enough for a share.
#[derive(Debug, Clone, Copy, Default)]
struct OutputSlot {
    /// Start of the slot, in seconds since the first byte of the request.
    start: f32,
    /// Characters before the slot.
    chars_before: u32,
}

/// Effect of a read on the gap between outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapUpdate {
    /// Gap that the read has ended.
    pub ended_gap: Option<Duration>,
    /// Start of the gap that is open now, on the [`OutputClock`]; `None` if no output is expected.
    pub waiting_since: Option<Duration>,
}

/// First read with output after a pause of the client. Its outputs may have arrived one by one in the pause.
#[derive(Debug, Clone, Copy)]
struct HeldRead {
    /// Number of the read.
    read: u64,
    /// Time from the output before the read to the arrival of its last byte.
    span: Duration,
    /// Number of outputs, and of the end, before the read.
    outputs_before: u64,
}

/// Flow of one stream, from its first output to its end. Has a fixed size.
///
/// Gaps are measured on a [`OutputClock`], so a pause of the client makes none of them longer.
#[derive(Debug, Default)]
#[repr(C)]
pub struct OutputFlow {
    /// Number of the last read that contained output or the end.
    read: u64,
    last: Option<Duration>,
    max_gap: Option<Duration>,
    /// Arrival of the event that completed the stream.
    ended: Option<Duration>,
    chars: u64,
    /// Output events so far, and the end.
    outputs: u64,
    held: Option<HeldRead>,
    /// Earliest start of the next slot.
    next_slot_at: Duration,
    /// Number of slots so far. The last [`SLOTS`] of them are kept in a ring: no older one can be part of the last
    /// tenth, whenever the stream ends.
    slot_count: usize,
    slots: [OutputSlot; SLOTS],
}

impl OutputFlow {
    /// Records a read that was placed on the clock and is counted in `tally`. `start`: first byte of the request.
    ///
    /// Returns `None` if the read contained neither output nor the end.
    pub fn on_read(
        &mut self,
        tally: &ResponseTally,
        arrival: Arrival,
        start: Duration,
    ) -> Option<GapUpdate> {
        let has_output = tally.last_output.is_some_and(|last| last.read == arrival.read);
        let is_complete = tally.is_complete();
        // In a session, the tally is cleared when a response ends.
        let is_response_end = tally.last_output.is_none();
        let is_end = is_complete || is_response_end;
        if !has_output && (self.ended.is_some() || self.last.is_none() || !is_end) {
            return None;
        }
        let at = arrival.server_at;
        let previous = self.last.filter(|_| self.read != arrival.read);
        let mut gap = previous.map(|previous| at.saturating_sub(previous));
        if arrival.is_held {
            gap = self.hold(gap, arrival.read);
        }
        self.max_gap = self.max_gap.max(gap);
        self.read = arrival.read;
        self.last = (!is_response_end).then_some(at);
        self.ended = is_complete.then_some(self.ended.unwrap_or(arrival.at));
        self.outputs = tally.output_events + u64::from(is_end);
        self.add_chars(tally.chars(), arrival.at.saturating_sub(start));
        Some(GapUpdate { ended_gap: gap, waiting_since: self.last.filter(|_| !is_complete) })
    }

    /// Holds back the gap that the first read after a pause ends, until all of the read is measured.
    #[cold]
    fn hold(&mut self, gap: Option<Duration>, read: u64) -> Option<Duration> {
        if let Some(span) = gap {
            self.held = Some(HeldRead { read, span, outputs_before: self.outputs });
        }
        gap.map(|_| Duration::ZERO)
    }

    /// Gap that was held back because a pause of the client hides its end. Returns it once, when `arrival` is of a later
    /// read; `None` at the end of the stream.
    ///
    /// The read had n outputs, which arrived at unknown times in its span. At least one of the n gaps is as long as the
    /// n-th part of the span. With one output, this is the gap.
    pub fn take_held_gap(&mut self, arrival: Option<Arrival>) -> Option<Duration> {
        let held = self.held.filter(|held| arrival.is_none_or(|later| later.read != held.read))?;
        self.held = None;
        let outputs = self.outputs.saturating_sub(held.outputs_before).max(1);
        let gap = held.span / u32::try_from(outputs).unwrap_or(u32::MAX);
        self.max_gap = self.max_gap.max(Some(gap));
        Some(gap)
    }

    /// Whether a gap is held back.
    #[inline]
    pub fn holds_gap(&self) -> bool {
        self.held.is_some()
    }

    /// Ends the stream, at `now` if no event completed it before. Returns the gap that was open. `pauses`: total time for
    /// which the client accepted no bytes.
    pub fn finish(
        &mut self,
        now: Duration,
        clock: &OutputClock,
        pauses: Duration,
    ) -> Option<Duration> {
        let last = self.last.filter(|_| self.ended.is_none());
        self.ended.get_or_insert(now);
        let gap = last.map(|last| clock.gap_to_end(last, now, pauses));
        self.max_gap = self.max_gap.max(gap);
        gap
    }

    /// Longest gap without output after the first output, including the gap at the end. `None` if the stream ended with
    /// the read of its first output.
    pub fn max_gap(&self) -> Option<Duration> {
        self.max_gap
    }

    /// Share of output characters, 0 to 1, that arrived in the last tenth of the time from `start` to the end. `None`
    /// before the end, and for fewer than 20 characters.
    pub fn burst_ratio(&self, tally: &ResponseTally, start: Duration) -> Option<f64> {
        let all = tally.chars();
        let edge = self.ended?.saturating_sub(start).mul_f64(1.0 - BURST_PART).as_secs_f32();
        let first = self.slot_count.saturating_sub(SLOTS);
        let mut slots = (first..self.slot_count).filter_map(|at| self.slots.get(at % SLOTS));
        let slot = slots.find(|slot| slot.start > edge);
        let before = slot.map_or(self.chars, |slot| u64::from(slot.chars_before));
        (all >= MIN_CHARS).then(|| all.saturating_sub(before) as f64 / all as f64)
    }

    /// Records the number of characters so far. `elapsed`: time since the first byte of the request.
    fn add_chars(&mut self, chars: u64, elapsed: Duration) {
        let before = std::mem::replace(&mut self.chars, chars);
        if chars == before || elapsed < self.next_slot_at {
            return;
        }
        self.next_slot_at = elapsed + elapsed / RESOLUTION;
        if let Some(slot) = self.slots.get_mut(self.slot_count % SLOTS) {
            let chars_before = u32::try_from(before).unwrap_or(u32::MAX);
            *slot = OutputSlot { start: elapsed.as_secs_f32(), chars_before };
            self.slot_count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::meter::ResponseMeter;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn arrival(at: u64, read: u64) -> Arrival {
        let at = ms(at);
        Arrival::on_time(at, read)
    }

    fn word(text: &str) -> String {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }

    /// Gap that a read has ended, and start of the open gap, in milliseconds.
    type GapTimes = (Option<u64>, Option<u64>);

    /// Runs a stream. Each read is (milliseconds, bytes). Returns the flow, the meter, and the gap updates.
    fn flow(reads: &[(u64, &str)]) -> (OutputFlow, ResponseMeter, Vec<GapTimes>) {
        let chat = Dialect::by_name("openai-chat").unwrap();
        let mut meter = ResponseMeter::new(chat, b"text/event-stream", b"").unwrap();
        let (mut flow, mut updates) = (OutputFlow::default(), Vec::new());
        let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        for (read, (at, bytes)) in (1..).zip(reads) {
            let arrival = arrival(*at, read);
            meter.push(arrival, bytes.as_bytes(), &mut |_| {});
            let one = flow.on_read(meter.tally(), arrival, ms(0));
            updates.extend(one.map(|GapUpdate { ended_gap, waiting_since }| {
                (ended_gap.map(whole), waiting_since.map(whole))
            }));
        }
        (flow, meter, updates)
    }

    const PING: &str = ": ping\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    #[test]
    fn pings_do_not_end_a_gap_and_the_end_of_the_stream_does() {
        let (a, b) = (word("a"), word("b"));
        let (mut flow, _, updates) = flow(&[
            (100, PING),
            (200, &a),
            (300, PING),
            (500, &b),
            (600, PING),
            (900, DONE),
            (2000, PING),
        ]);
        assert_eq!(updates, [(None, Some(200)), (Some(300), Some(500)), (Some(400), None)]);
        assert_eq!(
            flow.finish(ms(9000), &OutputClock::default(), ms(0)),
            None,
            "the stream was complete before"
        );
        assert_eq!(flow.max_gap(), Some(ms(400)));
    }

    #[test]
    fn a_stream_that_breaks_off_has_a_gap_until_then() {
        let (a, b) = (word("a"), word("b"));
        let (mut flow, ..) = flow(&[(200, &a), (500, &b)]);
        assert_eq!(flow.finish(ms(1500), &OutputClock::default(), ms(0)), Some(ms(1000)));
        assert_eq!(flow.max_gap(), Some(ms(1000)));
    }

    #[test]
    fn a_stream_in_one_read_has_no_gap() {
        let (mut flow, ..) = flow(&[(200, &(word("a") + &word("b") + DONE))]);
        assert_eq!(flow.finish(ms(1500), &OutputClock::default(), ms(0)), None);
        assert_eq!(flow.max_gap(), None);
    }

    /// Burst ratio, computed without slots.
    fn exact_ratio(outputs: &[(u64, u64)], end: f64) -> f64 {
        let late = outputs.iter().filter(|(at, _)| *at as f64 > end * 0.9);
        let all: u64 = outputs.iter().map(|(_, chars)| chars).sum();
        late.map(|(_, chars)| chars).sum::<u64>() as f64 / all as f64
    }

    #[test]
    fn burst_ratio_is_exact_to_the_resolution() {
        let even: Vec<(u64, u64)> = (1..=5000).map(|i| (i, 4)).collect();
        let late: Vec<(u64, u64)> = (1..=100).map(|i| (5000 + i, 4)).collect();
        let early: Vec<(u64, u64)> = (1..=100).map(|i| (50 + i, 4)).collect();
        let growing: Vec<(u64, u64)> = (1..=3000).map(|i| (i * i / 100 + 500, i % 9)).collect();
        for (outputs, end) in [(&even, 5000), (&late, 5101), (&early, 5000), (&growing, 95_000)] {
            let (mut flow, mut chars) = (OutputFlow::default(), 0);
            let mut tally = ResponseTally::default();
            for (at, more) in outputs {
                chars += more;
                flow.add_chars(chars, ms(*at));
            }
            tally.answer_chars = chars;
            flow.finish(ms(end), &OutputClock::default(), ms(0));
            let found = flow.burst_ratio(&tally, ms(0)).unwrap();
            // A slot at the edge can count on either side.
            let end = end as f64;
            let (least, most) =
                (exact_ratio(outputs, end * 1.006), exact_ratio(outputs, end * 0.994));
            assert!((least..=most).contains(&found), "{found} is not in {least} to {most}");
        }
    }

    #[test]
    fn a_single_word_has_no_burst_ratio() {
        let (mut short, meter, _) = flow(&[(200, &(word("Yes.") + DONE))]);
        short.finish(ms(200), &OutputClock::default(), ms(0));
        assert_eq!(short.burst_ratio(meter.tally(), ms(0)), None);
        let (mut long, meter, _) = flow(&[(200, &(word("An answer of 24 letters.") + DONE))]);
        long.finish(ms(9000), &OutputClock::default(), ms(0));
        assert_eq!(
            long.burst_ratio(meter.tally(), ms(0)),
            Some(1.0),
            "all of it arrived at the end"
        );
    }
}
