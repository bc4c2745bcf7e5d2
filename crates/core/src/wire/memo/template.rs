//! Templates: runs of bytes that repeat, and the scan events that they produce.

use super::MAX_BYTES;
use crate::wire::ScanEvent;
use crate::wire::json::JsonPosition;
use std::sync::Arc;

/// Largest number of scan events that are recorded of one run.
const MAX_EVENTS: usize = 32;

/// Scan event whose text, if any, is in the recording's buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum RecordedEvent {
    Plain(ScanEvent<'static>),
    Text { chars: u64, start: usize, len: usize, valid: bool },
}

/// Scan events of a run of bytes, and the scanner's position after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recording<T: Copy + PartialEq + 'static> {
    events: Vec<(T, RecordedEvent)>,
    texts: Vec<u8>,
    end: JsonPosition<T>,
    /// The run has too many events or too much text.
    overflowed: bool,
}

impl<T: Copy + PartialEq + 'static> Recording<T> {
    pub fn new(end: JsonPosition<T>) -> Self {
        Self { events: Vec::new(), texts: Vec::new(), end, overflowed: false }
    }

    pub fn clear(&mut self) {
        self.events.clear();
        self.texts.clear();
        self.overflowed = false;
    }

    pub fn record(&mut self, tag: T, event: ScanEvent<'_>) {
        if self.events.len() == MAX_EVENTS {
            self.overflowed = true;
            return;
        }
        let recorded = match event {
            ScanEvent::Text { chars, text, valid } => {
                let start = self.texts.len();
                self.texts.extend_from_slice(text);
                self.overflowed |= self.texts.len() > MAX_BYTES;
                RecordedEvent::Text { chars, start, len: text.len(), valid }
            }
            ScanEvent::Open => RecordedEvent::Plain(ScanEvent::Open),
            ScanEvent::Close => RecordedEvent::Plain(ScanEvent::Close),
            ScanEvent::Raw { chars } => RecordedEvent::Plain(ScanEvent::Raw { chars }),
            ScanEvent::Number(number) => RecordedEvent::Plain(ScanEvent::Number(number)),
            ScanEvent::Bool(yes) => RecordedEvent::Plain(ScanEvent::Bool(yes)),
            ScanEvent::Null => RecordedEvent::Plain(ScanEvent::Null),
        };
        self.events.push((tag, recorded));
    }

    /// Ends the run at this position. Returns whether the recording is complete.
    pub fn finish(&mut self, end: JsonPosition<T>) -> bool {
        self.end = end;
        !self.overflowed
    }

    /// Returns the scanner's position after the run.
    pub fn end(&self) -> &JsonPosition<T> {
        &self.end
    }

    pub fn replay(&self, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        for (tag, recorded) in &self.events {
            match *recorded {
                RecordedEvent::Plain(event) => sink(*tag, event),
                RecordedEvent::Text { chars, start, len, valid } => {
                    let text = self.texts.get(start..start + len).unwrap_or_default();
                    sink(*tag, ScanEvent::Text { chars, text, valid });
                }
            }
        }
    }
}

/// Run of bytes that all streams of a server have in common, with gaps for the words that differ
/// from stream to stream.
#[derive(Debug)]
pub(super) struct Template<T: Copy + PartialEq + 'static> {
    /// Run of the stream for which the template was made.
    sample: Box<[u8]>,
    segments: Box<[Segment]>,
    /// Number of bytes of a run that are in gaps.
    gap: usize,
    recording: Arc<Recording<T>>,
}

/// Lengths of shared bytes and of the gap after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Segment {
    shared: usize,
    gap: usize,
}

impl<T: Copy + PartialEq + 'static> Template<T> {
    /// Returns a template without gaps for a run that produced these events.
    pub fn new(run: &[u8], recording: Arc<Recording<T>>) -> Self {
        let segments = [Segment { shared: run.len(), gap: 0 }].into();
        Self { sample: run.into(), segments, gap: 0, recording }
    }

    /// Returns the scan events of a run that matches the template.
    pub fn recording(&self) -> &Recording<T> {
        &self.recording
    }

    /// Returns the number of bytes of a run that are in gaps.
    pub fn gap_len(&self) -> usize {
        self.gap
    }

    /// Returns the bytes after a run that matches the template with the gaps filled by `gap`, or
    /// `None` if `bytes` do not begin with it.
    pub fn strip_run<'a>(&self, bytes: &'a [u8], mut gap: &[u8]) -> Option<&'a [u8]> {
        let (mut sample, mut rest) = (&*self.sample, bytes);
        for segment in &self.segments {
            let (shared, after) = sample.split_at_checked(segment.shared)?;
            let (filling, others) = gap.split_at_checked(segment.gap)?;
            rest = rest.strip_prefix(shared)?.strip_prefix(filling)?;
            sample = after.get(segment.gap..)?;
            gap = others;
        }
        Some(rest)
    }

    /// Returns the bytes in the gaps of a run, or `None` if it does not match the template.
    pub fn gap_bytes(&self, run: &[u8]) -> Option<Vec<u8>> {
        let (mut sample, mut rest) = (&*self.sample, run);
        let mut gap = Vec::with_capacity(self.gap_len());
        for segment in &self.segments {
            let (shared, after) = sample.split_at_checked(segment.shared)?;
            let (filling, others) = rest.strip_prefix(shared)?.split_at_checked(segment.gap)?;
            gap.extend_from_slice(filling);
            (sample, rest) = (after.get(segment.gap..)?, others);
        }
        rest.is_empty().then_some(gap)
    }

    /// Returns a template that also matches this run, which produced the same events, and the run's
    /// bytes in the gaps. Words in which the two differ become gaps. For a run of another length,
    /// returns a template without gaps.
    pub fn generalised(&self, run: &[u8]) -> (Self, Vec<u8>) {
        let recording = Arc::clone(&self.recording);
        if run.len() != self.sample.len() {
            return (Self::new(run, recording), Vec::new());
        }
        let mut is_gap = self.gap_mask();
        for (is_gap, (one, other)) in is_gap.iter_mut().zip(self.sample.iter().zip(run)) {
            *is_gap |= one != other;
        }
        widen_to_words(run, &mut is_gap);
        let gap = is_gap.iter().filter(|is_gap| **is_gap).count();
        let template = Self { sample: run.into(), segments: segments(&is_gap), gap, recording };
        let gap = template.gap_bytes(run).unwrap_or_default();
        (template, gap)
    }

    /// Returns for each byte of the run whether it is in a gap.
    fn gap_mask(&self) -> Vec<bool> {
        let mask = |segment: &Segment| {
            let shared = std::iter::repeat_n(false, segment.shared);
            shared.chain(std::iter::repeat_n(true, segment.gap))
        };
        self.segments.iter().flat_map(mask).collect()
    }
}

