//! Builds the facts of one event from its tagged values.

use super::custom::{PartText, PartTypes};
use super::engine::{self, Engine};
use super::facts::{
    ChoiceFacts, EventFacts, FinishReason, MAX_CHOICES, TokenCounts, UnparsedReason, finish_reason,
};
use super::tag::{ApiFormat, ServerStage, Tag, TokenKind};
use crate::wire::{ScanError, ScanEvent};

/// Number of fields that servers put reasoning text in.
pub const REASONING_FIELDS: usize = 5;
/// Slots for [`Tag::Number`].
const NUMBER_SLOTS: usize = 3;
/// Longest event type that is kept, in bytes; real ones have at most about 50.
const MAX_TYPE: usize = 64;

/// Output in one `delta`, `message` or event, in Unicode scalar values.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputCounts {
    /// The event has this `delta` or `message`.
    pub is_present: bool,
    /// Answer text.
    pub answer: u64,
    /// Arguments of tool calls.
    pub tool: u64,
    /// There is output without text: a tool's name, audio, token ids.
    pub has_nontext: bool,
    /// Reasoning text, by field.
    pub reasoning: [u64; REASONING_FIELDS],
}

impl OutputCounts {
    fn is_empty(&self) -> bool {
        self.answer == 0
            && self.tool == 0
            && !self.has_nontext
            && self.reasoning.iter().all(|chars| *chars == 0)
    }
}

/// Facts of the current choice, so far.
#[derive(Debug, Default)]
pub struct ChoiceBuilder {
    pub index: Option<u64>,
    pub delta: OutputCounts,
    pub message: OutputCounts,
    in_message: bool,
    /// Unicode scalar values of [`Tag::CompletionText`].
    pub completion_text: u64,
    pub token_ids: u64,
    pub finish: Option<FinishReason>,
}

impl ChoiceBuilder {
    /// Counts of the `delta` or `message` that the scanner is in.
    pub fn output(&mut self) -> &mut OutputCounts {
        if self.in_message { &mut self.message } else { &mut self.delta }
    }
}

/// Facts of the current event, so far.
#[derive(Debug, Default)]
pub struct EventBuilder {
    pub facts: EventFacts,
    /// The current choice; outside of any, choice 0.
    pub choice: ChoiceBuilder,
    /// Unicode scalar values of [`Tag::EventText`].
    pub text: u64,
    /// Number of strings that `text` adds up.
    pub text_count: u32,
    /// Unicode scalar values of [`Tag::RepeatedText`].
    pub repeated_text: u64,
    /// Unicode scalar values of [`Tag::CallInput`].
    pub call_input: u64,
    /// Whether there is a [`Tag::ItemName`].
    pub has_item_name: bool,
    /// Whether there is a [`Tag::Identity`].
    pub has_identity: bool,
    /// [`Tag::SpecialToken`].
    pub is_special_token: bool,
    /// Whether [`Tag::SessionType`] says that the session is for transcription.
    pub is_transcription_session: bool,
    pub api_format: Option<ApiFormat>,
    /// Values of [`Tag::Number`].
    pub numbers: [Option<u64>; NUMBER_SLOTS],
    /// A choice of the event had an index.
    pub has_index: bool,
    /// An event of this stream had the model. Servers repeat it in each event.
    pub has_model: bool,
    part_text: u64,
    is_thought: bool,
    /// Text and type of the parts around the current [`Tag::TypedPart`].
    outer_parts: Vec<(u64, TypeName)>,
    usage: TokenCounts,
    total_tokens: Option<u64>,
    event_type: TypeName,
    part_type: TypeName,
}

/// Type of an event or a part, cut to [`MAX_TYPE`] bytes.
#[derive(Debug)]
struct TypeName {
    text: [u8; MAX_TYPE],
    len: usize,
}

impl Default for TypeName {
    fn default() -> Self {
        Self { text: [0; MAX_TYPE], len: 0 }
    }
}

impl TypeName {
    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    fn set(&mut self, text: &[u8]) {
        self.len = text.len().min(MAX_TYPE);
        self.text.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
    }
}

/// Converts a JSON number to a count; `None` if it is negative, fractional or above 2^53.
pub fn parse_count(number: f64) -> Option<u64> {
    // Numbers above 2^53 are not exact as f64. No token count comes near.
    const MAX: f64 = 9_007_199_254_740_992.0;
    let is_count = (0.0..=MAX).contains(&number) && number.fract() == 0.0;
    is_count.then_some(number as u64)
}

