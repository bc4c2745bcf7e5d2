//! Reads one response: framing, dialect and tally in a row.

use super::tally::{Arrival, Sample, Tally};
use crate::dialect::{Dialect, Ending, Reading, Unparsed};
use crate::wire::Piece;
use crate::wire::coding::Decoder;
use crate::wire::framing::{Announced, Framer, Framing};

/// The meter of one response.
#[derive(Debug)]
pub struct Meter {
    /// Undoes the body's content codings, on a copy.
    decoder: Option<Box<Decoder>>,
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
    /// A meter for the body of a response in this dialect, with these values of its `Content-Type` and
    /// `Content-Encoding`.
    ///
    /// # Errors
    /// If its type is none that is read, or its coding none that is undone.
    pub fn new(
        dialect: &'static Dialect,
        content_type: &[u8],
        content_encoding: &[u8],
    ) -> Result<Self, Unparsed> {
        let body = match Framing::announced(content_type) {
            Announced::Framing(framing) => Body::Framed(Framer::new(dialect.framing(framing))),
            Announced::Nothing => Body::Unseen,
            Announced::Foreign => return Err(Unparsed::ContentType),
        };
        let decoder = Decoder::new(content_encoding).map_err(|_| Unparsed::Encoding)?;
        let (reading, tally) = (Reading::new(dialect), Tally::default());
        Ok(Self { decoder: decoder.map(Box::new), body, reading, tally, arrival: None })
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
        self.arrival = Some(arrival);
        self.tally.piece(arrival);
        let Some(mut decoder) = self.decoder.take() else {
            self.read(arrival, bytes, sink);
            return;
        };
        match decoder.push(bytes, &mut |plain| self.read(arrival, plain, sink)) {
            Ok(()) => self.decoder = Some(decoder),
            Err(_) => {
                self.tally.cannot(Unparsed::Encoding, sink);
                self.body = Body::Foreign;
            }
        }
    }

    /// Reads the next bytes of the body as it is without codings.
    fn read(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(Sample<'_>)) {
        let Self { body, reading, tally, .. } = self;
        if let Body::Unseen = body
            && let Some(first) = bytes.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            *body = match Framing::shown(*first, reading.dialect().json) {
                Some(framing) => Body::Framed(Framer::new(reading.dialect().framing(framing))),
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

    /// The body ended. An unfinished event counts only where HTTP ended cleanly (`clean`): then it is
    /// a last message without its blank line, and not one that broke off.
    pub fn end(&mut self, clean: bool, sink: &mut impl FnMut(Sample<'_>)) {
        let Self { body, reading, tally, arrival, .. } = self;
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
