//! Parses the events of one response.

use super::event_builder::{EventBuilder, MAX_DONE};
use super::repeats::SeenOutput;
use super::route::Operation;
use super::signature::{self, UNKNOWN};
use super::tag::{JsonShape, ProtobufShape, Tag};
use super::{Dialect, EventFacts, EventFormat, StreamEnd};
use crate::wire::memo::{Memo, MemoScanner};
use crate::wire::protobuf::ProtobufScanner;
use crate::wire::utf8::ScalarCount;
use crate::wire::{ScanError, ScanEvent};
use std::cell::Cell;

/// Most counters that are kept for one response.
const MAX_COUNTERS: usize = 256;
/// Events of a response in which its dialect is looked for.
const MAX_ATTEMPTS: u8 = 32;
/// Most bytes of an event that are kept to look for its dialect.
const MAX_KEPT: usize = 64 * 1024;

/// State that a dialect keeps from one event of a response to the next.
#[derive(Debug, Default)]
pub struct StreamState {
    has_model: bool,
    /// Name of the dialect that was detected, on a route that several dialects share.
    pub detected_dialect: Option<&'static str>,
    /// End of streams in the detected dialect, if it differs from that of the route.
    pub detected_end: Option<StreamEnd>,
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

    /// Forgets all counters, at the start of another response in the same session.
    pub fn clear_counters(&mut self) {
        self.counters.clear();
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
    /// Data of the event, while the dialect of the response is not certain.
    kept: Vec<u8>,
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
            kept: Vec::new(),
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
        let Self { json, protobuf, text, event, len, .. } = self;
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

    /// Parses a part of a JSON document that is the whole event. Returns the bytes after its end.
    fn push_document<'a>(&mut self, memo: &mut Memo<Tag>, bytes: &'a [u8]) -> &'a [u8] {
        let Self { json, event, len, .. } = self;
        let rest = json.push_document(memo, bytes, &mut |tag, token| event.record(tag, token));
        let consumed = bytes.len() - rest.len();
        event.push_data(bytes.get(..consumed).unwrap_or_default());
        *len = len.saturating_add(consumed);
        rest
    }

    /// Confirms the dialect if the event has facts of it. If not, keeps the bytes that were just parsed, to look for the
    /// dialect that they are of.
    fn confirm(&mut self, recognition: &mut Recognition, bytes: &[u8]) {
        if self.event.has_own_facts() {
            *recognition = Recognition::Recognised;
            return;
        }
        let free = MAX_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(bytes.get(..free).unwrap_or(bytes));
    }

    /// Ends the event's data.
    ///
    /// # Errors
    /// If the data is malformed or incomplete.
    #[inline(always)]
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

/// Ends the data of the current event, and returns its facts.
#[inline(always)]
fn parse_end<'a>(
    parser: &'a mut Option<Box<EventParser>>,
    dialect: &Dialect,
    stream: &mut StreamState,
    name: &[u8],
) -> &'a mut EventBuilder {
    let parser = current(parser, dialect, stream);
    let result = parser.finish(dialect.format);
    let EventParser { event, len, .. } = parser;
    if *len <= MAX_DONE && event.data_start().trim_ascii() == b"[DONE]" {
        event.clear();
        event.facts.done = true;
    } else {
        event.facts.error |= name == b"error";
        match result {
            // It may have any format.
            Err(_) if *dialect == UNKNOWN => {}
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
    event
}

/// Whether the events of a response are what its dialect describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognition {
    /// Not certain after this number of events.
    Pending(u8),
    /// An event had what only this dialect has, or the dialect cannot be recognised.
    Recognised,
    /// The first events had nothing of any dialect.
    Unrecognised,
}

/// Parser of the events of one response, in any split of their bytes.
#[derive(Debug)]
pub struct ResponseReader {
    dialect: &'static Dialect,
    recognition: Recognition,
    /// An event was well-formed, and had nothing of the dialect.
    has_foreign_event: bool,
    /// Operation of a response on a path that is not known, once its dialect is recognised.
    operation: Option<Operation>,
    memo: Memo<Tag>,
    stream: StreamState,
    /// Set between the first byte of an event and [`clear_event`](Self::clear_event).
    parser: Option<Box<EventParser>>,
}

impl ResponseReader {
    /// Creates a reader for a response in this dialect. If its first events have nothing of the dialect, another one is
    /// looked for by their shape.
    pub fn new(dialect: &'static Dialect) -> Self {
        let recognition = match dialect.format {
            EventFormat::Json(_) => Recognition::Pending(0),
            EventFormat::Protobuf(_) | EventFormat::Text(_) => Recognition::Recognised,
        };
        Self { recognition, ..Self::without_recognition(dialect) }
    }

