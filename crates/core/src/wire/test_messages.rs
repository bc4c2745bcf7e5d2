//! Support for the framers' tests: collected messages, recorded streams, and cuts of a stream.

use super::FrameEvent;
use proptest::prelude::*;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One reported message, its parts joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectedEvent {
    /// A complete message: name and data.
    Whole(String, String),
    /// A complete message that is an error: name and data.
    Error(String, String),
    /// A broken message: the data that was reported before.
    Broken(String),
}

/// Collects the messages that a framer reports.
#[derive(Debug, Default)]
pub struct FrameCollector {
    pub found: Vec<CollectedEvent>,
    data: Vec<u8>,
    error: bool,
}

impl FrameCollector {
    pub fn add(&mut self, event: FrameEvent<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            FrameEvent::Data(part) => {
                assert!(!part.is_empty(), "an empty part");
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

    /// Returns the messages. Panics if the last one has no end.
    pub fn finish(self) -> Vec<CollectedEvent> {
        assert!(self.data.is_empty() && !self.error, "data without an end: {:?}", self.data);
        self.found
    }
}

/// Returns the recorded streams of one framing: id, body, and the number of messages that an
/// independent parser found. Empty if the environment variable `STREAMGAUGE_CORPUS` is not set.
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

/// Returns a complete message without a name.
pub fn plain(data: &str) -> CollectedEvent {
    CollectedEvent::Whole(String::new(), data.into())
}

/// Strategy for the places at which [`cut`] cuts a stream.
pub fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(any::<usize>(), 0..12)
}

/// Cuts a stream into parts, some of which may be empty.
pub fn cut<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|at| at % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    let mut rest = stream;
    let mut from = 0;
    let mut parts = Vec::new();
    for at in cuts {
        let (part, after) = rest.split_at(at - from);
        parts.push(part);
        (rest, from) = (after, at);
    }
    parts.push(rest);
    parts
}
