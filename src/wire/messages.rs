//! What the framers' tests compare.

use super::Piece;
use proptest::prelude::*;

/// One message as it was told, its pieces joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Its name and its data.
    Whole(String, String),
    /// The same, with an error field.
    Error(String, String),
    /// What had come of it.
    Broken(String),
}

/// Puts pieces together again.
#[derive(Debug, Default)]
pub struct Messages {
    pub found: Vec<Message>,
    data: Vec<u8>,
    error: bool,
}

impl Messages {
    pub fn add(&mut self, piece: Piece<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match piece {
            Piece::Data(part) => {
                assert!(!part.is_empty(), "an empty piece");
                self.data.extend_from_slice(part);
            }
            Piece::ErrorField => self.error = true,
            Piece::End { name } => {
                let data = text(&std::mem::take(&mut self.data));
                let error = std::mem::take(&mut self.error);
                let kind = if error { Message::Error } else { Message::Whole };
                self.found.push(kind(text(name), data));
            }
            Piece::Broken => {
                self.error = false;
                self.found.push(Message::Broken(text(&std::mem::take(&mut self.data))));
            }
        }
    }

    /// Every message must have had its end.
    pub fn done(self) -> Vec<Message> {
        assert!(self.data.is_empty() && !self.error, "data without an end: {:?}", self.data);
        self.found
    }
}

/// A message without a name.
pub fn plain(data: &str) -> Message {
    Message::Whole(String::new(), data.into())
}

/// Places to cut a stream at, for [`cut`].
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..12)
}

/// The stream, cut there.
pub fn cut<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|at| at % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    let mut rest = stream;
    let mut from = 0;
    let mut pieces = Vec::new();
    for at in cuts {
        let (piece, behind) = rest.split_at(at - from);
        pieces.push(piece);
        (rest, from) = (behind, at);
    }
    pieces.push(rest);
    pieces
}
