//! Reads the token counts of one event.

use super::facts::TokenCounts;
use super::tag::TokenKind;

/// Resolves the counts of a usage report. `None` if it has none: servers that do not count send zeros.
pub fn resolve(mut usage: TokenCounts, total: Option<u64>) -> Option<TokenCounts> {
    let counts = [usage.input, usage.output, usage.cached, usage.cache_written];
    if counts.iter().all(|count| count.unwrap_or(0) == 0) {
        return None;
    }
    if let (Some(input), Some(output), Some(reasoning), Some(total)) =
        (usage.input, usage.output, usage.reasoning, total)
    {
        let sum = input.saturating_add(output);
        if total == sum {
            usage.total_confirms_output = reasoning > output;
        } else if total == sum.saturating_add(reasoning) {
            // xAI does not include reasoning in `completion_tokens`; the total shows that.
            usage.output_excludes_reasoning = true;
        }
    }
    Some(usage)
}

/// Adds the count of one element of a document.
pub fn add(counts: &mut TokenCounts, kind: TokenKind, n: Option<u64>) {
    let sum = |before: Option<u64>| match (before, n) {
        (Some(before), Some(n)) => Some(before.saturating_add(n)),
        (before, n) => before.or(n),
    };
    match kind {
        TokenKind::Input => counts.input = sum(counts.input),
        TokenKind::Output => counts.output = sum(counts.output),
        TokenKind::CacheRead => counts.cached = sum(counts.cached),
        // Elements of documents have no other counts.
        _ => {}
    }
}

/// Sets a count. A 0 does not replace a count: some servers write it where another field has the number.
pub fn set(counts: &mut TokenCounts, kind: TokenKind, n: Option<u64>) {
    let set = |count: &mut Option<u64>| *count = later(*count, n);
    match kind {
        TokenKind::Input => set(&mut counts.input),
        TokenKind::UncachedInput => {
            set(&mut counts.input);
            counts.input_excludes_cache = true;
        }
        TokenKind::Output => set(&mut counts.output),
        TokenKind::VisibleOutput => {
            set(&mut counts.output);
            counts.output_excludes_reasoning = true;
        }
        TokenKind::CacheRead => set(&mut counts.cached),
        TokenKind::CacheWritten => set(&mut counts.cache_written),
        TokenKind::Reasoning => set(&mut counts.reasoning),
        TokenKind::Total => {}
    }
}

/// The later of two values of a count. A 0 does not replace a count.
pub fn later(before: Option<u64>, later: Option<u64>) -> Option<u64> {
    later.filter(|count| *count > 0).or(before).or(later)
}

#[cfg(test)]
#[path = "usage_counts_tests.rs"]
mod tests;
