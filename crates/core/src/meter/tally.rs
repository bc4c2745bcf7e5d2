//! Running counts and times of one response.

use super::arrivals::{Arrival, ChoiceArrivals, GapBasis, ReadInstant, SharedGap};
use super::end_report::{EndReport, ServerReport};
use super::outcome::ErrorKind;
use crate::dialect::engine::Engine;
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::route::Operation;
use crate::dialect::{
    ChoiceFacts, EventFacts, FinishClass, FinishReason, MAX_CHOICES, TokenCounts, UnparsedReason,
};
use std::sync::Arc;
use std::time::Duration;
use strum::VariantArray;

/// A read that returns later than this after the arrival of its bytes is late. A read in time takes a fraction of it.
const LATE_READ: Duration = Duration::from_micros(250);

/// Kind of output text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum OutputKind {
    /// Text of the answer, and refusals.
    Answer,
    /// Reasoning, under any name.
    Reasoning,
    /// Arguments of tool calls.
    Tool,
}

impl OutputKind {
    /// Value of the label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Reasoning => "reasoning",
            Self::Tool => "tool",
        }
    }
}

/// Measurement that is available while the response is in progress.
#[derive(Debug, PartialEq)]
pub enum LiveSample<'a> {
    /// A response of a session was requested at this instant, which is the start of the times that follow.
    ResponseRequested(Duration),
    /// The server reported, in place of output, that it loads the model.
    ModelLoading,
    /// The first output event arrived.
    FirstOutput(Duration),
    /// The first output event that is not reasoning arrived.
    FirstAnswer(Duration),
    /// Gap between two reads with output, of any choice, unless the client paused between them.
    ChunkGap(Duration),
    /// Inter-token latency: `shares` samples of `gap / shares` each.
    TokenGap {
        /// Time between two arrivals of output of one choice.
        gap: Duration,
        /// Number of tokens or events that share the gap.
        shares: u64,
        /// Unit of `shares`.
        basis: GapBasis,
    },
    /// Number of new output tokens, as far as it is known now.
    OutputTokens(u64),
    /// Output text, in Unicode scalar values.
    Characters(OutputKind, u64),
    /// A choice finished.
    Finished(&'a FinishReason),
    /// A part of the body could not be parsed.
    Unparsed(UnparsedReason),
    /// The dialect of a response on an unknown path was recognised. Precedes all samples of its output.
    Recognised(Operation),
    /// An event of a response in no known dialect, and its gap to the event before it.
    UnrecognisedEvent {
        /// Arrival of the event.
        at: Duration,
        /// Time since the arrival of the previous event; `None` for the first.
        gap: Option<Duration>,
    },
}

/// Counts and times of one choice.
#[derive(Debug)]
struct ChoiceTally {
    index: u32,
    arrivals: ChoiceArrivals,
    /// Number of token ids that the stream lists.
    token_ids: u64,
    finished: bool,
}

