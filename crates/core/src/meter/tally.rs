//! The running account of one response.

use super::arrivals::{Arrival, ChoiceArrivals, GapBasis, ReadInstant, SharedGap};
use crate::dialect::engine::Engine;
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::{
    ChoiceFacts, EventFacts, FinishReason, MAX_CHOICES, ServerTimings, TokenCounts, UnparsedReason,
};
use std::sync::Arc;
use std::time::Duration;
use strum::VariantArray;

/// A read that came so long after what it brought came late: one in time takes a fraction of it.
const LATE: Duration = Duration::from_micros(250);

/// What output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum OutputKind {
    Answer,
    Reasoning,
    /// Arguments of tool calls.
    Tool,
}

impl OutputKind {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Reasoning => "reasoning",
            Self::Tool => "tool",
        }
    }
}

/// What is told while a response runs.
#[derive(Debug, PartialEq)]
pub enum LiveSample<'a> {
    /// A response of a session was asked for: what is told from here on is measured from then.
    ResponseRequested(Duration),
    /// The server said instead of output that it loads the model.
    ModelLoading,
    /// The first output event arrived.
    FirstOutput(Duration),
    /// The first output event that is not reasoning arrived.
    FirstAnswer(Duration),
    /// A gap between two arrivals of output, of any choice.
    ChunkGap(Duration),
    /// Inter-token latency: `shares` samples of `gap / shares` each.
    TokenGap {
        gap: Duration,
        shares: u64,
        basis: GapBasis,
    },
    /// Output tokens, as far as they can be told at this moment.
    OutputTokens(u64),
    /// Output text, in Unicode scalar values.
    Characters(OutputKind, u64),
    Finished(&'a FinishReason),
    Unparsed(UnparsedReason),
}

/// One choice of the response.
#[derive(Debug)]
struct ChoiceTally {
    index: u32,
    arrivals: ChoiceArrivals,
    /// ResponseTokens whose ids the stream lists.
    token_ids: u64,
    finished: bool,
}

/// What a server tells of counts and times.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ServerReport {
    /// What the API reports, where it does.
    pub usage: Option<TokenCounts>,
    /// What a field of the engine's own reports.
    pub engine: Option<TokenCounts>,
    /// What the server says of its own time.
    pub timings: ServerTimings,
}

/// The account so far. Counts are of this response; instants share the meter's start.
///
/// What each event touches comes first, side by side: with a thousand open streams an account has left the
/// processor's cache when its next event comes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct ResponseTally {
    /// Events of the response's own format, dispatched.
    pub events: u64,
    pub output_events: u64,
    /// Reads that brought output.
    pub chunks: u64,
    /// Output tokens told by [`LiveSample::OutputTokens`] so far.
    pub live_tokens: u64,
    /// ResponseTokens whose ids the stream lists.
    pub token_ids: u64,
    pub answer_chars: u64,
    pub reasoning_chars: u64,
    pub tool_chars: u64,
    /// Pieces that the body came in so far, as the server framed them, and the one of the last output.
    pieces: u64,
    last_piece: u64,
    choices: Vec<ChoiceTally>,
    /// The read that brought the first output, and the last one.
    pub first_output: Option<ReadInstant>,
    pub last_output: Option<ReadInstant>,
    pub first_answer: Option<Duration>,
    /// 0-based indexes over dispatched events, once there was output.
    first_output_event: u64,
    last_output_event: u64,
    pub has_error: bool,
    pub done: bool,
    /// The first output, or the first of the answer, was read together with later output that was sent
    /// apart from it: it may have arrived earlier than that read says, had we not been late.
    pub blurred: bool,
    /// So was the last output, with what ends the stream, by a read that came late.
    pub trailed: bool,
    /// An arrival's instant is when we got it.
    pub unstamped: bool,
    /// The server reports usage once per choice, so the reports add up.
    usage_per_choice: bool,
    /// The account is of a session: each report of usage is of another response.
    is_session: bool,
    /// The server sends a stream's head when a slot takes the request, or is known not to.
    pub head_at_slot: Option<bool>,
    /// The engine or vendor that writes like this.
    pub engine: Option<Engine>,
    /// Characters that came with the first read that had output.
    pub first_chars: u64,
    pub unparsed: u64,
    at_end: Option<Box<EndReport>>,
    pub model: Option<Arc<str>>,
}

/// What most servers tell at the end only, once anything of it was told: an open stream has no room for it.
#[derive(Debug, Default)]
struct EndReport {
    told: ServerReport,
    /// When the event arrived that told how long the whole request took.
    timed: Option<Duration>,
    finish_reasons: Vec<FinishReason>,
}

impl ResponseTally {
    /// What the server has told of counts and times so far.
    pub fn told(&self) -> ServerReport {
        self.at_end.as_ref().map(|end| end.told).unwrap_or_default()
    }

    /// When the event arrived that told how long the whole request took.
    pub fn timed(&self) -> Option<Duration> {
        self.at_end.as_ref()?.timed
    }

