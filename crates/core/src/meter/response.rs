//! Reads one response: framing, dialect and tally in a row.

use super::arrivals::Arrival;
use super::session::RealtimeSession;
use super::tally::{LiveSample, ResponseTally};
use crate::dialect::response_headers::HeaderFacts;
use crate::dialect::{Dialect, ResponseReader, StreamEnd, UnparsedReason};
use crate::wire::FrameEvent;
use crate::wire::coding::ContentDecoder;
use crate::wire::framing::{DeclaredFraming, Framer, Framing};
use crate::wire::websocket::WebSocketFramer;
use std::time::Duration;

/// The meter of one response. Its fields are in the order in which a read touches them.
#[derive(Debug)]
#[repr(C)]
pub struct ResponseMeter {
    /// Undoes the body's content codings, on a copy.
    decoder: Option<Box<ContentDecoder>>,
    /// Of a connection that has switched to WebSocket.
    session: Option<Box<RealtimeSession>>,
    /// Of the bytes read last.
    arrival: Option<Arrival>,
    body: BodyState,
    reader: ResponseReader,
    tally: ResponseTally,
}

/// What is known of the body's framing.
#[derive(Debug)]
enum BodyState {
    /// The first byte will tell.
    Undetected,
    Framed(Framer),
    /// Nothing that is read, or not any more.
    Unreadable {
        is_stream: bool,
    },
}

impl ResponseMeter {
    /// A meter for the body of a response in this dialect, with these values of its `Content-Type` and
    /// `Content-Encoding`.
    ///
    /// # Errors
    /// If its type is none that is read, or its coding none that is undone.
    pub fn new(
        dialect: &'static Dialect,
        content_type: &[u8],
        content_encoding: &[u8],
    ) -> Result<Self, UnparsedReason> {
        Self::with_framing(dialect, Framing::from_content_type(content_type), content_encoding)
    }

    /// The same, of a body whose `Content-Type` announces this.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
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

    /// A meter for a connection that has switched to WebSocket, of which the server's messages are events
    /// in this dialect. `deflate`: permessage-deflate was agreed on.
    pub fn for_websocket(dialect: &'static Dialect, deflate: bool) -> Self {
        let framer = Framer::WebSocket(Box::new(WebSocketFramer::new(deflate)));
        Self {
            decoder: None,
            body: BodyState::Framed(framer),
            reader: ResponseReader::new(dialect),
            tally: ResponseTally::of_session(),
            arrival: None,
            session: Some(Box::new(RealtimeSession::new(deflate))),
        }
    }

    /// Whether this is a session of many responses.
    pub fn is_session(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the body is a stream of events, as far as is known.
    pub fn is_stream(&self) -> bool {
        match &self.body {
            BodyState::Undetected => false,
            BodyState::Framed(framer) => framer.is_stream(),
            BodyState::Unreadable { is_stream } => *is_stream,
        }
    }

    /// Whether all of the body could be read so far.
    pub fn is_fully_read(&self) -> bool {
        !matches!(self.body, BodyState::Unreadable { .. })
    }

    /// Whether only an event can complete the body, and not its end alone. A session may end between two
    /// responses.
    pub fn needs_terminator(&self) -> bool {
        match &self.session {
            Some(session) => session.is_running(),
            // What could not be read may have been what completes it.
            None => {
                self.is_stream()
                    && self.is_fully_read()
                    && self.reader.dialect().stream_end == StreamEnd::Event
            }
        }
    }

    /// Whether the end of the response may tell how long its model was loaded.
    pub fn reports_load_time(&self) -> bool {
        self.reader.dialect().reports_load_time
    }

    /// The name of the dialect that the response is in.
    pub fn dialect(&self) -> &'static str {
        self.reader.dialect_name()
    }

    /// The account so far.
    pub fn tally(&self) -> &ResponseTally {
        &self.tally
    }