impl EventBuilder {
    /// Resets the builder for the next event.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.choice = ChoiceBuilder::default();
        (self.text, self.repeated_text, self.call_input, self.part_text) = (0, 0, 0, 0);
        (self.event_type.len, self.part_type.len) = (0, 0);
        (self.text_count, self.api_format) = (0, None);
        self.outer_parts.clear();
        self.numbers = [None; NUMBER_SLOTS];
        (self.is_thought, self.is_special_token, self.is_transcription_session) =
            (false, false, false);
        (self.has_index, self.has_item_name, self.has_identity) = (false, false, false);
    }

    /// Type of the event, from [`Tag::EventType`]; empty if it has none.
    pub fn event_type(&self) -> &[u8] {
        self.event_type.as_bytes()
    }

    /// Type of the part or item, from [`Tag::PartType`]; empty if it has none.
    pub fn part_type(&self) -> &[u8] {
        self.part_type.as_bytes()
    }

    /// Drops the values of an event that is malformed, and reports it as unparsed. An error stays an error, since
    /// servers send errors as plain text too.
    pub fn set_malformed(&mut self, why: ScanError) {
        let error = self.facts.error;
        self.clear();
        self.facts.error = error;
        if !error {
            let is_too_deep = why == ScanError::TooDeep;
            let reason = if is_too_deep { UnparsedReason::Depth } else { UnparsedReason::Json };
            self.facts.unparsed = Some(reason);
        }
    }

    /// Counts an event that cannot be decoded as output, and reports it as unparsed.
    pub fn set_unreadable(&mut self) {
        self.choice.delta.has_nontext = true;
        self.finish();
        self.facts.unparsed = Some(UnparsedReason::Encoding);
    }

    /// Records a tagged value.
    pub fn record(&mut self, tag: Tag, token: ScanEvent<'_>) {
        match (tag, token) {
            // Nearly every event has these, so they are compared first.
            (Tag::Choice, ScanEvent::Open) => self.choice = ChoiceBuilder::default(),
            (Tag::Choice, ScanEvent::Close) => self.end_choice(),
            (Tag::Delta, ScanEvent::Open) => self.choice.delta.is_present = true,
            (Tag::Delta, ScanEvent::Close) | (Tag::FinishReason, ScanEvent::Null) => {}
            (Tag::Index, ScanEvent::Number(n)) => {
                (self.choice.index, self.has_index) = (parse_count(n), true);
            }
            (Tag::Identity, ScanEvent::Text { chars, valid: true, .. }) => {
                self.has_identity |= chars > 0;
            }
            (Tag::Answer, ScanEvent::Text { chars, valid: true, .. }) => {
                self.choice.output().answer += chars;
            }
            _ => self.record_rare(tag, token),
        }
    }

    #[inline(never)]
    fn record_rare(&mut self, tag: Tag, token: ScanEvent<'_>) {
        if let ScanEvent::Text { valid: false, .. } = token {
            self.facts.unparsed = Some(UnparsedReason::Utf8);
        }
        match (tag, token) {
            (Tag::Message, ScanEvent::Open) => {
                (self.choice.in_message, self.choice.message.is_present) = (true, true);
            }
            (Tag::Message, ScanEvent::Close) => self.choice.in_message = false,
            (Tag::FinishReason, ScanEvent::Text { text, .. }) if !text.is_empty() => {
                self.choice.finish = Some(finish_reason(text));
            }
            (Tag::CompletionText, ScanEvent::Text { chars, .. }) => {
                self.choice.completion_text = chars;
            }
            (Tag::TokenId, ScanEvent::Number(_)) => self.choice.token_ids += 1,
            (Tag::Part, ScanEvent::Open) => (self.part_text, self.is_thought) = (0, false),
            (Tag::Part, ScanEvent::Close) => self.end_part(),
            (Tag::TypedPart(_), ScanEvent::Open) => {
                let outer =
                    (std::mem::take(&mut self.part_text), std::mem::take(&mut self.part_type));
                self.outer_parts.push(outer);
            }
            (Tag::TypedPart(types), ScanEvent::Close) => self.end_typed_part(types),
            (Tag::PartText, ScanEvent::Text { chars, .. }) => self.part_text += chars,
            (Tag::Thought, ScanEvent::Bool(yes)) => self.is_thought = yes,
            (Tag::Thought, ScanEvent::Text { text, .. }) => {
                self.is_thought = matches!(text, b"reasoning_text" | b"summary_text");
            }
            (Tag::EventText, ScanEvent::Text { chars, .. }) => {
                self.text += chars;
                self.text_count += 1;
            }
            (Tag::SpecialToken, ScanEvent::Bool(yes)) => self.is_special_token = yes,
            (Tag::Api(format), _) => self.api_format = Some(format),
            (Tag::RepeatedText, ScanEvent::Text { chars, .. }) => self.repeated_text += chars,
            (Tag::CallInput, ScanEvent::Text { chars, .. } | ScanEvent::Raw { chars }) => {
                self.call_input += chars;
            }
            (Tag::ItemName, ScanEvent::Text { chars, .. }) => self.has_item_name |= chars > 0,
            (Tag::Identity, ScanEvent::Text { chars, .. }) => self.has_identity |= chars > 0,
            (Tag::SessionType, ScanEvent::Text { text, .. }) => {
                self.is_transcription_session = text == b"transcription";
            }
            (Tag::Number(slot), ScanEvent::Number(n)) => {
                if let Some(number) = self.numbers.get_mut(slot) {
                    *number = parse_count(n);
                }
            }
            (Tag::EventType, ScanEvent::Text { text, .. }) => self.event_type.set(text),
            (Tag::PartType, ScanEvent::Text { text, .. }) => self.part_type.set(text),
            (Tag::Model, ScanEvent::Text { text, .. }) if !text.is_empty() && !self.has_model => {
                self.has_model = true;
                self.facts.model = Some(String::from_utf8_lossy(text).into_owned());
            }
            (Tag::Error, ScanEvent::Text { chars, .. }) => self.facts.error |= chars > 0,
            (Tag::Error, ScanEvent::Open | ScanEvent::Bool(true) | ScanEvent::Number(_)) => {
                self.facts.error = true;
            }
            (Tag::Done, ScanEvent::Bool(yes)) => self.facts.done |= yes,
            (Tag::End, ScanEvent::Text { chars, .. }) => self.facts.done |= chars > 0,
            (Tag::End, ScanEvent::Open | ScanEvent::Bool(true) | ScanEvent::Number(_)) => {
                self.facts.done = true;
            }
            (Tag::EndText(ends), ScanEvent::Text { text, .. }) => {
                self.facts.done |= ends.contains(text);
                self.part_type.set(text);
            }
            (Tag::Usage, ScanEvent::Open) => {
                self.usage = TokenCounts::default();
                self.total_tokens = None;
            }
            (Tag::Usage, ScanEvent::Close) => self.end_usage(),
            (Tag::Count(TokenKind::Total), ScanEvent::Number(n)) => {
                self.total_tokens = parse_count(n)
            }
            (Tag::Count(kind), ScanEvent::Number(n)) => {
                set_count(&mut self.usage, kind, parse_count(n));
            }
            (Tag::EngineCount(kind), ScanEvent::Number(n)) => {
                let counts = self.facts.engine_counts.get_or_insert_default();
                set_count(counts, kind, parse_count(n));
            }
            (Tag::ElementCount(kind), ScanEvent::Number(n)) => {
                let counts = self.facts.engine_counts.get_or_insert_default();
                add_count(counts, kind, parse_count(n));
            }
            (Tag::Duration(stage, unit), ScanEvent::Number(n)) => {
                self.set_duration(stage, unit.seconds(n));
            }
            (Tag::WrittenBy(engine), _) => self.facts.detected_engine = Some(engine),
            (Tag::Fingerprint, ScanEvent::Text { text, .. }) => {
                if let Some(engine) = Engine::from_fingerprint(text) {
                    self.facts.detected_engine = Some(engine);
                }
                self.facts.headers_at_slot =
                    engine::headers_at_slot(text).or(self.facts.headers_at_slot);
            }
            _ => self.record_output(tag, token),
        }
    }

    fn record_output(&mut self, tag: Tag, token: ScanEvent<'_>) {
        let output = self.choice.output();
        match (tag, token) {
            (Tag::Answer, ScanEvent::Text { chars, .. }) => output.answer += chars,
            (Tag::Media | Tag::ToolName, ScanEvent::Text { chars, .. }) => {
                output.has_nontext |= chars > 0;
            }
            // A tensor.
            (Tag::Media, ScanEvent::Open) => output.has_nontext = true,
            (Tag::Media, ScanEvent::Raw { chars }) => output.has_nontext |= chars > 0,
            (Tag::ToolArguments, ScanEvent::Text { chars, .. }) => output.tool += chars,
            // The length of an object without whitespace; the empty object `{}` is no output.
            (Tag::ToolArguments, ScanEvent::Raw { chars }) if chars > 2 => output.tool += chars,
            (Tag::Reasoning(field), ScanEvent::Text { chars, .. }) => {
                if let Some(reasoning) = output.reasoning.get_mut(field) {
                    *reasoning += chars;
                }
            }
            _ => {}
        }
    }

    fn set_duration(&mut self, stage: ServerStage, seconds: Option<f64>) {
        let timings = self.facts.timings.get_or_insert_default();
        let slot = match stage {
            ServerStage::Queue => &mut timings.queue,
            ServerStage::Prefill => &mut timings.prefill,
            ServerStage::Decode => &mut timings.decode,
            ServerStage::Load => &mut timings.load,
            ServerStage::FirstToken => &mut timings.first_token,
            ServerStage::Total => &mut timings.total,
        };
        *slot = seconds.or(*slot);
    }

    fn end_part(&mut self) {
        let (chars, is_thought) = (self.part_text, self.is_thought);
        let output = self.choice.output();
        if is_thought {
            if let Some(reasoning) = output.reasoning.first_mut() {
                *reasoning += chars;
            }
        } else {
            output.answer += chars;
        }
    }

    fn end_typed_part(&mut self, types: &PartTypes) {
        let text = types.find(self.part_type());
        let chars = self.part_text;
        (self.part_text, self.part_type) = self.outer_parts.pop().unwrap_or_default();
        let output = self.choice.output();
        match text {
            Some(PartText::Answer) => output.answer += chars,
            Some(PartText::Reasoning) => output.reasoning[0] += chars,
            None => {}
        }
    }

    fn end_choice(&mut self) {
        let ChoiceBuilder { index, delta, message, completion_text, token_ids, finish, .. } =
            &mut self.choice;
        // Some servers repeat the whole message beside each delta.
        let output = if delta.is_present || !message.is_present { delta } else { message };
        let answer_chars = output.answer.max(*completion_text);
        let facts = ChoiceFacts {
            index: 0,
            answer_chars,
            reasoning_chars: output.reasoning.into_iter().max().unwrap_or(0),
            tool_chars: output.tool,
            has_answer: answer_chars > 0 || output.tool > 0 || output.has_nontext,
            token_ids: *token_ids,
            finish: finish.take(),
        };
        match index.unwrap_or(0).try_into() {
            Ok(index) if self.facts.choices.len() < MAX_CHOICES => {
                self.facts.choices.push(ChoiceFacts { index, ..facts });
            }
            _ => self.facts.unparsed = Some(UnparsedReason::Choice),
        }
        self.choice = ChoiceBuilder::default();
    }

    /// Ends the event. Values outside of any choice become choice 0, if there are any.
    pub fn finish(&mut self) {
        let ChoiceBuilder { delta, message, completion_text, token_ids, finish, .. } = &self.choice;
        let is_empty = delta.is_empty()
            && message.is_empty()
            && *completion_text == 0
            && *token_ids == 0
            && finish.is_none();
        if !is_empty {
            self.end_choice();
        }
    }

    /// Numbers the elements of a document by position where none of them has an index.
    pub fn number_choices(&mut self) {
        let choices = &mut self.facts.choices;
        if choices.iter().all(|choice| choice.index == 0) {
            choices.iter_mut().zip(0..).for_each(|(choice, position)| choice.index = position);
        }
    }

    fn end_usage(&mut self) {
        let mut usage = self.usage;
        // Servers that do not count send zeros.
        let counts = [usage.input, usage.output, usage.cached, usage.cache_written];
        if counts.iter().all(|count| count.unwrap_or(0) == 0) {
            return;
        }
        if let (Some(input), Some(output), Some(reasoning), Some(total)) =
            (usage.input, usage.output, usage.reasoning, self.total_tokens)
            && reasoning > 0
            && total != input + output
            && total == input + output + reasoning
        {
            // xAI does not include reasoning in `completion_tokens`; the total shows that.
            usage.output_excludes_reasoning = true;
        }
        self.facts.usage.get_or_insert_default().update(usage);
    }
}

fn add_count(counts: &mut TokenCounts, kind: TokenKind, n: Option<u64>) {
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

fn set_count(counts: &mut TokenCounts, kind: TokenKind, n: Option<u64>) {
    match kind {
        TokenKind::Input => counts.input = n,
        TokenKind::UncachedInput => (counts.input, counts.input_excludes_cache) = (n, true),
        TokenKind::Output => counts.output = n,
        TokenKind::VisibleOutput => (counts.output, counts.output_excludes_reasoning) = (n, true),
        TokenKind::CacheRead => counts.cached = n,
        TokenKind::CacheWritten => counts.cache_written = n,
        TokenKind::Reasoning => counts.reasoning = n,
        TokenKind::Total => {}
    }
}