/// Running counts and times of one response.
///
/// Fields that every event accesses come first and adjacent: with a thousand open streams, a tally is no longer in the
/// CPU cache when its next event arrives.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ResponseTally {
    /// Number of events.
    pub events: u64,
    /// Number of events that contain output.
    pub output_events: u64,
    /// Number of reads that contain output.
    pub chunks: u64,
    /// Sum of [`LiveSample::OutputTokens`] so far.
    pub live_tokens: u64,
    /// Number of token ids that the stream lists.
    pub token_ids: u64,
    /// Characters of the answer.
    pub answer_chars: u64,
    /// Characters of reasoning.
    pub reasoning_chars: u64,
    /// Characters of the arguments of tool calls.
    pub tool_chars: u64,
    /// Number of HTTP chunks or frames so far, and that of the last output.
    body_chunks: u64,
    last_output_chunk: u64,
    choices: Vec<ChoiceTally>,
    /// Read that contained the first output.
    pub first_output: Option<ReadInstant>,
    /// Read that contained the last output so far.
    pub last_output: Option<ReadInstant>,
    /// Arrival of the first output that is not reasoning.
    pub first_answer: Option<Duration>,
    /// 0-based indexes of events; valid once there was output.
    first_output_event: u64,
    last_output_event: u64,
    /// The body reported an error.
    pub has_error: bool,
    /// Reasoning text of the response is a summary.
    pub has_reasoning_summary: bool,
    /// The end marker of the stream arrived.
    pub done: bool,
    /// A late read returned the first output (or the first of the answer) together with later output that the server sent
    /// separately. The first output may have arrived earlier than the read shows.
    pub is_first_output_inexact: bool,
    /// The same for the last output and the end of the stream.
    pub is_last_output_inexact: bool,
    /// At least one arrival has no kernel timestamp.
    pub has_unstamped_arrival: bool,
    /// The server reports usage once for each choice, so the reports are added.
    usage_per_choice: bool,
    /// A session: each usage report is for another response.
    is_session: bool,
    /// Whether the server sends the response headers when a slot starts on the request; `None` if unknown.
    pub head_at_slot: Option<bool>,
    /// Engine or vendor, detected from the response.
    pub engine: Option<Engine>,
    /// Characters in the first read with output.
    pub first_chars: u64,
    /// Number of parts of the body that could not be parsed.
    pub unparsed: u64,
    at_end: Option<Box<EndReport>>,
    /// Model named in the response.
    pub model: Option<Arc<str>>,
}

impl ResponseTally {
    /// Counts and times that the server has reported so far.
    pub fn server_report(&self) -> ServerReport {
        let Some(end) = &self.at_end else { return ServerReport::default() };
        let report = end.server_report;
        end.choice_reports.as_ref().map_or(report, |sums| sums.replace_in(report))
    }

    /// Corrects the input of reports for each choice, at the end of the response: the choices of one prompt each report all
    /// of its tokens. `requested`: number of choices for each prompt; `None` if unknown, and then so is the input.
    pub fn set_requested_choices(&mut self, requested: Option<u64>) {
        if let Some(sums) = self.at_end.as_mut().and_then(|end| end.choice_reports.as_mut()) {
            sums.set_requested_choices(requested);
        }
    }

    /// Arrival of the event that reported the total time of the request.
    pub fn total_time_reported_at(&self) -> Option<Duration> {
        self.at_end.as_ref()?.total_time_reported_at
    }

    /// Finish reasons of the choices in the order of their ends. For a session, the first 128.
    pub fn finish_reasons(&self) -> &[FinishReason] {
        self.at_end.as_ref().map_or(&[], |end| &end.finish_reasons)
    }

    /// 0-based index, over all events, of the first event with output.
    pub fn first_output_event(&self) -> Option<u64> {
        (self.output_events > 0).then_some(self.first_output_event)
    }

    /// 0-based index, over all events, of the last event with output.
    pub fn last_output_event(&self) -> Option<u64> {
        (self.output_events > 0).then_some(self.last_output_event)
    }

    /// Creates the tally of a WebSocket session.
    pub fn for_session() -> Self {
        Self { is_session: true, ..Self::default() }
    }

    /// Characters of output of all kinds (Unicode scalar values).
    pub fn chars(&self) -> u64 {
        self.answer_chars + self.reasoning_chars + self.tool_chars
    }

    /// Number of choices of the response.
    pub fn choices(&self) -> usize {
        self.choices.len()
    }

