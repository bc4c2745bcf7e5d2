//! The event that is being read: what its places say, added up.

use super::engine::{self, Engine};
use super::facts::{
    ChoiceFacts, Facts, FinishReason, MAX_CHOICES, TokenCounts, Unparsed, finish_reason,
};
use super::tag::{Count, Form, Stage, Tag};
use crate::wire::json::{ScanError, ScanEvent};

/// Fields that servers put reasoning text in.
pub const REASONING_FIELDS: usize = 5;
/// Numbers that tell which part of a response is meant.
const PLACES: usize = 3;
/// Longest kind of an event that is kept; real ones have at most about 50 bytes.
const MAX_KIND: usize = 64;

/// The output in one `delta`, `message` or event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Body {
    pub seen: bool,
    pub answer: u64,
    pub tool: u64,
    /// Output without text: a tool's name, audio, arguments that are no text.
    pub wordless: bool,
    pub reasoning: [u64; REASONING_FIELDS],
}

/// The choice that is being read.
#[derive(Debug, Default)]
pub struct Choice {
    pub index: Option<u64>,
    pub delta: Body,
    pub message: Body,
    in_message: bool,
    pub text: u64,
    pub token_ids: u64,
    pub finish: Option<FinishReason>,
}

impl Choice {
    /// The body that is being read.
    pub fn body(&mut self) -> &mut Body {
        if self.in_message { &mut self.message } else { &mut self.delta }
    }
}

/// The event that is being read.
#[derive(Debug, Default)]
pub struct Draft {
    pub facts: Facts,
    /// The choice at hand; outside of any, that of the whole event.
    pub choice: Choice,
    /// What [`Tag::Piece`] and [`Tag::Echo`] stand for is up to the dialect's conclusion.
    pub piece: u64,
    pub echo: u64,
    /// How many texts `piece` is the length of.
    pub pieces: u32,
    /// The piece is a special token's.
    pub is_special: bool,
    pub form: Option<Form>,
    pub places: [Option<u64>; PLACES],
    /// A choice of the event told its index.
    pub is_indexed: bool,
    /// An event of this stream has told the model; each one does.
    pub knows_model: bool,
    part: u64,
    is_thought: bool,
    usage: TokenCounts,
    total: Option<u64>,
    kind: Kind,
    part_kind: Kind,
}

/// The front of an event's kind.
#[derive(Debug)]
struct Kind {
    text: [u8; MAX_KIND],
    len: usize,
}

impl Default for Kind {
    fn default() -> Self {
        Self { text: [0; MAX_KIND], len: 0 }
    }
}

impl Kind {
    fn read(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    fn write(&mut self, text: &[u8]) {
        self.len = text.len().min(MAX_KIND);
        self.text.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
    }
}

/// A JSON number as a count; `None` for what is none.
pub fn count(number: f64) -> Option<u64> {
    // 2^53: larger ones are no longer exact, and no count of tokens comes near.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let is_count = (0.0..=MOST).contains(&number) && number.fract() == 0.0;
    is_count.then_some(number as u64)
}

impl Draft {
    /// Forgets the event.
    pub fn clear(&mut self) {
        self.facts.clear();
        self.choice = Choice::default();
        (self.piece, self.echo, self.part) = (0, 0, 0);
        (self.kind.len, self.part_kind.len) = (0, 0);
        (self.pieces, self.is_special, self.form) = (0, false, None);
        self.places = [None; PLACES];
        (self.is_thought, self.is_indexed) = (false, false);
    }

    /// The event's kind, in the API's words; empty if it did not say.
    pub fn kind(&self) -> &[u8] {
        self.kind.read()
    }

    /// The kind of the part that the event is about; empty if it did not say.
    pub fn part_kind(&self) -> &[u8] {
        self.part_kind.read()
    }

    /// What could not be scanned to its end says nothing, except that it is an error: those come in
    /// plain words too.
    pub fn skip(&mut self, why: ScanError) {
        let error = self.facts.error;
        self.clear();
        self.facts.error = error;
        if !error {
            let reason = if why == ScanError::TooDeep { Unparsed::Depth } else { Unparsed::Json };
            self.facts.unparsed = Some(reason);
        }
    }

    /// The event is output, as far as can be told of what cannot be read.
    pub fn unreadable(&mut self) {
        self.choice.delta.wordless = true;
        self.conclude();
        self.facts.unparsed = Some(Unparsed::Encoding);
    }

    /// Takes note of what stands at a place.
    pub fn note(&mut self, tag: Tag, token: ScanEvent<'_>) {
        match (tag, token) {
            // What stands in nearly every event, so that no more than this is looked through for it.
            (Tag::Choice, ScanEvent::Open) => self.choice = Choice::default(),
            (Tag::Choice, ScanEvent::Close) => self.end_choice(),
            (Tag::Delta, ScanEvent::Open) => self.choice.delta.seen = true,
            (Tag::Delta, ScanEvent::Close) | (Tag::Finish, ScanEvent::Null) => {}
            (Tag::Index, ScanEvent::Number(n)) => {
                (self.choice.index, self.is_indexed) = (count(n), true);
            }
            (Tag::Echo, ScanEvent::Text { chars, valid: true, .. }) => self.echo += chars,
            (Tag::Answer, ScanEvent::Text { chars, valid: true, .. }) => {
                self.choice.body().answer += chars;
            }
            _ => self.note_seldom(tag, token),
        }
    }

