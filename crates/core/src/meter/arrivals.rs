//! Inter-token latency of one choice: gaps between arrivals, shared out over tokens.
//!
//! An arrival is one read of the socket. Output events of one read share it, so the gap before it is
//! divided over all of them; those of the first read give no sample. Therefore the sum of all samples
//! of a choice is the time from its first to its last output, exactly as TPOT has it.

use std::time::Duration;
use strum::VariantArray;

/// When bytes arrived: the instant and the running number of the socket read that brought them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub at: Duration,
    pub read: u64,
    /// The read before: nothing of this one had arrived then. `at` is when the last byte of it did.
    pub not_before: Duration,
    /// How long after `at` we got them.
    pub read_delay: Duration,
    /// Whether the kernel told `at`; else it is when we got the bytes.
    pub is_stamped: bool,
}

impl Arrival {
    /// An arrival with a kernel timestamp, read without delay.
    pub const fn on_time(at: Duration, read: u64) -> Self {
        Self { at, read, not_before: Duration::ZERO, read_delay: Duration::ZERO, is_stamped: true }
    }

    /// Whether what arrived first of this read may have arrived earlier by more than [`TOLERANCE`].
    pub(super) fn may_be_earlier(&self) -> bool {
        self.at.saturating_sub(self.not_before) > TOLERANCE
    }
}

/// What is kept of an arrival: its instant and its read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadInstant {
    pub at: Duration,
    pub read: u64,
}

impl From<Arrival> for ReadInstant {
    fn from(Arrival { at, read, .. }: Arrival) -> Self {
        Self { at, read }
    }
}

/// An uncertainty that a measured interval would show.
const TOLERANCE: Duration = Duration::from_millis(1);

/// What the shares of a gap stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum GapBasis {
    /// ResponseTokens: the stream carries a running count.
    Token,
    /// Output events, which may hold several tokens or a part of one.
    Event,
}

impl GapBasis {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Event => "event",
        }
    }
}

/// A gap and the number of equal shares that it is observed in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharedGap {
    pub gap: Duration,
    pub shares: u64,
    pub basis: GapBasis,
}

/// The output of one read.
#[derive(Debug, Clone, Copy)]
struct ReadGroup {
    read: ReadInstant,
    events: u64,
    /// The stream's own running count of output tokens at its end.
    tokens: Option<u64>,
}

/// The arrivals of one choice.
#[derive(Debug, Default)]
pub struct ChoiceArrivals {
    /// The read before the current one: its instant and running count.
    before: Option<(Duration, Option<u64>)>,
    current: Option<ReadGroup>,
}

impl ChoiceArrivals {
    /// An output event arrived. `tokens` is the stream's running count of output tokens, where it has
    /// one. Returns the gap before the previous read, now that it is known to be complete.
    pub fn output(&mut self, arrival: Arrival, tokens: Option<u64>) -> Option<SharedGap> {
        if let Some(group) = &mut self.current
            && group.read.read == arrival.read
        {
            group.events += 1;
            group.tokens = tokens.or(group.tokens);
            return None;
        }
        let done = self.close();
        self.current = Some(ReadGroup { read: arrival.into(), events: 1, tokens });
        done
    }

    /// No more output comes, or none may: the gap before the last read.
    pub fn close(&mut self) -> Option<SharedGap> {
        let group = self.current.take()?;
        let before = self.before.replace((group.read.at, group.tokens));
        let (at, tokens) = before?;
        let new = group.tokens.zip(tokens).map(|(now, then)| now.saturating_sub(then));
        let (shares, basis) = match new {
            Some(new) if new > 0 => (new, GapBasis::Token),
            _ => (group.events, GapBasis::Event),
        };
        Some(SharedGap { gap: group.read.at.saturating_sub(at), shares, basis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (milliseconds, read, running count) and gives (gap in ms, shares, basis).
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
    fn table() {
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
        // A running count: three tokens came with the second read, none was told with the third.
        assert_eq!(
            gaps(&[(5, 1, Some(1)), (9, 2, Some(4)), (12, 3, Some(4)), (13, 4, None)]),
            [(4, 3, Token), (3, 1, Event), (1, 1, Event)],
        );
        // A count that appears only at the end is no running count.
        assert_eq!(gaps(&[(5, 1, None), (9, 2, Some(40))]), [(4, 1, Event)]);
    }

    #[test]
    fn the_sum_is_the_time_from_first_to_last() {
        let outputs: Vec<_> = (0..50).map(|i| (i * i % 97 + i * 100, i / 3, None)).collect();
        // Events of one read share the instant of that read.
        let outputs: Vec<_> =
            outputs.iter().map(|&(_, read, t)| (outputs[read as usize * 3].0, read, t)).collect();
        let sum: u128 = gaps(&outputs).iter().map(|(gap, ..)| gap).sum();
        assert_eq!(sum, u128::from(outputs[49].0 - outputs[0].0));
    }
}