    /// Creates a reader for a response that is in this dialect for certain.
    pub fn without_recognition(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            recognition: Recognition::Recognised,
            has_foreign_event: false,
            operation: None,
            memo: Memo::default(),
            stream: StreamState::default(),
            parser: None,
        }
    }

    /// Dialect of the response: that of the path, or the one that was recognised in its place.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Name of the dialect of the response: the detected one where several dialects share the route. `None` if none was
    /// recognised.
    pub fn dialect_name(&self) -> Option<&'static str> {
        let is_known = *self.dialect != UNKNOWN && self.recognition != Recognition::Unrecognised;
        is_known.then(|| self.stream.detected_dialect.unwrap_or(self.dialect.name))
    }

    /// The event or the end that completes the stream.
    pub fn stream_end(&self) -> StreamEnd {
        self.stream.detected_end.unwrap_or(self.dialect.stream_end)
    }

    /// Whether the events so far are what the dialect describes.
    pub fn recognition(&self) -> Recognition {
        self.recognition
    }

    /// Whether every stream of the dialect has output, a finish reason or a token count.
    pub fn always_has_content(&self) -> bool {
        signature::is_generative(self.dialect)
    }

    /// Operation that was recognised, if the path was not known.
    pub fn recognised_operation(&self) -> Option<Operation> {
        self.operation
    }

    /// Ends the search for the dialect at the end of the body, and returns its result if it was still pending. A document
    /// in a dialect that cannot be recognised is taken to be in it.
    pub fn end_recognition(&mut self, is_stream: bool) -> Recognition {
        if let Recognition::Pending(1..) = self.recognition {
            let may_be_empty = !is_stream && signature::may_be_empty(self.dialect);
            let is_trusted = *self.dialect != UNKNOWN && may_be_empty;
            self.recognition =
                if is_trusted { Recognition::Recognised } else { Recognition::Unrecognised };
            return self.recognition;
        }
        Recognition::Recognised
    }

    /// Parses the next bytes of the current event's data.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { dialect, memo, stream, parser, recognition, .. } = self;
        let parser = current(parser, dialect, stream);
        parser.push(dialect.format, memo, bytes);
        if let Recognition::Pending(_) = recognition {
            parser.confirm(recognition, bytes);
        }
    }

    /// Parses the next bytes of a document that is the whole event. Returns the bytes after its end.
    pub fn push_document<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let EventFormat::Json(_) = self.dialect.format else {
            self.push(bytes);
            return &[];
        };
        let Self { dialect, memo, stream, parser, recognition, .. } = self;
        let parser = current(parser, dialect, stream);
        let rest = parser.push_document(memo, bytes);
        if let Recognition::Pending(_) = recognition {
            parser.confirm(recognition, bytes.get(..bytes.len() - rest.len()).unwrap_or(bytes));
        }
        rest
    }

    /// Whether the end of the document has arrived.
    pub fn is_document_complete(&self) -> bool {
        self.parser.as_ref().is_some_and(|parser| parser.json.is_document_complete())
    }

    /// Facts of the event that was finished last, until it is cleared.
    pub fn facts(&mut self) -> &EventFacts {
        let Self { dialect, stream, parser, .. } = self;
        &current(parser, dialect, stream).event.facts
    }

    /// Marks the current event as an error, for framings that report one outside of the data.
    pub fn set_error(&mut self) {
        let Self { dialect, stream, parser, .. } = self;
        current(parser, dialect, stream).event.facts.error = true;
    }

    /// Ends the current event and returns its facts. `name` is the event's type in its framing, such as the `event`
    /// field of a server-sent event.
    pub fn finish_event(&mut self, name: &[u8]) -> &EventFacts {
        if self.recognition != Recognition::Recognised {
            return self.finish_first_event(name);
        }
        let Self { dialect, stream, parser, .. } = self;
        &parse_end(parser, dialect, stream, name).facts
    }

    /// Like [`finish_event`](Self::finish_event), while the dialect is not certain.
    #[inline(never)]
    fn finish_first_event(&mut self, name: &[u8]) -> &EventFacts {
        let Self { dialect, stream, parser, recognition, .. } = self;
        let event = parse_end(parser, dialect, stream, name);
        if event.has_own_facts() {
            *recognition = Recognition::Recognised;
        } else if let Recognition::Pending(attempts) = *recognition {
            *recognition = match attempts + 1 {
                MAX_ATTEMPTS => Recognition::Unrecognised,
                attempts => Recognition::Pending(attempts),
            };
            self.check_dialect(name);
        }
        self.facts()
    }

    /// Looks for the dialect of an event that has no facts of the dialect so far, and parses it again.
    fn check_dialect(&mut self, name: &[u8]) {
        let Some(parser) = &mut self.parser else { return };
        let EventParser { event, len, kept, .. } = &mut **parser;
        if event.facts.done || event.facts.error {
            // The end of a stream and an error are alike in many dialects.
            if !self.has_foreign_event && *self.dialect != UNKNOWN {
                self.recognition = Recognition::Recognised;
            }
            return;
        }
        if *len == 0 {
            return;
        }
        let event_type = if event.event_type().is_empty() { name } else { event.event_type() };
        if signature::is_type_of(self.dialect, event_type) {
            self.recognition = Recognition::Recognised;
            return;
        }
        // Text that is not JSON may be the error message of any API.
        self.has_foreign_event |= event.facts.unparsed.is_none();
        // The rest of a longer event is lost.
        if self.dialect.is_certain || *len > MAX_KEPT {
            return;
        }
        let Some(found) = signature::recognise(kept, name) else { return };
        if found.dialect == self.dialect {
            self.recognition = Recognition::Recognised;
            return;
        }
        let data = std::mem::take(kept);
        self.clear_event();
        let mut reader = Self::without_recognition(found.dialect);
        reader.push(&data);
        let event = parse_end(&mut reader.parser, reader.dialect, &mut reader.stream, name);
        if found.has_members || event.has_own_facts() || event.facts.done || event.facts.error {
            reader.operation = (*self.dialect == UNKNOWN).then_some(found.operation);
            *self = reader;
        }
    }

    /// Drops the current event, finished or not.
    pub fn clear_event(&mut self) {
        if let Some(mut parser) = self.parser.take() {
            parser.event.clear();
            parser.kept.clear();
            parser.len = 0;
            SPARE.set(Some(parser));
        }
    }
}