    #[inline(never)]
    fn note_seldom(&mut self, tag: Tag, token: ScanEvent<'_>) {
        if let ScanEvent::Text { valid: false, .. } = token {
            self.facts.unparsed = Some(Unparsed::Utf8);
        }
        match (tag, token) {
            (Tag::Message, ScanEvent::Open) => {
                (self.choice.in_message, self.choice.message.seen) = (true, true);
            }
            (Tag::Message, ScanEvent::Close) => self.choice.in_message = false,
            (Tag::Finish, ScanEvent::Text { text, .. }) if !text.is_empty() => {
                self.choice.finish = Some(finish_reason(text));
            }
            (Tag::Text, ScanEvent::Text { chars, .. }) => self.choice.text = chars,
            (Tag::TokenId, ScanEvent::Number(_)) => self.choice.token_ids += 1,
            (Tag::Part, ScanEvent::Open) => (self.part, self.is_thought) = (0, false),
            (Tag::Part, ScanEvent::Close) => self.end_part(),
            (Tag::PartText, ScanEvent::Text { chars, .. }) => self.part += chars,
            (Tag::Thought, ScanEvent::Bool(yes)) => self.is_thought = yes,
            (Tag::Thought, ScanEvent::Text { text, .. }) => {
                self.is_thought = matches!(text, b"reasoning_text" | b"summary_text");
            }
            (Tag::Piece, ScanEvent::Text { chars, .. }) => {
                self.piece += chars;
                self.pieces += 1;
            }
            (Tag::Special, ScanEvent::Bool(yes)) => self.is_special = yes,
            (Tag::Form(form), _) => self.form = Some(form),
            (Tag::Echo, ScanEvent::Text { chars, .. } | ScanEvent::Raw { chars }) => {
                self.echo += chars
            }
            (Tag::Place(rank), ScanEvent::Number(n)) => {
                if let Some(place) = self.places.get_mut(rank) {
                    *place = count(n);
                }
            }
            (Tag::Kind, ScanEvent::Text { text, .. }) => self.kind.write(text),
            (Tag::PartKind, ScanEvent::Text { text, .. }) => self.part_kind.write(text),
            (Tag::Model, ScanEvent::Text { text, .. }) if !text.is_empty() && !self.knows_model => {
                self.knows_model = true;
                self.facts.model = Some(String::from_utf8_lossy(text).into_owned());
            }
            (Tag::Error, ScanEvent::Text { chars, .. }) => self.facts.error |= chars > 0,
            (Tag::Error, ScanEvent::Open | ScanEvent::Bool(true) | ScanEvent::Number(_)) => {
                self.facts.error = true;
            }
            (Tag::Done, ScanEvent::Bool(yes)) => self.facts.done |= yes,
            (Tag::DoneText, ScanEvent::Text { .. }) => self.facts.done = true,
            (Tag::Usage, ScanEvent::Open) => {
                self.usage = TokenCounts::default();
                self.total = None;
            }
            (Tag::Usage, ScanEvent::Close) => self.end_usage(),
            (Tag::Count(Count::Total), ScanEvent::Number(n)) => self.total = count(n),
            (Tag::Count(what), ScanEvent::Number(n)) => tell(&mut self.usage, what, count(n)),
            (Tag::EngineCount(what), ScanEvent::Number(n)) => {
                tell(self.facts.engine.get_or_insert_default(), what, count(n));
            }
            (Tag::ElementCount(what), ScanEvent::Number(n)) => {
                add(self.facts.engine.get_or_insert_default(), what, count(n));
            }
            (Tag::Time(stage, unit), ScanEvent::Number(n)) => self.took(stage, unit.seconds(n)),
            (Tag::Sign(engine), _) => self.facts.made_by = Some(engine),
            (Tag::Fingerprint, ScanEvent::Text { text, .. }) => {
                if let Some(engine) = Engine::of_fingerprint(text) {
                    self.facts.made_by = Some(engine);
                }
                self.facts.head_at_slot = engine::head_at_slot(text).or(self.facts.head_at_slot);
            }
            _ => self.output(tag, token),
        }
    }

