//! Reader of one response: bytes to events ([`wire`](crate::wire)), events to facts ([`dialect`](crate::dialect)), facts
//! to counts and times ([`ResponseTally`]).

use super::arrivals::Arrival;
use super::outcome::{EndCause, ErrorKind};
use super::session::RealtimeSession;
use super::tally::{LiveSample, ResponseTally};
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::{Dialect, Recognition, ResponseReader, StreamEnd, UNKNOWN, UnparsedReason};
use crate::wire::FrameEvent;
use crate::wire::coding::{CodingError, ContentDecoder};
use crate::wire::detection::{Detection, FramingDetector};
use crate::wire::framing::{DeclaredFraming, Framer, Framing};
use crate::wire::websocket::WebSocketFramer;
use std::sync::Arc;
use std::time::Duration;

/// Measures one response from its bytes and their arrival times.
///
/// The fields are in the order in which a read accesses them.
#[derive(Debug)]
#[repr(C)]
pub struct ResponseMeter {
    /// Decodes the content codings of the body, in a copy.
    decoder: Option<Box<ContentDecoder>>,
    /// Present after a switch to WebSocket.
    session: Option<Box<RealtimeSession>>,
    /// Arrival of the latest bytes.
    arrival: Option<Arrival>,
    body: BodyState,
    reader: ResponseReader,
    tally: ResponseTally,
    /// Arrivals of events, while no event was recognised.
    unrecognised: Option<Box<UnrecognisedEvents>>,
    /// The body may be sound or plain text.
    may_be_media: bool,
    /// The body is a JSON array on an unknown path, and so far no stream.
    is_plain_array: bool,
    /// How a body without a known framing is counted.
    unreadable: Option<UnparsedReason>,
}

/// Framing of the body.
#[derive(Debug)]
enum BodyState {
    /// Detected from the first bytes, which have not arrived yet.
    Undetected(FramingDetector),
    /// One JSON document, so far. The arrival of its last byte, once it is complete.
    Document(Option<Arrival>),
    /// Known: the framer splits the body into events.
    Framed(Framer),
    /// Not supported, or no longer readable after an error.
    Unreadable { is_stream: bool },
}

impl BodyState {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::Document => Self::Document(None),
            framing => Self::Framed(Framer::new(framing)),
        }
    }
}

impl ResponseMeter {
    /// Creates a meter for a response body, with the values of its `Content-Type` and `Content-Encoding`. The first bytes
    /// of the body decide where they contradict the values.
    ///
    /// # Errors
    /// If the memory for decoding is exhausted.
    pub fn new(
        dialect: &'static Dialect,
        content_type: &[u8],
        content_encoding: &[u8],
    ) -> Result<Self, UnparsedReason> {
        Self::with_framing(dialect, Framing::from_content_type(content_type), content_encoding)
    }

