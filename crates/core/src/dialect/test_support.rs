//! Describes events in words, for the unit tests of the dialects.

use super::{Dialect, EventFacts, ResponseReader};

/// Parses the events of one stream and describes each in words, such as `answer 2, ends as stop, output 2, done`.
pub fn describe_events(dialect: &'static Dialect, events: &[&str]) -> Vec<String> {
    let mut reader = ResponseReader::new(dialect);
    let one = |event: &&str| {
        event.as_bytes().chunks(5).for_each(|part| reader.push(part));
        let words = words(reader.finish_event(b""));
        reader.clear_event();
        words
    };
    events.iter().map(one).collect()
}

/// Parses the events of one stream and compares each with its description.
pub fn assert_events(dialect: &'static Dialect, stream: &[(&str, &str)]) {
    let events: Vec<&str> = stream.iter().map(|(event, _)| *event).collect();
    for ((event, expected), found) in stream.iter().zip(describe_events(dialect, &events)) {
        assert_eq!(found, *expected, "{event}");
    }
}

fn words(facts: &EventFacts) -> String {
    let mut words = Vec::new();
    let mut add = |word: &str, value: Option<&dyn std::fmt::Display>| {
        words.extend(value.map(|value| format!("{word} {value}").trim().to_owned()));
    };
    for choice in &facts.choices {
        let chars = [
            ("answer", choice.answer_chars),
            ("reasoning", choice.reasoning_chars),
            ("tool", choice.tool_chars),
        ];
        add("of choice", (choice.index > 0).then_some(&choice.index));
        for (word, chars) in &chars {
            add(word, (*chars > 0).then_some(chars));
        }
        let has_only_nontext =
            choice.has_answer && choice.answer_chars == 0 && choice.tool_chars == 0;
        add("", has_only_nontext.then_some(&"output"));
        add("", choice.has_reasoning_media.then_some(&"draft"));
        add("ends as", choice.finish.as_ref().map(|finish| finish as _));
    }
    let usage = facts.usage.unwrap_or_default();
    let engine = facts.engine_counts.unwrap_or_default();
    let counts = [
        ("input", usage.total_input()),
        ("cached", usage.cached),
        ("output", usage.total_output()),
        ("reasoned", usage.reasoning),
        ("engine input", engine.total_input()),
        ("engine output", engine.total_output()),
    ];
    for (word, count) in &counts {
        add(word, count.as_ref().map(|count| count as _));
    }
    add("model", facts.model.as_ref().map(|model| model as _));
    add("", facts.error.then_some(&"error"));
    add("", facts.done.then_some(&"done"));
    add("", facts.unparsed.map(|_| &"unparsed" as _));
    words.join(", ")
}
