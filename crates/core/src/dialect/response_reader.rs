//! Parses the events of one response.

use super::event_builder::{EventBuilder, MAX_DONE};
use super::repeats::SeenOutput;
use super::tag::{JsonShape, ProtobufShape, Tag};
use super::{Dialect, EventFacts, EventFormat};
use crate::wire::memo::{Memo, MemoScanner};
use crate::wire::protobuf::ProtobufScanner;
use crate::wire::utf8::ScalarCount;
use crate::wire::{ScanError, ScanEvent};
use std::cell::Cell;

/// Most counters that are kept for one response.
const MAX_COUNTERS: usize = 256;

/// State that a dialect keeps from one event of a response to the next.
#[derive(Debug, Default)]
pub struct StreamState {
    has_model: bool,
    /// Name of the dialect that was detected, on a route that several dialects share.
    pub detected_dialect: Option<&'static str>,
    /// Output that later events may repeat.
    seen: SeenOutput,
    /// An event of the response was parsed.
    pub has_event: bool,
    /// The stream began with llama-swap's progress messages, and nothing else followed yet.
    pub shows_loading: bool,
    /// Pairs of key and count. Each dialect defines its own keys.
    counters: Vec<(u64, u64)>,
}

impl StreamState {
    /// Returns the counter with this key, which starts at 0; `None` if 256 others exist.
    pub fn counter(&mut self, key: u64) -> Option<&mut u64> {
        let at = match self.counters.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None if self.counters.len() < MAX_COUNTERS => {
                self.counters.push((key, 0));
                self.counters.len() - 1
            }
            None => return None,
        };
        self.counters.get_mut(at).map(|(_, count)| count)
    }

    /// Whether `source` is the first kind of event that carried the text with this key.
    ///
    /// Some APIs send the same text in several kinds of events, one after the other. Only the kind that came first
    /// counts. `source` must not be 0. The key shares its counter with [`counter`](Self::counter), so a dialect uses
    /// it for one of the two.
    pub fn is_first_source(&mut self, key: u64, source: u64) -> bool {
        self.counter(key).is_some_and(|first| {
            if *first == 0 {
                *first = source;
            }
            *first == source
        })
    }
}

/// Parser of one event at a time.
///
/// It holds nothing between two events, so all streams of a thread share one: it stays in the processor's cache.
#[derive(Debug)]
struct EventParser {
    json: MemoScanner<Tag>,
    protobuf: ProtobufScanner<Tag>,
    text: ScalarCount,
    event: EventBuilder,
    /// Number of data bytes so far.
    len: usize,
}

thread_local! {
    /// The parser that was used last, ready for the next event of any stream.
    static SPARE: Cell<Option<Box<EventParser>>> = const { Cell::new(None) };
}

impl EventParser {
    fn new() -> Self {
        static NO_JSON: JsonShape = JsonShape::path(&[]);
        static NO_PROTOBUF: ProtobufShape = ProtobufShape::path(&[]);
        Self {
            json: MemoScanner::new(&NO_JSON),
            protobuf: ProtobufScanner::new(&NO_PROTOBUF),
            text: ScalarCount::default(),
            event: EventBuilder::default(),
            len: 0,
        }
    }

    /// Takes the thread's spare parser, or makes one, and starts an event in this format.
    fn start(format: EventFormat) -> Box<Self> {
        let mut parser = SPARE.take().unwrap_or_else(|| Box::new(Self::new()));
        match format {
            EventFormat::Json(shape) => parser.json.begin(shape),
            EventFormat::Protobuf(shape) => parser.protobuf.begin(shape),
            EventFormat::Text(shape) => {
                parser.text = ScalarCount::default();
                parser.json.begin(shape);
            }
        }
        parser
    }

    fn push(&mut self, format: EventFormat, memo: &mut Memo<Tag>, bytes: &[u8]) {
        let Self { json, protobuf, text, event, len } = self;
        event.push_data(bytes);
        *len = len.saturating_add(bytes.len());
        let sink = &mut |tag, token: ScanEvent<'_>| event.record(tag, token);
        match format {
            EventFormat::Json(_) => json.push(memo, bytes, sink),
            EventFormat::Protobuf(_) => protobuf.push(bytes, sink),
            EventFormat::Text(_) => {
                text.push(bytes);
                json.push(memo, bytes, sink);
            }
        }
    }

