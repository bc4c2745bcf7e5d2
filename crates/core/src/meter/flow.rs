//! How evenly a stream's output comes: the silence between outputs, and how much came at its very end.

use super::arrivals::Arrival;
use super::tally::ResponseTally;
use std::time::Duration;

/// The part of a request's time whose output is its last burst.
const BURST: f64 = 0.1;
/// The window of a burst is known to this part of the time so far.
const RESOLUTION: u32 = 200;
/// Slots of that size; the last tenth of any time holds at most 23.
const SLOTS: usize = 24;
/// Fewer characters than this make no burst: one word comes at once everywhere.
const LEAST_CHARS: u64 = 20;

/// Output that came within one slot of time, told as finely as its share needs.
#[derive(Debug, Clone, Copy, Default)]
struct OutputSlot {
    /// Since the request's first byte, seconds.
    from: f32,
    /// All characters before.
    before: u32,
}

/// What a read means for the silence of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapUpdate {
    /// The silence that it has ended.
    pub ended_gap: Option<Duration>,
    /// Since when output is awaited from here on; `None` if none is.
    pub waiting_since: Option<Duration>,
}

/// The flow of one stream, from its first output on; of fixed size.
///
/// Gaps are told on a clock that stands still while the client takes no bytes: then nothing is read from the
/// server, and its silence is not its own.
#[derive(Debug, Default)]
#[repr(C)]
pub struct OutputFlow {
    /// The read that brought output, or the end, last.
    read: u64,
    last: Option<Duration>,
    max_gap: Option<Duration>,
    /// When what completes the stream arrived.
    ended: Option<Duration>,
    chars: u64,
    /// When the next slot may begin.
    next: Duration,
    /// Slots so far. The last [`SLOTS`] of them are kept, in a ring: behind so many there is nothing that
    /// could be part of the last tenth, whenever the stream ends.
    known: usize,
    slots: [OutputSlot; SLOTS],
}

impl OutputFlow {
    /// A read has been accounted for in `tally`. `start` is the request's first byte; `held` is for how long,
    /// in all, the client took no bytes. `None` if the read had neither output nor the end.
    pub fn on_read(
        &mut self,
        tally: &ResponseTally,
        arrival: Arrival,
        start: Duration,
        held: Duration,
    ) -> Option<GapUpdate> {
        let is_output = tally.last_output.is_some_and(|last| last.read == arrival.read);
        let is_over = tally.is_complete();
        let is_turn = tally.last_output.is_none();
        if !is_output && (self.ended.is_some() || self.last.is_none() || !is_over && !is_turn) {
            return None;
        }
        let at = arrival.at.saturating_sub(held);
        let before = self.last.filter(|_| self.read != arrival.read);
        let gap = before.map(|before| at.saturating_sub(before));
        self.max_gap = self.max_gap.max(gap);
        self.read = arrival.read;
        self.last = (!is_turn).then_some(at);
        self.ended = is_over.then_some(self.ended.unwrap_or(arrival.at));
        self.note(tally.chars(), arrival.at.saturating_sub(start));
        Some(GapUpdate { ended_gap: gap, waiting_since: self.last.filter(|_| !is_over) })
    }

    /// The stream has ended, at this instant if nothing has completed it before. Gives the silence that
    /// was open.
    pub fn finish(&mut self, now: Duration, held: Duration) -> Option<Duration> {
        let last = self.last.filter(|_| self.ended.is_none());
        self.ended.get_or_insert(now);
        let gap = last.map(|last| now.saturating_sub(held).saturating_sub(last));
        self.max_gap = self.max_gap.max(gap);
        gap
    }

    /// The longest gap without output after the first, the one at the end included. Absent where the
    /// stream ended with the read that brought its first output.
    pub fn max_gap(&self) -> Option<Duration> {
        self.max_gap
    }

    /// The share of output characters that came in the last tenth of the time from `start` to the end.
    /// Absent before the end, and of fewer than 20 characters.
    pub fn burst_ratio(&self, tally: &ResponseTally, start: Duration) -> Option<f64> {
        let all = tally.chars();
        let edge = self.ended?.saturating_sub(start).mul_f64(1.0 - BURST).as_secs_f32();
        let first = self.known.saturating_sub(SLOTS);
        let mut slots = (first..self.known).filter_map(|at| self.slots.get(at % SLOTS));
        let before = slots.find(|slot| slot.from > edge).map(|slot| u64::from(slot.before));
        let before = before.unwrap_or(self.chars);
        (all >= LEAST_CHARS).then(|| all.saturating_sub(before) as f64 / all as f64)
    }