    /// Creates a meter for a body whose framing is already derived from its `Content-Type`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_framing(
        dialect: &'static Dialect,
        declared: DeclaredFraming,
        content_encoding: &[u8],
    ) -> Result<Self, UnparsedReason> {
        let mut detector = FramingDetector::new(declared, dialect.json_framing);
        let mut unreadable = UnparsedReason::ContentType;
        let decoder = match ContentDecoder::new(content_encoding) {
            Ok(decoder) => decoder.map(Box::new),
            // Some servers write words that are no coding, such as `none` or `utf-8`.
            Err(CodingError::Unknown) => {
                (detector, unreadable) = (detector.without_trust(), UnparsedReason::Encoding);
                None
            }
            Err(_) => return Err(UnparsedReason::Encoding),
        };
        Ok(Self {
            decoder,
            body: BodyState::Undetected(detector),
            reader: ResponseReader::new(dialect),
            tally: ResponseTally::default(),
            arrival: None,
            session: None,
            unrecognised: None,
            may_be_media: false,
            is_plain_array: false,
            unreadable: (*dialect != UNKNOWN).then_some(unreadable),
        })
    }

    /// Allows for a body that is sound or plain text: it is not counted as unparsed, and JSON is read only if it is
    /// declared.
    pub fn allow_media(&mut self) {
        (self.unreadable, self.may_be_media) = (None, true);
    }

    /// Creates a meter for a connection that has switched to WebSocket. The messages of the server are events in this
    /// dialect. `deflate`: permessage-deflate was negotiated.
    pub fn for_websocket(dialect: &'static Dialect, deflate: bool) -> Self {
        let framer = Framer::WebSocket(Box::new(WebSocketFramer::new(deflate)));
        Self {
            decoder: None,
            body: BodyState::Framed(framer),
            reader: ResponseReader::without_recognition(dialect),
            tally: ResponseTally::for_session(),
            arrival: None,
            unrecognised: None,
            unreadable: None,
            may_be_media: false,
            is_plain_array: false,
            session: Some(Box::new(RealtimeSession::new(dialect.session, deflate))),
        }
    }

    /// Whether this is a WebSocket session, which can hold many responses.
    pub fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Model that the client requested in its messages; `None` if this is not a session.
    pub fn requested_model(&self) -> Option<&Arc<str>> {
        self.session.as_ref()?.requested_model()
    }

    /// Whether the client of a session has not sent a complete message yet. It may still name the model.
    pub fn awaits_client_message(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.has_client_message())
    }

    /// Whether the body is a stream of events. False while that is unknown.
    pub fn is_stream(&self) -> bool {
        match &self.body {
            BodyState::Undetected(detector) => detector.declares_stream(),
            BodyState::Document(_) => false,
            BodyState::Framed(framer) => framer.is_stream() && !self.is_plain_array,
            BodyState::Unreadable { is_stream } => *is_stream,
        }
    }

    /// Whether all of the body so far could be decoded and framed.
    pub fn is_fully_read(&self) -> bool {
        !matches!(self.body, BodyState::Unreadable { .. })
    }

    /// Whether the body is truncated if it ends now without an end marker. A session can end between two responses.
    pub fn needs_terminator(&self) -> bool {
        match &self.session {
            Some(session) => session.is_running(),
            // The unreadable part may contain the end marker.
            None => {
                self.is_stream()
                    && self.is_fully_read()
                    && self.reader.stream_end() == StreamEnd::Event
                    && self.reader.recognition() != Recognition::Unrecognised
            }
        }
    }

    /// Whether the end of the response can report how long its model took to load.
    pub fn reports_load_time(&self) -> bool {
        self.reader.dialect().reports_load_time
    }

    /// Name of the dialect of the response; `None` if it was not recognised, or the body is not readable.
    pub fn dialect(&self) -> Option<&'static str> {
        self.reader.dialect_name().filter(|_| self.is_fully_read() || self.tally.events > 0)
    }

    /// Whether the first events had nothing of any dialect.
    pub fn is_unrecognised(&self) -> bool {
        self.reader.recognition() == Recognition::Unrecognised
    }

    /// Arrival of the first event of a response in no known dialect.
    pub fn first_unrecognised_event(&self) -> Option<Duration> {
        self.unrecognised.as_ref().and_then(|events| events.first)
    }

    /// How the response shows that it failed, if it ended in this way.
    pub fn error_kind(&self, end: EndCause) -> Option<ErrorKind> {
        let is_over = self.tally.done || end == EndCause::Complete && !self.needs_terminator();
        let must_have_content = self.is_stream()
            && !self.is_session()
            && self.is_fully_read()
            && !self.is_unrecognised()
            && self.reader.always_has_content();
        let is_empty = is_over && must_have_content && !self.tally.has_content();
        self.tally.error_kind(self.is_session()).or(is_empty.then_some(ErrorKind::NoOutput))
    }

    /// Counts and times so far.
    pub fn tally(&self) -> &ResponseTally {
        &self.tally
    }

    /// Reads the next bytes of the body, which arrived together.
    pub fn push(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(LiveSample<'_>)) {
        if bytes.is_empty() {
            return;
        }
        let is_first = self.arrival.replace(arrival).is_none();
        self.tally.chunk(arrival);
        let Some(mut decoder) = self.decoder.take() else {
            self.push_decoded(arrival, bytes, sink);
            return;
        };
        if let (true, Some(first)) = (is_first, bytes.first())
            && decoder.is_contradicted_by(*first)
        {
            // The body is not encoded, or not in this coding: only clear bytes show which.
            if let BodyState::Undetected(detector) = &mut self.body {
                *detector = detector.without_trust();
            }
            self.unreadable = self.unreadable.map(|_| UnparsedReason::Encoding);
            self.push_decoded(arrival, bytes, sink);
            return;
        }
        match decoder.push(bytes, &mut |plain| self.push_decoded(arrival, plain, sink)) {
            Ok(()) => self.decoder = Some(decoder),
            Err(_) => {
                self.tally.record_unparsed(UnparsedReason::Encoding, sink);
                self.body = BodyState::Unreadable { is_stream: self.is_stream() };
            }
        }
    }

    /// Reads the next decoded bytes of the body.
    fn push_decoded(
        &mut self,
        arrival: Arrival,
        bytes: &[u8],
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        if self.is_plain_array {
            return self.push_array(arrival, bytes, sink);
        }
        let Self { body, reader, tally, session, unrecognised, .. } = self;
        let BodyState::Framed(framer) = body else {
            return self.push_unframed(arrival, bytes, sink);
        };
        framer.push(bytes, &mut |frame| match session {
            Some(session) => read_session_frame(frame, arrival, reader, session, tally, sink),
            None => read_frame(frame, arrival, reader, tally, unrecognised, sink),
        });
    }

    /// Reads a part of a JSON array on an unknown path. It is a stream if its first element is recognised.
    #[inline(never)]
    fn push_array(
        &mut self,
        arrival: Arrival,
        bytes: &[u8],
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let Self { body: BodyState::Framed(framer), reader, tally, unrecognised, .. } = self else {
            return;
        };
        framer.push(bytes, &mut |frame| {
            if let Recognition::Pending(0) | Recognition::Recognised = reader.recognition() {
                read_frame(frame, arrival, reader, tally, unrecognised, sink);
            }
        });
        self.is_plain_array = reader.recognition() != Recognition::Recognised;
        if let Recognition::Pending(1..) = reader.recognition() {
            self.body = BodyState::Unreadable { is_stream: false };
            *unrecognised = None;
        }
    }

    #[inline(never)]
    fn push_unframed(
        &mut self,
        arrival: Arrival,
        bytes: &[u8],
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        match &self.body {
            BodyState::Document(_) => self.push_document(arrival, bytes, sink),
            BodyState::Undetected(_) => self.detect(arrival, bytes, sink),
            BodyState::Framed(_) | BodyState::Unreadable { .. } => {}
        }
    }

    /// Looks at the first bytes of the body, and reads them once its framing is known.
    fn detect(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(LiveSample<'_>)) {
        let BodyState::Undetected(detector) = &mut self.body else { return };
        if let Some(framing) = detector.confirm(bytes) {
            self.body = BodyState::new(self.reader.dialect().framing(framing));
            return self.push_decoded(arrival, bytes, sink);
        }
        let found = detector.push(bytes);
        // Sound and text can begin with any byte. So a body of these must begin like most events to be a stream.
        let is_sound = self.may_be_media && detector.is_undeclared();
        let has_event = detector.begins_with_event();
        // The detector is replaced while its bytes are read.
        let detector = *detector;
        match found {
            Detection::Undecided if !(is_sound && bytes.starts_with(b"\0")) => return,
            Detection::Framing(framing) if has_event && framing == Framing::Sse || !is_sound => {
                self.is_plain_array =
                    framing == Framing::JsonArray && *self.reader.dialect() == UNKNOWN;
                self.body = BodyState::new(self.reader.dialect().framing(framing));
            }
            _ => {
                self.body = BodyState::Unreadable { is_stream: detector.declares_stream() };
                if let Some(reason) = self.unreadable {
                    self.tally.record_unparsed(reason, sink);
                }
                return;
            }
        }
        let (held, latest) = detector.unread(bytes);
        if !held.is_empty() {
            self.push_decoded(arrival, held, sink);
        }
        self.push_decoded(arrival, latest, sink);
    }

    /// Reads a part of a body that is one JSON document. If another document or an event follows, the body is a stream.
    fn push_document(
        &mut self,
        arrival: Arrival,
        bytes: &[u8],
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let Self { body: BodyState::Document(end), reader, tally, unrecognised, .. } = self else {
            return;
        };
        let rest = reader.push_document(bytes);
        let next = match rest.trim_ascii_start().first() {
            Some(b'{') => Some(Framing::Lines),
            Some(b'd' | b'e' | b'i' | b':') => Some(Framing::Sse),
            _ => None,
        };
        let Some(next) = next.filter(|_| reader.is_document_complete()) else {
            if end.is_none() && reader.is_document_complete() {
                *end = Some(arrival);
            }
            // Anything else after the document makes it malformed.
            if !rest.trim_ascii().is_empty() {
                reader.push(rest);
            }
            return;
        };
        let first = end.unwrap_or(arrival);
        read_frame(FrameEvent::End { name: b"" }, first, reader, tally, unrecognised, sink);
        self.body = BodyState::Framed(Framer::new(next));
        self.push_decoded(arrival, rest.trim_ascii_start(), sink);
    }

    /// Reads the next bytes that the client sent in a session, which arrived together.
    pub fn push_client(&mut self, at: Duration, bytes: &[u8]) {
        if let Some(session) = &mut self.session
            && session.push_client(at, bytes)
        {
            // The client closed the session: it does not wait for a response in progress.
            self.tally.done = true;
        }
    }

    /// Sets how many choices of each prompt the client requested; `None` if unknown. Called after the end of the body.
    pub fn set_requested_choices(&mut self, requested: Option<u64>) {
        self.tally.set_requested_choices(requested);
    }

    /// Adds the facts from the response headers. Called after the end of the body: values from the body take precedence.
    pub fn set_header_facts(&mut self, head: &HeaderFacts) {
        let is_stream = self.is_stream();
        self.tally.add_header_facts(head, is_stream);
    }

    /// Ends the body. An incomplete last event counts only if HTTP ended cleanly (`is_clean`): then it lacks only its
    /// blank line.
    pub fn finish(&mut self, is_clean: bool, sink: &mut impl FnMut(LiveSample<'_>)) {
        let is_stream = self.is_stream();
        let Self { body, reader, tally, arrival, session, unrecognised, unreadable, .. } = self;
        if let Some(session) = session {
            return session.end(tally, sink);
        }
        match (&mut *body, *arrival) {
            (BodyState::Framed(framer), Some(arrival)) if is_clean => {
                framer.end(&mut |frame| {
                    read_frame(frame, arrival, reader, tally, unrecognised, sink);
                });
            }
            (BodyState::Document(_), Some(_)) if is_clean => {
                reader.finish_event(b"");
                if let Some(operation) = reader.recognised_operation() {
                    sink(LiveSample::Recognised(operation));
                }
                tally.document(reader.facts(), sink);
                reader.clear_event();
            }
            (BodyState::Undetected(detector), _) if detector.has_data() => {
                *body = BodyState::Unreadable { is_stream };
                if let Some(reason) = unreadable {
                    tally.record_unparsed(*reason, sink);
                }
            }
            _ => {}
        }
        if reader.end_recognition(is_stream) == Recognition::Unrecognised {
            // A document on an unknown path is no inference, as far as known. Malformed events are counted already.
            if (is_stream || *reader.dialect() != UNKNOWN) && tally.unparsed == 0 {
                tally.record_unparsed(UnparsedReason::Unrecognised, sink);
            }
            report_events(unrecognised, sink);
        }
        tally.end(sink);
    }
}

/// Events of a response, while none was recognised.
#[derive(Debug, Default)]
struct UnrecognisedEvents {
    /// Arrivals of the events that were not reported, because a later one may be recognised.
    pending: Vec<Duration>,
    /// Arrivals of the first and the last event that were reported.
    first: Option<Duration>,
    last: Option<Duration>,
}

impl UnrecognisedEvents {
    /// Reports the pending events: no event of this response will be recognised.
    fn report(&mut self, sink: &mut impl FnMut(LiveSample<'_>)) {
        for at in self.pending.drain(..) {
            self.first.get_or_insert(at);
            let gap = self.last.replace(at).map(|last| at.saturating_sub(last));
            sink(LiveSample::UnrecognisedEvent { at, gap });
        }
    }
}

/// Passes a frame of a stream to the dialect, and the facts of a complete event to the tally.
#[inline(always)]
fn read_frame(
    frame: FrameEvent<'_>,
    arrival: Arrival,
    reader: &mut ResponseReader,
    tally: &mut ResponseTally,
    unrecognised: &mut Option<Box<UnrecognisedEvents>>,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    match frame {
        FrameEvent::Data(data) => reader.push(data),
        FrameEvent::ErrorField => reader.set_error(),
        FrameEvent::End { name } => {
            let before = reader.recognition();
            let facts = reader.finish_event(name);
            if before == Recognition::Recognised {
                tally.event(arrival, facts, sink);
                reader.clear_event();
                return;
            }
            read_first_event(before, arrival, reader, tally, unrecognised, sink);
        }
        FrameEvent::Broken => {
            reader.clear_event();
            tally.record_unparsed(UnparsedReason::Framing, sink);
        }
    }
}

/// Like the end of an event in [`read_frame`], while the dialect of the response is not certain.
#[inline(never)]
fn read_first_event(
    before: Recognition,
    arrival: Arrival,
    reader: &mut ResponseReader,
    tally: &mut ResponseTally,
    unrecognised: &mut Option<Box<UnrecognisedEvents>>,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    let after = reader.recognition();
    if after == Recognition::Recognised {
        *unrecognised = None;
        if let Some(operation) = reader.recognised_operation() {
            sink(LiveSample::Recognised(operation));
        }
    }
    tally.event(arrival, reader.facts(), sink);
    reader.clear_event();
    if after != Recognition::Recognised {
        unrecognised.get_or_insert_default().pending.push(arrival.at);
    }
    match (before, after) {
        (Recognition::Unrecognised, _) => report_events(unrecognised, sink),
        (_, Recognition::Unrecognised) => {
            if tally.unparsed == 0 {
                tally.record_unparsed(UnparsedReason::Unrecognised, sink);
            }
            report_events(unrecognised, sink);
        }
        _ => {}
    }
}

/// Reports the events of a response in no known dialect.
fn report_events(
    unrecognised: &mut Option<Box<UnrecognisedEvents>>,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    if let Some(events) = unrecognised {
        events.report(sink);
    }
}

/// Like [`read_frame`], for a session, whose text messages are events.
fn read_session_frame(
    frame: FrameEvent<'_>,
    arrival: Arrival,
    reader: &mut ResponseReader,
    session: &mut RealtimeSession,
    tally: &mut ResponseTally,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    match frame {
        FrameEvent::End { name: b"text" } => {
            session.event(arrival, reader.finish_event(b""), tally, sink)
        }
        FrameEvent::End { name: b"close" } => tally.done |= !session.is_running(),
        FrameEvent::End { .. } => {}
        frame => return read_frame(frame, arrival, reader, tally, &mut None, sink),
    }
    reader.clear_event();
}

#[cfg(test)]
#[path = "recognition_tests.rs"]
mod recognition_tests;
#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
