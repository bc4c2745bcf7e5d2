//! Reads one response: framing, dialect and tally in a row.

use super::tally::{Arrival, Sample, Tally};
use crate::dialect::openai::OpenAi;
use crate::wire::Piece;
use crate::wire::sse::SseFramer;

/// How a response's body is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A stream of server-sent events.
    Sse,
    /// One JSON document.
    Json,
}

impl Format {
    /// The format that a `Content-Type` announces, if it is one that is read.
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let kind = content_type.split(|byte| *byte == b';').next()?.trim_ascii();
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            Some(Self::Sse)
        } else if kind.eq_ignore_ascii_case(b"application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }
}

/// The meter of one response.
#[derive(Debug)]
pub struct Meter {
    /// `None` for one JSON document.
    framer: Option<SseFramer>,
    dialect: OpenAi,
    tally: Tally,
    /// Of the bytes read last.
    arrival: Option<Arrival>,
}

impl Meter {
    /// A meter for a body of this format.
    pub fn new(format: Format) -> Self {
        let framer = (format == Format::Sse).then(SseFramer::default);
        Self { framer, dialect: OpenAi::default(), tally: Tally::default(), arrival: None }
    }

    /// Whether the body is a stream of events.
    pub fn is_stream(&self) -> bool {
        self.framer.is_some()
    }

    /// The account so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Reads the next bytes of the body, all of one arrival.
    pub fn push(&mut self, arrival: Arrival, bytes: &[u8], sink: &mut impl FnMut(Sample<'_>)) {
        let Self { framer, dialect, tally, .. } = self;
        self.arrival = Some(arrival);
        tally.piece(arrival);
        match framer {
            Some(framer) => {
                framer.push(bytes, &mut |piece| read(piece, arrival, dialect, tally, sink));
            }
            None => dialect.data(bytes),
        }
    }

    /// The body ended. An unfinished event counts only where HTTP ended cleanly (`clean`): then it is
    /// a last message without its blank line, and not one that broke off.
    pub fn end(&mut self, clean: bool, sink: &mut impl FnMut(Sample<'_>)) {
        let Self { framer, dialect, tally, arrival } = self;
        if let (true, Some(arrival)) = (clean, *arrival) {
            match framer {
                Some(framer) => framer.end(&mut |piece| read(piece, arrival, dialect, tally, sink)),
                None => tally.document(dialect.end(b""), sink),
            }
        }
        tally.end(sink);
    }
}

fn read(
    piece: Piece<'_>,
    arrival: Arrival,
    dialect: &mut OpenAi,
    tally: &mut Tally,
    sink: &mut impl FnMut(Sample<'_>),
) {
    match piece {
        Piece::Data(data) => dialect.data(data),
        Piece::ErrorField => dialect.error_field(),
        Piece::End { name } => {
            tally.event(arrival, dialect.end(name), sink);
            dialect.next();
        }
        Piece::Broken => dialect.next(),
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