    /// Reads the next bytes of the body, all of one arrival.
    pub fn push(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(LiveSample<'_>)) {
        self.arrival = Some(arrival);
        self.tally.piece(arrival);
        let Some(mut decoder) = self.decoder.take() else {
            self.read(arrival, bytes, sink);
            return;
        };
        match decoder.push(bytes, &mut |plain| self.read(arrival, plain, sink)) {
            Ok(()) => self.decoder = Some(decoder),
            Err(_) => {
                self.tally.cannot(UnparsedReason::Encoding, sink);
                self.body = BodyState::Unreadable { is_stream: self.is_stream() };
            }
        }
    }

    /// Reads the next bytes of the body as it is without codings.
    fn read(&mut self, arrival: Arrival, mut bytes: &[u8], sink: &mut impl FnMut(LiveSample<'_>)) {
        let Self { body, reader, tally, session, .. } = self;
        if let BodyState::Undetected = body {
            // Blanks before the first byte that tells are of no framing.
            bytes = bytes.trim_ascii_start();
            let Some(first) = bytes.first() else { return };
            *body = match Framing::detect(*first, reader.dialect().json_framing) {
                Some(framing) => BodyState::Framed(Framer::new(reader.dialect().framing(framing))),
                None => {
                    tally.cannot(UnparsedReason::ContentType, sink);
                    BodyState::Unreadable { is_stream: false }
                }
            };
        }
        if let BodyState::Framed(framer) = body {
            let is_stream = framer.is_stream();
            framer.push(bytes, &mut |piece| match session {
                Some(session) => converse(piece, arrival, reader, session, tally, sink),
                None => read(piece, arrival, is_stream, reader, tally, sink),
            });
        }
    }

    /// Reads the next bytes that the client sent in a session, all of one arrival.
    pub fn push_client(&mut self, at: Duration, bytes: &[u8]) {
        if let Some(session) = &mut self.session
            && session.client(at, bytes)
        {
            // Whatever was under way, nobody waits for it.
            self.tally.done = true;
        }
    }

    /// What the response's head told, once the body has told all it will.
    pub fn set_header_facts(&mut self, head: &HeaderFacts) {
        let is_stream = self.is_stream();
        self.tally.head(head, is_stream);
    }

    /// The body ended. An unfinished event counts only where HTTP ended cleanly (`clean`): then it is
    /// a last message without its blank line, and not one that broke off.
    pub fn finish(&mut self, clean: bool, sink: &mut impl FnMut(LiveSample<'_>)) {
        let Self { body, reader, tally, arrival, session, .. } = self;
        if let Some(session) = session {
            return session.end(tally, sink);
        }
        if let (true, Some(arrival), BodyState::Framed(framer)) = (clean, *arrival, body) {
            let is_stream = framer.is_stream();
            framer.end(&mut |piece| read(piece, arrival, is_stream, reader, tally, sink));
        }
        tally.end(sink);
    }
}

fn read(
    piece: FrameEvent<'_>,
    arrival: Arrival,
    is_stream: bool,
    reader: &mut ResponseReader,
    tally: &mut ResponseTally,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    match piece {
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
            tally.cannot(UnparsedReason::Framing, sink);
        }
    }
}

/// As [`read`], of a session: its text messages are events.
fn converse(
    piece: FrameEvent<'_>,
    arrival: Arrival,
    reader: &mut ResponseReader,
    session: &mut RealtimeSession,
    tally: &mut ResponseTally,
    sink: &mut impl FnMut(LiveSample<'_>),
) {
    match piece {
        FrameEvent::End { name: b"text" } => {
            session.event(arrival, reader.finish_event(b""), tally, sink)
        }
        FrameEvent::End { name: b"close" } => tally.done |= !session.is_running(),
        FrameEvent::End { .. } => {}
        piece => return read(piece, arrival, true, reader, tally, sink),
    }
    reader.clear_event();
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
