//! Token counts that llama.cpp reports for each choice of each prompt, added up.
//!
//! Example: two prompts of 5 and 8 tokens, with two choices each. Each of the four reports has the output of its choice, and
//! the input of its prompt: 5, 5, 8 and 8. The input is 26 / 2 = 13.

use super::end_report::ServerReport;
use crate::dialect::TokenCounts;

/// Sums of the reports that are each for one choice.
#[derive(Debug, Default)]
pub(super) struct ChoiceReports {
    count: u64,
    usage: Option<TokenCounts>,
    engine: Option<TokenCounts>,
}

impl ChoiceReports {
    /// Adds the report of one choice.
    pub fn add(&mut self, usage: Option<TokenCounts>, engine: Option<TokenCounts>) {
        self.count += 1;
        for (sum, one) in [(&mut self.usage, usage), (&mut self.engine, engine)] {
            if let Some(one) = one {
                sum.get_or_insert_default().add(one);
            }
        }
    }

    /// Divides the input by the number of choices that the client requested for each prompt. If that number is unknown, so
    /// is the input.
    pub fn set_requested_choices(&mut self, requested: Option<u64>) {
        // Without the report of each choice, the sum is not that of whole prompts.
        let repeats = requested.filter(|n| *n > 0 && self.count.is_multiple_of(*n));
        let share = |sum: Option<u64>| sum.zip(repeats).map(|(sum, repeats)| sum / repeats);
        for counts in [&mut self.usage, &mut self.engine].into_iter().flatten() {
            counts.input = share(counts.input);
            counts.cached = share(counts.cached);
        }
    }

    /// Returns a report with the sums in place of its counts.
    pub fn replace_in(&self, report: ServerReport) -> ServerReport {
        let usage = self.usage.or(report.usage);
        ServerReport { usage, engine: self.engine.or(report.engine), ..report }
    }
}
