//! Inter-token latency of one choice: the gap between two reads with output, shared by the tokens of the later read.
//!
//! An arrival is one read of the socket. All output events of one read have the same arrival time, so the gap before the
//! read is divided by their number of tokens. Example: reads at 10 ms (1 token), 40 ms (3 tokens) and 50 ms (1 token)
//! give the samples 10, 10, 10 and 10 ms. The first read gives no sample. The sum of all samples of a choice is the
//! time from its first to its last output on the [`OutputClock`](super::OutputClock), as in TPOT.

use std::time::Duration;
use strum::VariantArray;

/// Time at which bytes arrived, and the read of the socket that returned them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Arrival of the last byte of the read.
    pub at: Duration,
    /// The same on the [`OutputClock`](super::OutputClock), for gaps. Equals `at` until the client pauses.
    pub server_at: Duration,
    /// Running number of the read.
    pub read: u64,
    /// Number of bytes that the read returned.
    pub size: usize,
    /// Time of the previous read. No byte of this read had arrived then.
    pub not_before: Duration,
    /// Time between `at` and the return of the read.
    pub read_delay: Duration,
    /// Whether `at` is a kernel timestamp. Otherwise it is the time at which the read returned.
    pub is_stamped: bool,
    /// The first read after a pause of the client. Its bytes may have arrived one by one in the pause.
    pub is_held: bool,
}

impl Arrival {
    /// An arrival with a kernel timestamp that was read without delay.
    pub const fn on_time(at: Duration, read: u64) -> Self {
        Self {
            at,
            server_at: at,
            read,
            size: 0,
            not_before: Duration::ZERO,
            read_delay: Duration::ZERO,
            is_stamped: true,
            is_held: false,
        }
    }

    /// Whether the first byte of this read may have arrived earlier than the last by more than [`TOLERANCE`].
    pub(super) fn may_be_earlier(&self) -> bool {
        self.at.saturating_sub(self.not_before) > TOLERANCE
    }
}

/// Instant and number of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadInstant {
    /// Arrival of the last byte of the read.
    pub at: Duration,
    /// The same on the [`OutputClock`](super::OutputClock).
    pub server_at: Duration,
    /// Running number of the read.
    pub read: u64,
}

impl From<Arrival> for ReadInstant {
    fn from(Arrival { at, server_at, read, .. }: Arrival) -> Self {
        Self { at, server_at, read }
    }
}

/// Error of an arrival time that would be visible in a measured interval.
const TOLERANCE: Duration = Duration::from_millis(1);

/// Unit that a gap between two reads is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum GapBasis {
    /// Tokens: the stream contains a running token count, or lists token ids.
    Token,
    /// Output events, each of which can hold several tokens or a part of one.
    Event,
}

impl GapBasis {
    /// Value of the label `basis`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Event => "event",
        }
    }
}

/// Gap between two reads, recorded as `shares` samples of `gap / shares`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedGap {
    /// Time between the two reads.
    pub gap: Duration,
    /// Number of tokens or events in the later read.
    pub shares: u64,
    /// Unit of `shares`.
    pub basis: GapBasis,
}

/// Output of one read.
#[derive(Debug, Clone, Copy)]
struct ReadGroup {
    read: ReadInstant,
    events: u64,
    /// Running count of output tokens after this read, if the stream has one.
    tokens: Option<u64>,
}

/// Reads with output of one choice.
#[derive(Debug, Default)]
pub struct ChoiceArrivals {
    /// Instant and running token count of the read before the current one.
    previous: Option<(Duration, Option<u64>)>,
    current: Option<ReadGroup>,
}

impl ChoiceArrivals {
    /// Records an output event. `tokens` is the running count of output tokens, if the stream has one.
    ///
    /// Returns the gap before the previous read: its number of tokens is known once the next read begins.
    pub fn output(&mut self, arrival: Arrival, tokens: Option<u64>) -> Option<SharedGap> {
        if let Some(group) = &mut self.current
            && group.read.read == arrival.read
        {
            group.events += 1;
            group.tokens = tokens.or(group.tokens);
            return None;
        }
        let complete = self.close();
        self.current = Some(ReadGroup { read: arrival.into(), events: 1, tokens });
        complete
    }

    /// Ends the choice. Returns the gap before its last read.
    pub fn close(&mut self) -> Option<SharedGap> {
        let group = self.current.take()?;
        let previous = self.previous.replace((group.read.server_at, group.tokens));
        let (at, tokens) = previous?;
        let new = group.tokens.zip(tokens).map(|(now, then)| now.saturating_sub(then));
        let (shares, basis) = match new {
            Some(new) if new > 0 => (new, GapBasis::Token),
            _ => (group.events, GapBasis::Event),
        };
        Some(SharedGap { gap: group.read.server_at.saturating_sub(at), shares, basis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records outputs of (milliseconds, read, running count). Returns (gap in ms, shares, basis).
    fn gaps(outputs: &[(u64, u64, Option<u64>)]) -> Vec<(u128, u64, GapBasis)> {
        let mut arrivals = ChoiceArrivals::default();
        let mut found: Vec<SharedGap> = outputs
            .iter()
            .filter_map(|&(ms, read, tokens)| {
                arrivals.output(Arrival::on_time(Duration::from_millis(ms), read), tokens)
            })
            .collect();
        found.extend(arrivals.close());
        assert_eq!(arrivals.close(), None);
        found.iter().map(|gap| (gap.gap.as_millis(), gap.shares, gap.basis)).collect()
    }

    #[test]
    fn gaps_are_shared_by_the_events_or_tokens_of_a_read() {
        use GapBasis::{Event, Token};
        assert_eq!(gaps(&[]), []);
        assert_eq!(gaps(&[(5, 1, None)]), []);
        assert_eq!(gaps(&[(5, 1, None), (5, 1, None)]), []);
        assert_eq!(gaps(&[(5, 1, None), (9, 2, None)]), [(4, 1, Event)]);
        // Two events in one read share its gap; two in the first read give none.
        assert_eq!(
            gaps(&[(5, 1, None), (5, 1, None), (9, 2, None), (9, 2, None), (10, 3, None)]),
            [(4, 2, Event), (1, 1, Event)],
        );
        // A running count: three tokens in the second read; the third read does not change the count.
        assert_eq!(
            gaps(&[(5, 1, Some(1)), (9, 2, Some(4)), (12, 3, Some(4)), (13, 4, None)]),
            [(4, 3, Token), (3, 1, Event), (1, 1, Event)],
        );
        // A count that appears only at the end is not a running count.
        assert_eq!(gaps(&[(5, 1, None), (9, 2, Some(40))]), [(4, 1, Event)]);
    }

    #[test]
    fn gaps_add_up_to_the_time_from_first_to_last_output() {
        let outputs: Vec<_> = (0..50).map(|i| (i * i % 97 + i * 100, i / 3, None)).collect();
        // Events of one read have the arrival time of that read.
        let outputs: Vec<_> =
            outputs.iter().map(|&(_, read, t)| (outputs[read as usize * 3].0, read, t)).collect();
        let sum: u128 = gaps(&outputs).iter().map(|(gap, ..)| gap).sum();
        assert_eq!(sum, u128::from(outputs[49].0 - outputs[0].0));
    }
}