    fn output(&mut self, tag: Tag, token: ScanEvent<'_>) {
        let body = self.choice.body();
        match (tag, token) {
            (Tag::Answer, ScanEvent::Text { chars, .. }) => body.answer += chars,
            (Tag::Media | Tag::ToolName, ScanEvent::Text { chars, .. }) => {
                body.wordless |= chars > 0
            }
            // A tensor.
            (Tag::Media, ScanEvent::Open) => body.wordless = true,
            (Tag::Media, ScanEvent::Raw { chars }) => body.wordless |= chars > 0,
            (Tag::ToolArguments, ScanEvent::Text { chars, .. }) => body.tool += chars,
            // An object, as it would be written without blanks; an empty one says nothing.
            (Tag::ToolArguments, ScanEvent::Raw { chars }) if chars > 2 => body.tool += chars,
            (Tag::Reasoning(field), ScanEvent::Text { chars, .. }) => {
                if let Some(reasoning) = body.reasoning.get_mut(field) {
                    *reasoning += chars;
                }
            }
            _ => {}
        }
    }

    fn took(&mut self, stage: Stage, seconds: Option<f64>) {
        let timings = self.facts.timings.get_or_insert_default();
        let slot = match stage {
            Stage::Queue => &mut timings.queue,
            Stage::Prefill => &mut timings.prefill,
            Stage::Decode => &mut timings.decode,
            Stage::Load => &mut timings.load,
            Stage::FirstToken => &mut timings.first_token,
            Stage::Total => &mut timings.total,
        };
        *slot = seconds.or(*slot);
    }

    fn end_part(&mut self) {
        let (part, is_thought) = (self.part, self.is_thought);
        let body = self.choice.body();
        if is_thought {
            if let Some(reasoning) = body.reasoning.first_mut() {
                *reasoning += part;
            }
        } else {
            body.answer += part;
        }
    }

    fn end_choice(&mut self) {
        let Choice { index, delta, message, text, token_ids, finish, .. } = &mut self.choice;
        // Some servers repeat the whole message beside each delta.
        let body = if delta.seen || !message.seen { delta } else { message };
        let answer_chars = body.answer.max(*text);
        let facts = ChoiceFacts {
            index: 0,
            answer_chars,
            reasoning_chars: body.reasoning.into_iter().max().unwrap_or(0),
            tool_chars: body.tool,
            answers: answer_chars > 0 || body.tool > 0 || body.wordless,
            token_ids: *token_ids,
            finish: finish.take(),
        };
        match index.unwrap_or(0).try_into() {
            Ok(index) if self.facts.choices.len() < MAX_CHOICES => {
                self.facts.choices.push(ChoiceFacts { index, ..facts });
            }
            _ => self.facts.unparsed = Some(Unparsed::Choice),
        }
        self.choice = Choice::default();
    }

    /// The event is over: what stood in no choice is of choice 0, if it says anything.
    pub fn conclude(&mut self) {
        let Choice { delta, message, text, token_ids, finish, .. } = &self.choice;
        let says = |body: &Body| {
            body.answer > 0
                || body.tool > 0
                || body.wordless
                || body.reasoning.iter().any(|chars| *chars > 0)
        };
        if says(delta) || says(message) || *text > 0 || *token_ids > 0 || finish.is_some() {
            self.end_choice();
        }
    }

    /// Elements of a document that do not say which they are have their rank as their index.
    pub fn number_choices(&mut self) {
        let choices = &mut self.facts.choices;
        if choices.iter().all(|choice| choice.index == 0) {
            choices.iter_mut().zip(0..).for_each(|(choice, rank)| choice.index = rank);
        }
    }

    fn end_usage(&mut self) {
        let mut usage = self.usage;
        // A total of 0 is what a server writes that has not counted.
        let counts = [usage.input, usage.output, usage.cached, usage.written];
        if counts.iter().all(|count| count.unwrap_or(0) == 0) {
            return;
        }
        if let (Some(input), Some(output), Some(reasoning), Some(total)) =
            (usage.input, usage.output, usage.reasoning, self.total)
            && reasoning > 0
            && total != input + output
            && total == input + output + reasoning
        {
            // xAI leaves reasoning out of the completion, and its total says so.
            usage.reasoning_apart = true;
        }
        self.facts.usage.get_or_insert_default().update(usage);
    }
}

fn add(counts: &mut TokenCounts, what: Count, n: Option<u64>) {
    let sum = |before: Option<u64>| match (before, n) {
        (Some(before), Some(n)) => Some(before.saturating_add(n)),
        (before, n) => before.or(n),
    };
    match what {
        Count::Input => counts.input = sum(counts.input),
        Count::Output => counts.output = sum(counts.output),
        Count::Cached => counts.cached = sum(counts.cached),
        // No element tells more.
        _ => {}
    }
}

fn tell(counts: &mut TokenCounts, what: Count, n: Option<u64>) {
    match what {
        Count::Input => counts.input = n,
        Count::FreshInput => (counts.input, counts.cache_apart) = (n, true),
        Count::Output => counts.output = n,
        Count::VisibleOutput => (counts.output, counts.reasoning_apart) = (n, true),
        Count::Cached => counts.cached = n,
        Count::Written => counts.written = n,
        Count::Reasoning => counts.reasoning = n,
        Count::Total => {}
    }
}
