//! The events of a recorded body, and what the dialect finds in each.

use streamgauge_core::dialect::{Dialect, EventFacts, ResponseReader, TokenCounts};
use streamgauge_core::wire::FrameEvent;
use streamgauge_core::wire::coding::ContentDecoder;
use streamgauge_core::wire::detection::{Detection, FramingDetector};
use streamgauge_core::wire::framing::{DeclaredFraming, Framer, Framing};

/// One event, with the facts in it.
#[derive(Debug, Default)]
pub struct ExplainedEvent {
    /// Type of the event: that of its framing, or `type` in its data. Empty if it has none.
    pub name: String,
    /// Data of the event.
    pub data: Vec<u8>,
    /// Facts in words, except for the model.
    pub found: Vec<String>,
    /// Model that the event names.
    pub model: Option<String>,
    /// Whether the event has output.
    pub has_output: bool,
}

/// Events of a body and their framing.
#[derive(Debug, Default)]
pub struct ExplainedEvents {
    /// Framing of the body. `None` if it is unknown.
    pub framing: Option<Framing>,
    /// The events in order.
    pub events: Vec<ExplainedEvent>,
}

impl ExplainedEvents {
    /// Reads a body that is a stream or not. The end of the recording is a clean end of the body.
    pub fn read(
        dialect: &'static Dialect,
        declared: DeclaredFraming,
        content_encoding: &[u8],
        body: &[u8],
        is_stream: bool,
    ) -> Self {
        let body = decode(content_encoding, body);
        let mut detector = FramingDetector::new(declared, dialect.json_framing);
        let framing = match detector.push(&body) {
            // Several documents, one after the other.
            Detection::Framing(Framing::Document) if is_stream => Framing::Lines,
            Detection::Framing(framing) => dialect.framing(framing),
            Detection::Undecided | Detection::Unreadable => return Self::default(),
        };
        let mut reader = EventListReader {
            reader: ResponseReader::new(dialect),
            data: Vec::new(),
            events: Vec::new(),
        };
        let mut framer = Framer::new(framing);
        framer.push(detector.unread(&body).1, &mut |frame| reader.frame(frame));
        framer.end(&mut |frame| reader.frame(frame));
        Self { framing: Some(framing), events: reader.events }
    }
}

/// Returns the body without content coding, up to the first error in it.
fn decode(content_encoding: &[u8], body: &[u8]) -> Vec<u8> {
    match ContentDecoder::new(content_encoding) {
        Ok(Some(mut decoder)) => {
            let mut decoded = Vec::new();
            // The summary reports the error.
            let _ = decoder.push(body, &mut |part| decoded.extend_from_slice(part));
            decoded
        }
        _ => body.to_vec(),
    }
}

struct EventListReader {
    reader: ResponseReader,
    data: Vec<u8>,
    events: Vec<ExplainedEvent>,
}

impl EventListReader {
    fn frame(&mut self, frame: FrameEvent<'_>) {
        match frame {
            FrameEvent::Data(data) => {
                self.data.extend_from_slice(data);
                self.reader.push(data);
            }
            FrameEvent::ErrorField => self.reader.set_error(),
            FrameEvent::End { name } => {
                let data = std::mem::take(&mut self.data);
                let facts = self.reader.finish_event(name);
                self.events.push(ExplainedEvent {
                    name: event_type(name, &data),
                    data,
                    found: words(facts),
                    model: facts.model.clone(),
                    has_output: facts.choices.iter().any(|choice| choice.has_output()),
                });
                self.reader.clear_event();
            }
            FrameEvent::Broken => {
                let data = std::mem::take(&mut self.data);
                let found = vec!["not parsed: framing".to_owned()];
                self.events.push(ExplainedEvent { data, found, ..ExplainedEvent::default() });
                self.reader.clear_event();
            }
        }
    }
}

/// Type of an event, for display.
fn event_type(name: &[u8], data: &[u8]) -> String {
    if !name.is_empty() {
        return String::from_utf8_lossy(name).into_owned();
    }
    let document: Option<serde_json::Value> = serde_json::from_slice(data).ok();
    let event_type = document.as_ref().and_then(|document| document.get("type")?.as_str());
    event_type.unwrap_or_default().to_owned()
}

/// Facts of an event in words.
fn words(facts: &EventFacts) -> Vec<String> {
    let mut words = Vec::new();
    for choice in &facts.choices {
        if choice.index > 0 {
            words.push(format!("choice {}", choice.index));
        }
        let chars = [
            ("answer", choice.answer_chars),
            ("reasoning", choice.reasoning_chars),
            ("tool arguments", choice.tool_chars),
        ];
        let chars = chars.into_iter().filter(|(_, chars)| *chars > 0);
        words.extend(chars.map(|(kind, chars)| format!("{kind} {}", count(chars, "character"))));
        if choice.has_answer && choice.answer_chars == 0 && choice.tool_chars == 0 {
            words.push("output without text".into());
        }
        if choice.token_ids > 0 {
            words.push(count(choice.token_ids, "token id"));
        }
        words.extend(choice.finish.as_ref().map(|reason| format!("finish reason {reason}")));
    }
    words.extend(facts.usage.and_then(|counts| token_words("usage", counts)));
    words.extend(facts.engine_counts.and_then(|counts| token_words("engine's count", counts)));
    words.extend(facts.timings.map(|_| "times of the server".to_owned()));
    words.extend(facts.detected_engine.map(|engine| format!("engine {}", engine.label())));
    for (is_found, word) in
        [(facts.loading, "loading the model"), (facts.error, "error"), (facts.done, "done")]
    {
        if is_found {
            words.push(word.into());
        }
    }
    words.extend(facts.unparsed.map(|reason| format!("not parsed: {}", reason.label())));
    words
}

fn token_words(source: &str, counts: TokenCounts) -> Option<String> {
    let counts = [
        ("input", counts.total_input()),
        ("cached", counts.cached),
        ("output", counts.total_output()),
        ("reasoning", counts.reasoning),
    ];
    let known = counts.into_iter().filter_map(|(kind, n)| Some(format!("{kind} {}", n?)));
    let known: Vec<String> = known.collect();
    (!known.is_empty()).then(|| format!("{source}: {}", known.join(", ")))
}

/// A number and its noun.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
