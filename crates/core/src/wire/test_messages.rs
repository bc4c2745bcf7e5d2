//! What the framers' tests compare.

use super::FrameEvent;
use proptest::prelude::*;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One message as it was told, its pieces joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedEvent {
    /// Its name and its data.
    Whole(String, String),
    /// The same, with an error field.
    Error(String, String),
    /// What had come of it.
    Broken(String),
}

/// Puts pieces together again.
#[derive(Debug, Default)]
pub struct FrameCollector {
    pub found: Vec<CollectedEvent>,
    data: Vec<u8>,
    error: bool,
}

impl FrameCollector {
    pub fn add(&mut self, piece: FrameEvent<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match piece {
            FrameEvent::Data(part) => {
                assert!(!part.is_empty(), "an empty piece");
                self.data.extend_from_slice(part);
            }
            FrameEvent::ErrorField => self.error = true,
            FrameEvent::End { name } => {
                let data = text(&std::mem::take(&mut self.data));
                let error = std::mem::take(&mut self.error);
                let kind = if error { CollectedEvent::Error } else { CollectedEvent::Whole };
                self.found.push(kind(text(name), data));
            }
            FrameEvent::Broken => {
                self.error = false;
                self.found.push(CollectedEvent::Broken(text(&std::mem::take(&mut self.data))));
            }
        }
    }

    /// Every message must have had its end.
    pub fn done(self) -> Vec<CollectedEvent> {
        assert!(self.data.is_empty() && !self.error, "data without an end: {:?}", self.data);
        self.found
    }
}

/// The recorded streams of one framing: id, body, and how many messages an independent parser found.
/// None where there is no corpus.
pub fn recorded(framing: &str) -> Vec<(String, Vec<u8>, u64)> {
    let Some(corpus) = std::env::var_os("STREAMGAUGE_CORPUS") else { return Vec::new() };
    let file = File::open(Path::new(&corpus).join("streams.jsonl.gz")).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    let streams = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let ours: Vec<_> = streams
        .filter(|stream| stream["framing"] == framing)
        .map(|stream| {
            let body = stream["body"].as_str().unwrap().as_bytes().to_vec();
            let body = if stream["body_base64"] == true { base64(&body) } else { body };
            let events = stream["label"]["n_events"].as_u64().unwrap();
            (stream["id"].as_str().unwrap().to_owned(), body, events)
        })
        .collect();
    assert!(!ours.is_empty(), "the corpus has no {framing}");
    ours
}

fn base64(text: &[u8]) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for byte in text.iter().filter(|byte| **byte != b'=') {
        bits = bits << 6 | alphabet.iter().position(|letter| letter == byte).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// A message without a name.
pub fn plain(data: &str) -> CollectedEvent {
    CollectedEvent::Whole(String::new(), data.into())
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