    /// Ends the event's data.
    ///
    /// # Errors
    /// If the data is malformed or incomplete.
    fn finish(&mut self, format: EventFormat) -> Result<(), ScanError> {
        let Self { json, protobuf, text, event, .. } = self;
        match format {
            EventFormat::Json(_) => json.end(&mut |tag, token| event.record(tag, token)),
            EventFormat::Protobuf(_) => protobuf.end(),
            EventFormat::Text(_) => {
                // Malformed JSON is fine here: the data is text in any case.
                let _ = json.end(&mut |tag, token| event.record(tag, token));
                text.end();
                let (chars, valid) = (text.chars(), !text.invalid());
                event.record(Tag::EventText, ScanEvent::Text { chars, text: b"", valid });
                Ok(())
            }
        }
    }
}

/// Whether the event is a compressed gRPC message. Those are not decompressed.
fn is_compressed(format: EventFormat, name: &[u8]) -> bool {
    matches!(format, EventFormat::Protobuf(_)) && name == b"compressed"
}

/// Returns the parser of the current event, and starts the event if there is none.
fn current<'a>(
    parser: &'a mut Option<Box<EventParser>>,
    dialect: &Dialect,
    stream: &StreamState,
) -> &'a mut EventParser {
    parser.get_or_insert_with(|| {
        let mut parser = EventParser::start(dialect.format);
        parser.event.has_model = stream.has_model;
        parser.event.keeps_start = !stream.has_event;
        parser
    })
}

/// Parser of the events of one response, in any split of their bytes.
#[derive(Debug)]
pub struct ResponseReader {
    dialect: &'static Dialect,
    memo: Memo<Tag>,
    stream: StreamState,
    /// Set between the first byte of an event and [`clear_event`](Self::clear_event).
    parser: Option<Box<EventParser>>,
}

impl ResponseReader {
    /// Creates a reader for a response in this dialect.
    pub fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, memo: Memo::default(), stream: StreamState::default(), parser: None }
    }

    /// Dialect that the route names.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Name of the dialect of the response: the detected one where several dialects share the route.
    pub fn dialect_name(&self) -> &'static str {
        self.stream.detected_dialect.unwrap_or(self.dialect.name)
    }

    /// Parses the next bytes of the current event's data.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { dialect, memo, stream, parser } = self;
        current(parser, dialect, stream).push(dialect.format, memo, bytes);
    }

    /// Marks the current event as an error, for framings that report one outside of the data.
    pub fn set_error(&mut self) {
        let Self { dialect, stream, parser, .. } = self;
        current(parser, dialect, stream).event.facts.error = true;
    }

    /// Ends the current event and returns its facts. `name` is the event's type in its framing, such as the `event`
    /// field of a server-sent event.
    pub fn finish_event(&mut self, name: &[u8]) -> &EventFacts {
        let Self { dialect, stream, parser, .. } = self;
        let parser = current(parser, dialect, stream);
        let result = parser.finish(dialect.format);
        let EventParser { event, len, .. } = parser;
        if *len <= MAX_DONE && event.data_start().trim_ascii() == b"[DONE]" {
            event.clear();
            event.facts.done = true;
        } else {
            event.facts.error |= name == b"error";
            match result {
                Err(why) if *len > 0 => event.set_malformed(why),
                Ok(()) if is_compressed(dialect.format, name) => event.set_unreadable(),
                // An event without data may still matter by its name.
                _ => {
                    (dialect.finish_event)(event, stream, name);
                    stream.seen.drop_repeats(event);
                }
            }
        }
        stream.has_model |= event.facts.model.is_some();
        stream.has_event = true;
        &event.facts
    }

    /// Drops the current event, finished or not.
    pub fn clear_event(&mut self) {
        if let Some(mut parser) = self.parser.take() {
            parser.event.clear();
            parser.len = 0;
            SPARE.set(Some(parser));
        }
    }
}