    /// So many characters are there, this long after the request's first byte.
    fn note(&mut self, chars: u64, elapsed: Duration) {
        let before = std::mem::replace(&mut self.chars, chars);
        if chars == before || elapsed < self.next {
            return;
        }
        self.next = elapsed + elapsed / RESOLUTION;
        if let Some(slot) = self.slots.get_mut(self.known % SLOTS) {
            let before = u32::try_from(before).unwrap_or(u32::MAX);
            *slot = OutputSlot { from: elapsed.as_secs_f32(), before };
            self.known += 1;
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

    /// The gap that a read has ended, and since when output is awaited, in milliseconds.
    type GapTimes = (Option<u64>, Option<u64>);

    /// A stream of which each read is (milliseconds, held so far, bytes); gives the flow, its account and
    /// what each read was heard as.
    fn flow(reads: &[(u64, u64, &str)]) -> (OutputFlow, ResponseMeter, Vec<GapTimes>) {
        let chat = Dialect::by_name("openai-chat").unwrap();
        let mut meter = ResponseMeter::new(chat, b"text/event-stream", b"").unwrap();
        let (mut flow, mut heard) = (OutputFlow::default(), Vec::new());
        let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        for (read, (at, held, bytes)) in (1..).zip(reads) {
            let arrival = arrival(*at, read);
            meter.push(arrival, bytes.as_bytes(), &mut |_| {});
            let one = flow.on_read(meter.tally(), arrival, ms(0), ms(*held));
            heard.extend(one.map(|GapUpdate { ended_gap, waiting_since }| {
                (ended_gap.map(whole), waiting_since.map(whole))
            }));
        }
        (flow, meter, heard)
    }

    const PING: &str = ": ping\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    #[test]
    fn pings_do_not_end_a_gap_and_the_end_does() {
        let (a, b) = (word("a"), word("b"));
        let (mut flow, _, heard) = flow(&[
            (100, 0, PING),
            (200, 0, &a),
            (300, 0, PING),
            (500, 0, &b),
            (600, 0, PING),
            (900, 0, DONE),
            (2000, 0, PING),
        ]);
        assert_eq!(heard, [(None, Some(200)), (Some(300), Some(500)), (Some(400), None)]);
        assert_eq!(flow.finish(ms(9000), ms(0)), None, "it was complete long before");
        assert_eq!(flow.max_gap(), Some(ms(400)));
    }

    #[test]
    fn what_breaks_off_was_silent_until_then() {
        let (a, b) = (word("a"), word("b"));
        let (mut flow, ..) = flow(&[(200, 0, &a), (500, 0, &b)]);
        assert_eq!(flow.finish(ms(1500), ms(0)), Some(ms(1000)));
        assert_eq!(flow.max_gap(), Some(ms(1000)));
    }

    #[test]
    fn what_came_in_one_read_has_no_gap() {
        let (mut flow, ..) = flow(&[(200, 0, &(word("a") + &word("b") + DONE))]);
        assert_eq!(flow.finish(ms(1500), ms(0)), None);
        assert_eq!(flow.max_gap(), None);
    }

    #[test]
    fn time_in_which_the_client_took_nothing_is_not_the_servers() {
        let (a, b, c) = (word("a"), word("b"), word("c"));
        // Held for 2 s, in which b arrived and was not read; then for another 100 ms of 1 s.
        let (mut flow, _, heard) =
            flow(&[(1000, 0, &a), (2500, 2000, &b), (4000, 2000, &c), (5000, 2100, DONE)]);
        assert_eq!(heard[1].0, Some(0));
        assert_eq!((heard[2].0, heard[3].0), (Some(1500), Some(900)));
        flow.finish(ms(5000), ms(2100));
        assert_eq!(flow.max_gap(), Some(ms(1500)));
    }

    /// The share of the last tenth, counted without slots.
    fn exact(outputs: &[(u64, u64)], end: f64) -> f64 {
        let late = outputs.iter().filter(|(at, _)| *at as f64 > end * 0.9);
        let all: u64 = outputs.iter().map(|(_, chars)| chars).sum();
        late.map(|(_, chars)| chars).sum::<u64>() as f64 / all as f64
    }

    #[test]
    fn bursts_are_right_to_the_resolution() {
        let even: Vec<(u64, u64)> = (1..=5000).map(|i| (i, 4)).collect();
        let late: Vec<(u64, u64)> = (1..=100).map(|i| (5000 + i, 4)).collect();
        let early: Vec<(u64, u64)> = (1..=100).map(|i| (50 + i, 4)).collect();
        let growing: Vec<(u64, u64)> = (1..=3000).map(|i| (i * i / 100 + 500, i % 9)).collect();
        for (outputs, end) in [(&even, 5000), (&late, 5101), (&early, 5000), (&growing, 95_000)] {
            let (mut flow, mut chars) = (OutputFlow::default(), 0);
            let mut tally = ResponseTally::default();
            for (at, more) in outputs {
                chars += more;
                flow.note(chars, ms(*at));
            }
            tally.answer_chars = chars;
            flow.finish(ms(end), ms(0));
            let found = flow.burst_ratio(&tally, ms(0)).unwrap();
            // A slot at the edge may fall to either side.
            let end = end as f64;
            let (least, most) = (exact(outputs, end * 1.006), exact(outputs, end * 0.994));
            assert!((least..=most).contains(&found), "{found} is not in {least} to {most}");
        }
    }

    #[test]
    fn a_word_is_no_burst() {
        let (mut short, meter, _) = flow(&[(200, 0, &(word("Yes.") + DONE))]);
        short.finish(ms(200), ms(0));
        assert_eq!(short.burst_ratio(meter.tally(), ms(0)), None);
        let (mut long, meter, _) = flow(&[(200, 0, &(word("An answer of 24 letters.") + DONE))]);
        long.finish(ms(9000), ms(0));
        assert_eq!(long.burst_ratio(meter.tally(), ms(0)), Some(1.0), "all of it came at the end");
    }
}
