//! The report about a recording: a table of its events, and a summary.

use super::events::ExplainedEvent;
use super::redact::redact;
use super::response::ExplainedResponse;
use std::fmt;

/// Number of characters of an event's data that are printed.
const MAX_DATA: usize = 60;
/// Largest width of the column with the findings. Longer ones move the data to the right.
const MAX_FOUND: usize = 60;

/// Report about a response.
#[derive(Debug)]
pub struct ExplainReport {
    response: ExplainedResponse,
    is_redacted: bool,
}

/// Printed cells of an event.
struct EventRow {
    name: String,
    found: String,
    data: String,
}

impl ExplainReport {
    /// Creates a report. `is_redacted`: text is replaced, and data is printed in full.
    pub fn new(response: ExplainedResponse, is_redacted: bool) -> Self {
        Self { response, is_redacted }
    }

    fn row(&self, event: &ExplainedEvent) -> EventRow {
        let mut found = event.found.clone();
        found.extend(event.model.as_deref().map(|model| format!("model {}", self.text(model))));
        if found.is_empty() {
            found.push("nothing".into());
        }
        EventRow { name: event.name.clone(), found: found.join(", "), data: self.data(&event.data) }
    }

    /// Text of the response that the report prints.
    fn text(&self, text: &str) -> String {
        if self.is_redacted { text.chars().map(|_| 'x').collect() } else { text.to_owned() }
    }

    fn data(&self, data: &[u8]) -> String {
        let is_binary = |c: char| c.is_control() && !c.is_ascii_whitespace();
        let text = match std::str::from_utf8(data) {
            Ok(text) if !text.contains(is_binary) => text,
            _ => return format!("({} bytes, not text)", data.len()),
        };
        if self.is_redacted {
            return one_line(&redact(text));
        }
        match text.char_indices().nth(MAX_DATA) {
            Some((end, _)) => one_line(text.get(..end).unwrap_or(text)) + "...",
            None => one_line(text),
        }
    }
}

/// Writes line breaks and tabs as escapes.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

/// Number of characters of the longest text, at most `most`.
fn width<'a>(texts: impl Iterator<Item = &'a str>, most: usize) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).min(most)
}

impl fmt::Display for ExplainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<EventRow> =
            self.response.events.events.iter().map(|event| self.row(event)).collect();
        let heading = EventRow { name: "event".into(), found: "found".into(), data: "data".into() };
        let all = || rows.iter().chain([&heading]);
        let has_names = rows.iter().any(|row| !row.name.is_empty());
        let names =
            if has_names { width(all().map(|row| row.name.as_str()), MAX_FOUND) } else { 0 };
        let found = width(all().map(|row| row.found.as_str()), MAX_FOUND);
        let mut line = |number: &str, row: &EventRow| {
            write!(f, "{number:>4}")?;
            if has_names {
                write!(f, "  {:names$}", row.name)?;
            }
            let cells = format!("  {:found$}  {}", row.found, row.data);
            writeln!(f, "{}", cells.trim_end())
        };
        line("#", &heading)?;
        for (number, row) in (1..).zip(&rows) {
            line(&i32::to_string(&number), row)?;
        }
        writeln!(f)?;
        for (name, value) in self.response.summary() {
            writeln!(f, "{name:14}  {value}")?;
        }
        let model = self.response.meter.tally().model.as_deref();
        model.map_or(Ok(()), |model| writeln!(f, "{:14}  {}", "model", self.text(model)))
    }
}
