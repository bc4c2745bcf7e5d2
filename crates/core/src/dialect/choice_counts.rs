//! One response to several prompts, each with an index and counts of its own.

use super::event_builder::EventBuilder;
use super::response_reader::StreamState;

const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
const CACHED: u64 = 3;
const REASONING: u64 = 4;
const LISTED: u64 = 5;

/// The key of what is remembered of one prompt.
pub fn key(what: u64, index: u64) -> u64 {
    // Indexes are far below.
    what << 32 | index
}

/// Adds the counts of this event's prompt to those that the others told last.
pub fn add_up(event: &mut EventBuilder, stream: &mut StreamState) {
    let (Some(index), Some(counts)) = (event.choice.index, &mut event.facts.engine_counts) else {
        return;
    };
    let counts =
        [(INPUT, &mut counts.input), (OUTPUT, &mut counts.output), (CACHED, &mut counts.cached)];
    for (what, count) in counts {
        *count = count.and_then(|count| sum(stream, what, index, count));
    }
}

/// The ids that were listed of this choice so far, `more` with this event; `None` if there are none.
pub fn listed(stream: &mut StreamState, index: u32, more: u64) -> Option<u64> {
    let ids = stream.counter(key(LISTED, u64::from(index)))?;
    *ids = ids.saturating_add(more);
    Some(*ids).filter(|ids| *ids > 0)
}

/// The output of all choices, of which this one counts so much now.
pub fn all_output(stream: &mut StreamState, index: u32, count: Option<u64>) -> Option<u64> {
    sum(stream, OUTPUT, u64::from(index), count?)
}

/// The same of reasoning.
pub fn all_reasoning(stream: &mut StreamState, index: u32, count: Option<u64>) -> Option<u64> {
    sum(stream, REASONING, u64::from(index), count?)
}

/// The sum over all prompts, this one now counting `count`; `None` if there are too many.
fn sum(stream: &mut StreamState, what: u64, index: u64, count: u64) -> Option<u64> {
    const ALL: u64 = u32::MAX as u64;
    let before = std::mem::replace(stream.counter(key(what, index))?, count);
    let all = stream.counter(key(what, ALL))?;
    *all = all.saturating_sub(before).saturating_add(count);
    Some(*all)
}

#[cfg(test)]
mod tests {
    use super::super::facts::TokenCounts;
    use super::*;

    #[test]
    fn the_latest_counts_of_all_prompts() {
        let mut stream = StreamState::default();
        let mut tell = |index: Option<u64>, output: u64| {
            let mut event = EventBuilder::default();
            event.choice.index = index;
            let counts =
                TokenCounts { input: Some(5), output: Some(output), ..TokenCounts::default() };
            event.facts.engine_counts = Some(counts);
            add_up(&mut event, &mut stream);
            let counts = event.facts.engine_counts.unwrap();
            (counts.input, counts.output, counts.cached)
        };
        assert_eq!(tell(Some(0), 1), (Some(5), Some(1), None));
        assert_eq!(tell(Some(1), 1), (Some(10), Some(2), None));
        assert_eq!(tell(Some(0), 7), (Some(10), Some(8), None));
        assert_eq!(tell(Some(1), 2), (Some(10), Some(9), None));
        // Alone, without an index.
        assert_eq!(tell(None, 3), (Some(5), Some(3), None));
    }
}