/// Returns whether the byte can be part of an id, a number or a word.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Widens each gap to whole words: parts of two ids can be equal by chance.
fn widen_to_words(run: &[u8], is_gap: &mut [bool]) {
    let mut begin = 0;
    for word in run.split_inclusive(|byte| !is_word_byte(*byte)) {
        let letters = begin..begin + word.iter().take_while(|byte| is_word_byte(**byte)).count();
        if let Some(places) = is_gap.get_mut(letters)
            && places.contains(&true)
        {
            places.fill(true);
        }
        begin += word.len();
    }
}

/// Returns the segments of a run in which these bytes are in gaps.
fn segments(is_gap: &[bool]) -> Box<[Segment]> {
    let mut segments = vec![Segment::default()];
    let mut was_gap = false;
    for is_gap in is_gap.iter().copied() {
        if was_gap && !is_gap {
            segments.push(Segment::default());
        }
        was_gap = is_gap;
        if let Some(segment) = segments.last_mut() {
            if is_gap { segment.gap += 1 } else { segment.shared += 1 }
        }
    }
    segments.into()
}

#[cfg(test)]
mod tests {
    use super::super::super::json::{JsonNode, JsonScanner};
    use super::*;
    use proptest::prelude::*;

    static ROOT: JsonNode<u8> = JsonNode::scalar(1);

    fn template(run: &str) -> Template<u8> {
        let recording = Recording::new(*JsonScanner::new(&ROOT).position());
        Template::new(run.as_bytes(), Arc::new(recording))
    }

    #[test]
    fn words_that_differ_become_gaps() {
        let one = template(r#"{"id":"cmpl-a1b2","at":17001,"text":""#);
        let run = r#"{"id":"cmpl-a9c2","at":17001,"text":""#.as_bytes();
        let (two, gap) = one.generalised(run);
        assert_eq!(gap, b"cmpl-a9c2");
        assert_eq!(two.gap_bytes(run), Some(gap.clone()));
        let third = r#"{"id":"cmpl-ffff","at":17002,"text":""#.as_bytes();
        assert_eq!(two.gap_bytes(third), None, "the time differs");
        let (three, gap_of_third) = two.generalised(third);
        assert_eq!(gap_of_third, b"cmpl-ffff17002");
        assert_eq!(three.gap_bytes(run).as_deref(), Some(&b"cmpl-a9c217001"[..]));
        let document = [third, b"new"].concat();
        assert_eq!(three.strip_run(&document, &gap_of_third), Some(&b"new"[..]));
        assert_eq!(three.strip_run(&document, b"cmpl-a9c217001"), None);
        assert_eq!(three.strip_run(third.split_last().unwrap().1, &gap_of_third), None);
        let (other, gap) = three.generalised(b"shorter");
        assert_eq!((other.gap_len(), gap.len()), (0, 0));
    }

    proptest! {
        /// Every template matches exactly the run that it was made for.
        #[test]
        fn a_template_matches_its_run_and_no_other(
            runs in prop::collection::vec("[ab\",]{0,6}", 1..8),
            probe in "[ab\",]{0,8}",
        ) {
            let (first, others) = runs.split_first().unwrap();
            let (mut template, mut run, mut gap) = (template(first), first.as_str(), Vec::new());
            for other in others {
                (template, gap) = template.generalised(other.as_bytes());
                run = other;
            }
            prop_assert_eq!(template.gap_bytes(run.as_bytes()), Some(gap.clone()));
            let rest = template.strip_run(probe.as_bytes(), &gap);
            prop_assert_eq!(rest, probe.strip_prefix(run).map(str::as_bytes));
        }
    }
}