    /// Whether the stream is complete: its end marker arrived, or all choices have finished.
    pub fn is_complete(&self) -> bool {
        let has_finished =
            !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished);
        self.done || has_finished && !self.is_session
    }

    /// Records a part of the body that could not be parsed.
    pub fn record_unparsed(
        &mut self,
        reason: UnparsedReason,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        self.unparsed += 1;
        sink(LiveSample::Unparsed(reason));
    }

    /// Records the arrival of an HTTP chunk or frame of the body.
    pub fn chunk(&mut self, arrival: Arrival) {
        self.body_chunks += 1;
        self.has_unstamped_arrival |= !arrival.is_stamped;
    }

    /// Records an event of a stream.
    #[inline(always)]
    pub fn event(
        &mut self,
        arrival: Arrival,
        facts: &EventFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let index = self.events;
        self.events += 1;
        self.add_facts(facts, sink);
        if facts.timings.is_some_and(|timings| timings.total.is_some()) {
            self.at_end.get_or_insert_default().total_time_reported_at = Some(arrival.at);
        }
        if facts.loading {
            sink(LiveSample::ModelLoading);
        }
        if facts.choices.iter().any(ChoiceFacts::has_output) {
            self.output_event(index, arrival, facts, sink);
        } else if let Some(last) = self.last_output
            && last.read == arrival.read
            && self.last_output_chunk != self.body_chunks
        {
            // Servers often send the end of a stream right after the last output. A read in time can return both.
            self.is_last_output_inexact =
                arrival.may_be_earlier() && arrival.read_delay > LATE_READ;
        }
        for choice in &facts.choices {
            if let Some(at) = self.find_choice(choice.index, sink) {
                self.choice_output(at, arrival, choice, facts, sink);
                self.finish_choice(at, choice);
            }
        }
    }

    /// Records a response that is one document. It has counts and text, but no first or last token.
    pub fn document(&mut self, facts: &EventFacts, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.add_facts(facts, sink);
        for choice in &facts.choices {
            self.add_characters(choice, sink);
            if let Some(at) = self.find_choice(choice.index, sink) {
                self.finish_choice(at, choice);
            }
        }
    }

    /// Failure that the response reports, if any. Valid at the end of the response.
    pub fn error_kind(&self, is_session: bool) -> Option<ErrorKind> {
        let mut reasons = self.finish_reasons().iter();
        if self.has_error {
            return Some(ErrorKind::Reported);
        }
        let has_failed = reasons.any(|reason| {
            // Users interrupt the responses of a session.
            let is_interruption = is_session && &**reason == "cancelled";
            FinishClass::of(reason) == FinishClass::Failure && !is_interruption
        });
        has_failed.then_some(ErrorKind::FinishReason)
    }

    /// Whether the response has output, a finish reason or a token count.
    pub fn has_content(&self) -> bool {
        let report = self.server_report();
        self.output_events > 0
            || self.chars() > 0
            || !self.finish_reasons().is_empty()
            || report.usage.is_some()
            || report.engine.is_some()
    }

    /// Ends the response, and reports the finish reasons and the gaps that are still open.
    pub fn end(&mut self, sink: &mut impl FnMut(LiveSample<'_>)) {
        if let Some(end) = &mut self.at_end {
            end.close_choices(|reason| sink(LiveSample::Finished(reason)));
        }
        for gap in self.choices.iter_mut().filter_map(|choice| choice.arrivals.close()) {
            sink(token_gap(gap));
        }
    }

    /// Ends a response of a session. The times of the next one are measured separately; the counts continue.
    pub fn end_response(&mut self, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.end(sink);
        self.choices.clear();
        (self.first_output, self.first_answer, self.last_output) = (None, None, None);
        // A session can last for hours, so the counters are corrected after each response.
        let usage = self.server_report().usage;
        let reported = usage.and_then(|usage| usage.total_output()).unwrap_or(0);
        if let Some(more) = reported.checked_sub(self.live_tokens).filter(|more| *more > 0) {
            self.live_tokens = reported;
            sink(LiveSample::OutputTokens(more));
        }
    }

    /// Adds the facts from the response headers. Values from the body take precedence.
    pub fn add_header_facts(&mut self, head: &HeaderFacts, is_stream: bool) {
        let report = &mut self.at_end.get_or_insert_default().server_report;
        if let Some(mut counts) = head.counts {
            counts.update(report.engine.unwrap_or_default());
            report.engine = Some(counts);
        }
        let mut timings = head.timings;
        if !is_stream {
            timings.total = timings.total.or(head.until_headers);
        }
        timings.update(report.timings);
        report.timings = timings;
        self.engine = self.engine.or(head.engine);
    }

    /// Adds the facts of an event other than its output.
    fn add_facts(&mut self, facts: &EventFacts, sink: &mut impl FnMut(LiveSample<'_>)) {
        if let Some(reason) = facts.unparsed {
            self.record_unparsed(reason, sink);
        }
        if let Some(model) = &facts.model
            && self.model.is_none()
        {
            self.model = Some(model.as_str().into());
        }
        self.has_error |= facts.error;
        self.has_reasoning_summary |= facts.has_reasoning_summary;
        self.done |= facts.done;
        self.engine = facts.detected_engine.or(self.engine);
        self.head_at_slot = facts.headers_at_slot.or(self.head_at_slot);
        if facts.usage.is_some() || facts.engine_counts.is_some() || facts.timings.is_some() {
            self.add_server_report(facts);
        }
    }

    fn add_server_report(&mut self, facts: &EventFacts) {
        if self.choices() > 1 && self.add_choice_report(facts) {
            return;
        }
        let EndReport { server_report: report, .. } = &mut **self.at_end.get_or_insert_default();
        if let Some(timings) = facts.timings {
            report.timings.update(timings);
        }
        if let Some(mut usage) = facts.usage {
            let counted = report.usage.get_or_insert_default();
            if self.is_session {
                counted.add(usage);
                usage = *counted;
            }
            counted.update(usage);
        }
        if let Some(engine) = facts.engine_counts {
            report.engine.get_or_insert_default().update(engine);
        }
    }

    /// Adds a report that is for one of several choices. Returns false if it is for the whole response.
    ///
    /// llama.cpp reports the usage of each choice separately: in an event without choices, or in the event that ends the
    /// choice, while another choice is still in progress.
    fn add_choice_report(&mut self, facts: &EventFacts) -> bool {
        let has_running_choice = self.choices.iter().any(|choice| !choice.finished);
        let is_llama_cpp = self.engine == Some(Engine::LlamaCpp);
        let is_end = facts.choices.is_empty()
            || is_llama_cpp && facts.choices.iter().all(|choice| choice.finish.is_some());
        let engine = facts.engine_counts.filter(|_| is_llama_cpp);
        self.usage_per_choice |=
            (facts.usage.is_some() || engine.is_some()) && is_end && has_running_choice;
        if !(self.usage_per_choice && is_end) {
            return false;
        }
        let EndReport { server_report, choice_reports, .. } =
            &mut **self.at_end.get_or_insert_default();
        if let Some(timings) = facts.timings {
            server_report.timings.update(timings);
        }
        choice_reports.get_or_insert_default().add(facts.usage, engine);
        true
    }

    #[inline(always)]
    fn output_event(
        &mut self,
        index: u64,
        arrival: Arrival,
        facts: &EventFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        if self.output_events == 0 {
            self.first_output_event = index;
        }
        self.output_events += 1;
        self.last_output_event = index;
        let first = *self.first_output.get_or_insert_with(|| {
            sink(LiveSample::FirstOutput(arrival.at));
            arrival.into()
        });
        if self.first_answer.is_none() && facts.choices.iter().any(|choice| choice.has_answer) {
            self.first_answer = Some(arrival.at);
            sink(LiveSample::FirstAnswer(arrival.at));
        }
        match self.last_output {
            Some(last) if last.read == arrival.read => {
                let is_boundary = first.read == arrival.read || self.first_answer == Some(last.at);
                let is_separate_chunk = self.last_output_chunk != self.body_chunks;
                self.is_first_output_inexact |=
                    is_boundary && is_separate_chunk && arrival.may_be_earlier();
            }
            Some(last) => {
                self.chunks += 1;
                // A pause of the client joins many small reads to one.
                if !arrival.is_held {
                    sink(LiveSample::ChunkGap(arrival.server_at.saturating_sub(last.server_at)));
                }
            }
            None => self.chunks += 1,
        }
        self.last_output = Some(arrival.into());
        self.last_output_chunk = self.body_chunks;
        self.is_last_output_inexact = false;
        for choice in &facts.choices {
            let chars = self.add_characters(choice, sink);
            if first.read == arrival.read {
                self.first_chars += chars;
            }
        }
        // A running count is exact. Without one, each output event counts as one token.
        let ids: u64 = facts.choices.iter().map(|choice| choice.token_ids).sum();
        let new = match running_count(facts) {
            Some(counted) => counted.saturating_sub(self.live_tokens),
            None if ids > 0 || self.token_ids > 0 => {
                (self.token_ids + ids).saturating_sub(self.live_tokens)
            }
            None => 1,
        };
        if new > 0 {
            self.live_tokens += new;
            sink(LiveSample::OutputTokens(new));
        }
    }

    /// Counts the text of one choice. Returns the number of characters.
    fn add_characters(
        &mut self,
        choice: &ChoiceFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) -> u64 {
        let kinds = [
            (OutputKind::Answer, choice.answer_chars, &mut self.answer_chars),
            (OutputKind::Reasoning, choice.reasoning_chars, &mut self.reasoning_chars),
            (OutputKind::Tool, choice.tool_chars, &mut self.tool_chars),
        ];
        let mut total = 0;
        for (kind, chars, sum) in kinds {
            if chars > 0 {
                *sum += chars;
                total += chars;
                sink(LiveSample::Characters(kind, chars));
            }
        }
        total
    }

    /// Position of the choice with this index, which is added if new. `None` if there are too many.
    fn find_choice(&mut self, index: u32, sink: &mut impl FnMut(LiveSample<'_>)) -> Option<usize> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_some() {
            return known;
        }
        if self.choices.len() >= MAX_CHOICES {
            self.record_unparsed(UnparsedReason::Choice, sink);
            return None;
        }
        // Nearly all responses have one choice; a vector that grows would allocate for four.
        self.choices.reserve_exact(usize::from(self.choices.is_empty()));
        self.choices.push(ChoiceTally {
            index,
            arrivals: ChoiceArrivals::default(),
            token_ids: 0,
            finished: false,
        });
        Some(self.choices.len() - 1)
    }

    #[inline(always)]
    fn choice_output(
        &mut self,
        at: usize,
        arrival: Arrival,
        choice_facts: &ChoiceFacts,
        facts: &EventFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        // The count is over all choices, so it is not usable if there are several.
        let counted = running_count(facts).filter(|_| self.choices.len() == 1);
        self.token_ids += choice_facts.token_ids;
        let Some(choice) = self.choices.get_mut(at) else { return };
        choice.token_ids += choice_facts.token_ids;
        let listed = (choice.token_ids > 0).then_some(choice.token_ids);
        if choice_facts.has_output()
            && let Some(gap) = choice.arrivals.output(arrival, counted.or(listed))
        {
            sink(token_gap(gap));
        }
    }

    fn finish_choice(&mut self, at: usize, facts: &ChoiceFacts) {
        // Some servers send a second finish reason, which replaces the first.
        if let Some(reason) = &facts.finish
            && let Some(choice) = self.choices.get_mut(at)
        {
            choice.finished = true;
            self.at_end.get_or_insert_default().set_finish_reason(facts.index, reason);
        }
    }
}

/// Running count of output tokens of all choices, if the event has one.
#[inline(always)]
fn running_count(facts: &EventFacts) -> Option<u64> {
    let of = |counts: Option<TokenCounts>| counts.and_then(|counts| counts.total_output());
    of(facts.usage).or(of(facts.engine_counts))
}

/// The sample for a gap of one choice.
fn token_gap(gap: SharedGap) -> LiveSample<'static> {
    let SharedGap { gap, shares, basis } = gap;
    LiveSample::TokenGap { gap, shares, basis }
}
