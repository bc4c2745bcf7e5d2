//! Reads one response: framing, dialect and tally in a row.

use super::tally::{Arrival, Sample, Tally};
use crate::dialect::head::HeadFacts;
use crate::dialect::{Dialect, Ending, Reading, Unparsed};
use crate::wire::Piece;
use crate::wire::framing::{Announced, Framer, Framing};

/// The meter of one response.
#[derive(Debug)]
pub struct Meter {
    body: Body,
    reading: Reading,
    tally: Tally,
    /// Of the bytes read last.
    arrival: Option<Arrival>,
}

/// What is known of the body's framing.
#[derive(Debug)]
enum Body {
    /// The first byte will tell.
    Unseen,
    Framed(Framer),
    /// Nothing that is read.
    Foreign,
}

impl Meter {
    /// A meter for the body of a response in this dialect; `None` if its content type is none that is
    /// read.
    pub fn new(dialect: &'static Dialect, content_type: &[u8]) -> Option<Self> {
        let body = match Framing::announced(content_type) {
            Announced::Framing(framing) => Body::Framed(Framer::new(dialect.framing(framing))),
            Announced::Nothing => Body::Unseen,
            Announced::Foreign => return None,
        };
        let reading = Reading::new(dialect);
        Some(Self { body, reading, tally: Tally::default(), arrival: None })
    }

    /// Whether the body is a stream of events, as far as is known.
    pub fn is_stream(&self) -> bool {
        matches!(&self.body, Body::Framed(framer) if framer.is_stream())
    }

    /// Whether only an event can complete the body, and not its end alone.
    pub fn needs_terminator(&self) -> bool {
        self.is_stream() && self.reading.dialect().ending == Ending::Told
    }

    /// The name of the dialect that the response is in.
    pub fn dialect(&self) -> &'static str {
        self.reading.name()
    }

    /// The account so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Reads the next bytes of the body, all of one arrival.
    pub fn push(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(Sample<'_>)) {
        let Self { body, reading, tally, .. } = self;
        self.arrival = Some(arrival);
        tally.piece(arrival);
        if let Body::Unseen = body
            && let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            *body = match Framing::shown(*first, reading.dialect().json) {
                Some(framing) => Body::Framed(Framer::new(framing)),
                None => {
                    tally.cannot(Unparsed::ContentType, sink);
                    Body::Foreign
                }
            };
        }
        if let Body::Framed(framer) = body {
            let is_stream = framer.is_stream();
            framer.push(bytes, &mut |piece| read(piece, arrival, is_stream, reading, tally, sink));
        }
    }

    /// What the response's head told, once the body has told all it will.
    pub fn head(&mut self, head: &HeadFacts) {
        let is_stream = self.is_stream();
        self.tally.head(head, is_stream);
    }

    /// The body ended. An unfinished event counts only where HTTP ended cleanly (`clean`): then it is
    /// a last message without its blank line, and not one that broke off.
    pub fn end(&mut self, clean: bool, sink: &mut impl FnMut(Sample<'_>)) {
        let Self { body, reading, tally, arrival } = self;
        if let (true, Some(arrival), Body::Framed(framer)) = (clean, *arrival, body) {
            let is_stream = framer.is_stream();
            framer.end(&mut |piece| read(piece, arrival, is_stream, reading, tally, sink));
        }
        tally.end(sink);
    }
}

fn read(
    piece: Piece<'_>,
    arrival: Arrival,
    is_stream: bool,
    reading: &mut Reading,
    tally: &mut Tally,
    sink: &mut impl FnMut(Sample<'_>),
) {
    match piece {
        Piece::Data(data) => reading.data(data),
        Piece::ErrorField => reading.error_field(),
        Piece::End { name } => {
            let facts = reading.end(name);
            if is_stream {
                tally.event(arrival, facts, sink);
            } else {
                tally.document(facts, sink);
            }
            reading.next();
        }
        Piece::Broken => {
            reading.next();
            tally.cannot(Unparsed::Framing, sink);
        }
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
