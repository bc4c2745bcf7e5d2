//! Facts that most servers report only at the end of a response.

use super::choice_reports::ChoiceReports;
use crate::dialect::{FinishReason, MAX_CHOICES, ServerTimings, TokenCounts};
use std::time::Duration;

/// Token counts and times that the server reports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerReport {
    /// Counts in the field that the API defines.
    pub usage: Option<TokenCounts>,
    /// Counts in a field that only this engine sends.
    pub engine: Option<TokenCounts>,
    /// The server's own times.
    pub timings: ServerTimings,
}

/// Facts that most servers report only at the end. Allocated when the first of them arrives, to keep open streams small.
#[derive(Debug, Default)]
pub(super) struct EndReport {
    pub server_report: ServerReport,
    /// Sums of the reports that are each for one choice.
    pub choice_reports: Option<ChoiceReports>,
    /// Arrival of the event that reported the total time of the request.
    pub total_time_reported_at: Option<Duration>,
    /// Finish reasons of the choices of all responses that have ended.
    pub finish_reasons: Vec<FinishReason>,
    /// Latest finish reason of each choice of the current response, by its index, in the order of their ends. The
    /// first one is stored inline, because most responses have one choice.
    first_reason: Option<(u32, FinishReason)>,
    more_reasons: Vec<(u32, FinishReason)>,
}

impl EndReport {
    /// Sets the finish reason of a choice. Some servers send a second one, which replaces the first.
    pub fn set_finish_reason(&mut self, index: u32, reason: &FinishReason) {
        let mut known = self.first_reason.iter_mut().chain(&mut self.more_reasons);
        if let Some((_, known)) = known.find(|(known, _)| *known == index) {
            known.clone_from(reason);
        } else if self.first_reason.is_none() {
            self.first_reason = Some((index, reason.clone()));
        } else {
            self.more_reasons.push((index, reason.clone()));
        }
    }

    /// Ends the choices of the current response: their finish reasons are final.
    pub fn close_choices(&mut self, mut report: impl FnMut(&FinishReason)) {
        for (_, reason) in self.first_reason.take().into_iter().chain(self.more_reasons.drain(..)) {
            report(&reason);
            if self.finish_reasons.len() < MAX_CHOICES {
                self.finish_reasons.push(reason);
            }
        }
    }
}
