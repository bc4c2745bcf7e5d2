//! Token counts of responses with several prompts or choices. Each of these has separate counts.
//!
//! The functions return the sum over all of them, from the latest counts of each.

use super::event_builder::EventBuilder;
use super::response_reader::StreamState;

const INPUT: u64 = 1;
const OUTPUT: u64 = 2;
const CACHED: u64 = 3;
const REASONING: u64 = 4;
const TOKEN_IDS: u64 = 5;

/// Key of a counter in [`StreamState`] for this prompt or choice.
pub fn key(counter: u64, index: u64) -> u64 {
    // Indexes are far below 2^32.
    counter << 32 | index
}

/// Replaces the counts of the event, which are those of one prompt, by the sum over all prompts.
pub fn sum_event_counts(event: &mut EventBuilder, stream: &mut StreamState) {
    let (Some(index), Some(counts)) = (event.choice.index, &mut event.facts.engine_counts) else {
        return;
    };
    let counts =
        [(INPUT, &mut counts.input), (OUTPUT, &mut counts.output), (CACHED, &mut counts.cached)];
    for (counter, count) in counts {
        *count = count.and_then(|count| sum(stream, counter, index, count));
    }
}

/// Adds `more` token ids to this choice and returns their number so far; `None` if there are none.
pub fn add_token_ids(stream: &mut StreamState, index: u32, more: u64) -> Option<u64> {
    let ids = stream.counter(key(TOKEN_IDS, u64::from(index)))?;
    *ids = ids.saturating_add(more);
    Some(*ids).filter(|ids| *ids > 0)
}

/// Sets the output tokens of this choice and returns the sum over all choices.
pub fn sum_output(stream: &mut StreamState, index: u32, count: Option<u64>) -> Option<u64> {
    sum(stream, OUTPUT, u64::from(index), count?)
}

/// Sets the reasoning tokens of this choice and returns the sum over all choices.
pub fn sum_reasoning(stream: &mut StreamState, index: u32, count: Option<u64>) -> Option<u64> {
    sum(stream, REASONING, u64::from(index), count?)
}

/// Sets a counter of one prompt and returns the sum over all prompts; `None` if there are too many.
fn sum(stream: &mut StreamState, counter: u64, index: u64, count: u64) -> Option<u64> {
    const ALL: u64 = u32::MAX as u64;
    let before = std::mem::replace(stream.counter(key(counter, index))?, count);
    let all = stream.counter(key(counter, ALL))?;
    *all = all.saturating_sub(before).saturating_add(count);
    Some(*all)
}

#[cfg(test)]
mod tests {
    use super::super::facts::TokenCounts;
    use super::*;

    #[test]
    fn the_latest_counts_of_all_prompts_are_summed() {
        let mut stream = StreamState::default();
        let mut counts_after = |index: Option<u64>, output: u64| {
            let mut event = EventBuilder::default();
            event.choice.index = index;
            let counts =
                TokenCounts { input: Some(5), output: Some(output), ..TokenCounts::default() };
            event.facts.engine_counts = Some(counts);
            sum_event_counts(&mut event, &mut stream);
            let counts = event.facts.engine_counts.unwrap();
            (counts.input, counts.output, counts.cached)
        };
        assert_eq!(counts_after(Some(0), 1), (Some(5), Some(1), None));
        assert_eq!(counts_after(Some(1), 1), (Some(10), Some(2), None));
        assert_eq!(counts_after(Some(0), 7), (Some(10), Some(8), None));
        assert_eq!(counts_after(Some(1), 2), (Some(10), Some(9), None));
        // An event without an index keeps its counts.
        assert_eq!(counts_after(None, 3), (Some(5), Some(3), None));
    }
}
