//! Reader of one response: bytes to events ([`wire`](crate::wire)), events to facts ([`dialect`](crate::dialect)), facts
//! to counts and times ([`ResponseTally`]).

use super::arrivals::Arrival;
use super::session::RealtimeSession;
use super::tally::{LiveSample, ResponseTally};
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::{Dialect, ResponseReader, StreamEnd, UnparsedReason};
use crate::wire::FrameEvent;
use crate::wire::coding::ContentDecoder;
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
}

/// Framing of the body.
#[derive(Debug)]
enum BodyState {
    /// Detected from the first byte, which has not arrived yet.
    Undetected,
    /// Known: the framer splits the body into events.
    Framed(Framer),
    /// Not supported, or no longer readable after an error.
    Unreadable { is_stream: bool },
}

impl ResponseMeter {
    /// Creates a meter for a response body, with the values of its `Content-Type` and `Content-Encoding`.
    ///
    /// # Errors
    /// If the content type or the content coding is not supported.
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
        announced: DeclaredFraming,
        content_encoding: &[u8],
    ) -> Result<Self, UnparsedReason> {
        let body = match announced {
            DeclaredFraming::Known(framing) => {
                BodyState::Framed(Framer::new(dialect.framing(framing)))
            }
            DeclaredFraming::Unspecified => BodyState::Undetected,
            DeclaredFraming::Unsupported => return Err(UnparsedReason::ContentType),
        };
        let decoder =
            ContentDecoder::new(content_encoding).map_err(|_| UnparsedReason::Encoding)?;
        Ok(Self {
            decoder: decoder.map(Box::new),
            body,
            reader: ResponseReader::new(dialect),
            tally: ResponseTally::default(),
            arrival: None,
            session: None,
        })
    }

    /// Creates a meter for a connection that has switched to WebSocket. The messages of the server are events in this
    /// dialect. `deflate`: permessage-deflate was negotiated.
    pub fn for_websocket(dialect: &'static Dialect, deflate: bool) -> Self {
        let framer = Framer::WebSocket(Box::new(WebSocketFramer::new(deflate)));
        Self {
            decoder: None,
            body: BodyState::Framed(framer),
            reader: ResponseReader::new(dialect),
            tally: ResponseTally::for_session(),
            arrival: None,
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
            BodyState::Undetected => false,
            BodyState::Framed(framer) => framer.is_stream(),
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
                    && self.reader.dialect().stream_end == StreamEnd::Event
            }
        }
    }

    /// Whether the end of the response can report how long its model took to load.
    pub fn reports_load_time(&self) -> bool {
        self.reader.dialect().reports_load_time
    }

    /// Name of the dialect of the response.
    pub fn dialect(&self) -> &'static str {
        self.reader.dialect_name()
    }

    /// Counts and times so far.
    pub fn tally(&self) -> &ResponseTally {
        &self.tally
    }

    /// Reads the next bytes of the body, which arrived together.
    pub fn push(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(LiveSample<'_>)) {
        self.arrival = Some(arrival);
        self.tally.chunk(arrival);
        let Some(mut decoder) = self.decoder.take() else {
            self.push_decoded(arrival, bytes, sink);
            return;
        };
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
        mut bytes: &[u8],
        sink: &mut impl FnMut(LiveSample<'_>),
    ) {
        let Self { body, reader, tally, session, .. } = self;
        if let BodyState::Undetected = body {
            // White space before the first byte does not show the framing.
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else { return };
            *body = match Framing::detect(*first, reader.dialect().json_framing) {
                Some(framing) => BodyState::Framed(Framer::new(reader.dialect().framing(framing))),
                None => {
                    tally.record_unparsed(UnparsedReason::ContentType, sink);
                    BodyState::Unreadable { is_stream: false }
                }
            };
        }
        if let BodyState::Framed(framer) = body {
            let is_stream = framer.is_stream();
            framer.push(bytes, &mut |frame| match session {
                Some(session) => read_session_frame(frame, arrival, reader, session, tally, sink),
                None => read_frame(frame, arrival, is_stream, reader, tally, sink),
            });
        }
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
        let Self { body, reader, tally, arrival, session, .. } = self;
        if let Some(session) = session {
            return session.end(tally, sink);
        }
        if let (true, Some(arrival), BodyState::Framed(framer)) = (is_clean, *arrival, body) {
            let is_stream = framer.is_stream();
            framer.end(&mut |frame| read_frame(frame, arrival, is_stream, reader, tally, sink));
        }
        tally.end(sink);
    }
}

/// Passes a frame to the dialect, and the facts of a complete event or document to the tally.
fn read_frame(
    frame: FrameEvent<'_>,
    arrival: Arrival,
    is_stream: bool,
    reader: &mut ResponseReader,
    tally: &mut ResponseTally,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    match frame {
        FrameEvent::Data(data) => reader.push(data),
        FrameEvent::ErrorField => reader.set_error(),
        FrameEvent::End { name } => {
            let facts = reader.finish_event(name);
            if is_stream {
                tally.event(arrival, facts, sink);
            } else {
                tally.document(facts, sink);
            }
            reader.clear_event();
        }
        FrameEvent::Broken => {
            reader.clear_event();
            tally.record_unparsed(UnparsedReason::Framing, sink);
        }
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
        frame => return read_frame(frame, arrival, true, reader, tally, sink),
    }
    reader.clear_event();
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