    /// Of each choice that has ended, in the order of their ends; of a session, the first 128.
    pub fn finish_reasons(&self) -> &[FinishReason] {
        self.at_end.as_ref().map_or(&[], |end| &end.finish_reasons)
    }

    /// The 0-based index of the first event with output, over all that were dispatched.
    pub fn first_output_event(&self) -> Option<u64> {
        (self.output_events > 0).then_some(self.first_output_event)
    }

    /// That of the last one.
    pub fn last_output_event(&self) -> Option<u64> {
        (self.output_events > 0).then_some(self.last_output_event)
    }

    /// The account of a session of many responses.
    pub fn of_session() -> Self {
        Self { is_session: true, ..Self::default() }
    }

    /// Characters of output, of all kinds.
    pub fn chars(&self) -> u64 {
        self.answer_chars + self.reasoning_chars + self.tool_chars
    }

    /// How many choices the response has.
    pub fn choices(&self) -> usize {
        self.choices.len()
    }

    /// Whether the stream holds what completes it.
    pub fn is_complete(&self) -> bool {
        let has_finished =
            !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished);
        self.done || has_finished && !self.is_session
    }

    /// Something of the body could not be read.
    pub fn cannot(&mut self, reason: UnparsedReason, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.unparsed += 1;
        sink(LiveSample::Unparsed(reason));
    }

    /// Another piece of the body arrived: what its server sent as one chunk.
    pub fn piece(&mut self, arrival: Arrival) {
        self.pieces += 1;
        self.unstamped |= !arrival.is_stamped;
    }

    /// An event of a stream arrived.
    pub fn event(
        &mut self,
        arrival: Arrival,
        facts: &EventFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let index = self.events;
        self.events += 1;
        self.said(facts, sink);
        if facts.timings.is_some_and(|timings| timings.total.is_some()) {
            self.at_end.get_or_insert_default().timed = Some(arrival.at);
        }
        if facts.loading {
            sink(LiveSample::ModelLoading);
        }
        if facts.choices.iter().any(ChoiceFacts::has_output) {
            self.output_event(index, arrival, facts, sink);
        } else if let Some(last) = self.last_output
            && last.read == arrival.read
            && self.last_piece != self.pieces
        {
            // What ends a stream is often sent right behind the last output, and read together with it
            // by a reader that is in time.
            self.trailed = arrival.may_be_earlier() && arrival.read_delay > LATE;
        }
        for choice in &facts.choices {
            if let Some(at) = self.find_choice(choice.index, sink) {
                self.choice_output(at, arrival, choice, facts, sink);
                self.finish(at, choice, sink);
            }
        }
    }

    /// The response is one document: it has no first and no later token, only counts and text.
    pub fn document(&mut self, facts: &EventFacts, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.said(facts, sink);
        for choice in &facts.choices {
            self.characters(choice, sink);
            if let Some(at) = self.find_choice(choice.index, sink) {
                self.finish(at, choice, sink);
            }
        }
    }

    /// The response ended: the samples that were still owed.
    pub fn end(&mut self, sink: &mut impl FnMut(LiveSample<'_>)) {
        for gap in self.choices.iter_mut().filter_map(|choice| choice.arrivals.close()) {
            sink(token_gap(gap));
        }
    }

    /// A response of a session is over: the next one is measured for itself, while counts add up.
    pub fn turn(&mut self, sink: &mut impl FnMut(LiveSample<'_>)) {
        self.end(sink);
        self.choices.clear();
        (self.first_output, self.first_answer, self.last_output) = (None, None, None);
        // A session may last for hours: what its events did not tell is not left to its end.
        let told = self.told().usage.and_then(|usage| usage.total_output()).unwrap_or(0);
        if let Some(more) = told.checked_sub(self.live_tokens).filter(|more| *more > 0) {
            self.live_tokens = told;
            sink(LiveSample::OutputTokens(more));
        }
    }

    /// The response's head told this; what the body told beats it.
    pub fn head(&mut self, head: &HeaderFacts, stream: bool) {
        let told = &mut self.at_end.get_or_insert_default().told;
        if let Some(mut counts) = head.counts {
            counts.update(told.engine.unwrap_or_default());
            told.engine = Some(counts);
        }
        let mut timings = head.timings;
        if !stream {
            timings.total = timings.total.or(head.until_headers);
        }
        timings.update(told.timings);
        told.timings = timings;
        self.engine = self.engine.or(head.engine);
    }

    /// What an event says beside its output.
    fn said(&mut self, facts: &EventFacts, sink: &mut impl FnMut(LiveSample<'_>)) {
        if let Some(reason) = facts.unparsed {
            self.cannot(reason, sink);
        }
        if let Some(model) = &facts.model
            && self.model.is_none()
        {
            self.model = Some(model.as_str().into());
        }
        self.has_error |= facts.error;
        self.done |= facts.done;
        self.engine = facts.detected_engine.or(self.engine);
        self.head_at_slot = facts.headers_at_slot.or(self.head_at_slot);
        if facts.usage.is_some() || facts.engine_counts.is_some() || facts.timings.is_some() {
            self.tell(facts);
        }
    }

    fn tell(&mut self, facts: &EventFacts) {
        // llama.cpp reports each choice of several apart: in a report without choices, or beside its end,
        // that comes while another choice still runs.
        let others_run = self.choices.iter().any(|choice| !choice.finished);
        let is_end = self.engine == Some(Engine::LlamaCpp)
            && facts.choices.iter().all(|choice| choice.finish.is_some());
        let is_apart = (facts.choices.is_empty() || is_end) && others_run && self.choices() > 1;
        self.usage_per_choice |= facts.usage.is_some() && is_apart;
        let told = &mut self.at_end.get_or_insert_default().told;
        if let Some(timings) = facts.timings {
            told.timings.update(timings);
        }
        if let Some(mut usage) = facts.usage {
            let counted = told.usage.get_or_insert_default();
            if self.is_session {
                counted.add(usage);
                usage = *counted;
            } else if self.usage_per_choice
                && let (Some(before), Some(this)) = (counted.output, usage.output)
            {
                usage.output = Some(before + this);
            }
            counted.update(usage);
        }
        if let Some(engine) = facts.engine_counts {
            told.engine.get_or_insert_default().update(engine);
        }
    }

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
                let is_apart = self.last_piece != self.pieces;
                self.blurred |= is_boundary && is_apart && arrival.may_be_earlier();
            }
            Some(last) => {
                self.chunks += 1;
                sink(LiveSample::ChunkGap(arrival.at.saturating_sub(last.at)));
            }
            None => self.chunks += 1,
        }
        self.last_output = Some(arrival.into());
        self.last_piece = self.pieces;
        self.trailed = false;
        for choice in &facts.choices {
            let chars = self.characters(choice, sink);
            if first.read == arrival.read {
                self.first_chars += chars;
            }
        }
        // A running count is exact; without one each output event stands for one token.
        let ids: u64 = facts.choices.iter().map(|choice| choice.token_ids).sum();
        let new = match running(facts) {
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

    /// Adds up the text of one choice; gives how much it was.
    fn characters(&mut self, choice: &ChoiceFacts, sink: &mut impl FnMut(LiveSample<'_>)) -> u64 {
        let kinds = [
            (OutputKind::Answer, choice.answer_chars, &mut self.answer_chars),
            (OutputKind::Reasoning, choice.reasoning_chars, &mut self.reasoning_chars),
            (OutputKind::Tool, choice.tool_chars, &mut self.tool_chars),
        ];
        let mut all = 0;
        for (kind, chars, sum) in kinds {
            if chars > 0 {
                *sum += chars;
                all += chars;
                sink(LiveSample::Characters(kind, chars));
            }
        }
        all
    }

    /// Where the choice of this index is kept; `None` when there are too many.
    fn find_choice(&mut self, index: u32, sink: &mut impl FnMut(LiveSample<'_>)) -> Option<usize> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_some() {
            return known;
        }
        if self.choices.len() >= MAX_CHOICES {
            self.cannot(UnparsedReason::Choice, sink);
            return None;
        }
        // Nearly all responses have one, and a vector that grows makes room for four.
        self.choices.reserve_exact(usize::from(self.choices.is_empty()));
        self.choices.push(ChoiceTally {
            index,
            arrivals: ChoiceArrivals::default(),
            token_ids: 0,
            finished: false,
        });
        Some(self.choices.len() - 1)
    }

    fn choice_output(
        &mut self,
        at: usize,
        arrival: Arrival,
        said: &ChoiceFacts,
        facts: &EventFacts,
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        // A count over all choices says nothing about one of several.
        let counted = running(facts).filter(|_| self.choices.len() == 1);
        self.token_ids += said.token_ids;
        let Some(choice) = self.choices.get_mut(at) else { return };
        choice.token_ids += said.token_ids;
        let listed = (choice.token_ids > 0).then_some(choice.token_ids);
        if said.has_output()
            && let Some(gap) = choice.arrivals.output(arrival, counted.or(listed))
        {
            sink(token_gap(gap));
        }
    }

    fn finish(&mut self, at: usize, facts: &ChoiceFacts, sink: &mut impl FnMut(LiveSample<'_>)) {
        // Some gateways say it twice.
        if let Some(reason) = &facts.finish
            && let Some(choice) = self.choices.get_mut(at)
            && !std::mem::replace(&mut choice.finished, true)
        {
            sink(LiveSample::Finished(reason));
            let reasons = &mut self.at_end.get_or_insert_default().finish_reasons;
            if reasons.len() < MAX_CHOICES {
                reasons.push(reason.clone());
            }
        }
    }
}

/// The running count of output tokens that an event tells, of all choices.
fn running(facts: &EventFacts) -> Option<u64> {
    let of = |counts: Option<TokenCounts>| counts.and_then(|counts| counts.total_output());
    of(facts.usage).or(of(facts.engine_counts))
}

fn token_gap(gap: SharedGap) -> LiveSample<'static> {
    let SharedGap { gap, shares, basis } = gap;
    LiveSample::TokenGap { gap, shares, basis }
}
