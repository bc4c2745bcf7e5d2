//! What the dialects' tests compare.

use super::{Dialect, EventFacts, ResponseReader};

/// What each event of one stream says, in words.
pub fn said(dialect: &'static Dialect, events: &[&str]) -> Vec<String> {
    let mut reader = ResponseReader::new(dialect);
    let one = |event: &&str| {
        event.as_bytes().chunks(5).for_each(|part| reader.push(part));
        let words = words(reader.finish_event(b""));
        reader.clear_event();
        words
    };
    events.iter().map(one).collect()
}

/// Compares what the events of one stream say with what stands beside each.
pub fn assert_said(dialect: &'static Dialect, stream: &[(&str, &str)]) {
    let events: Vec<&str> = stream.iter().map(|(event, _)| *event).collect();
    for ((event, expected), found) in stream.iter().zip(said(dialect, &events)) {
        assert_eq!(found, *expected, "{event}");
    }
}

fn words(facts: &EventFacts) -> String {
    let mut words = Vec::new();
    let mut say = |word: &str, value: Option<&dyn std::fmt::Display>| {
        words.extend(value.map(|value| format!("{word} {value}").trim().to_owned()));
    };
    for choice in &facts.choices {
        let chars = [
            ("answer", choice.answer_chars),
            ("reasoning", choice.reasoning_chars),
            ("tool", choice.tool_chars),
        ];
        say("of choice", (choice.index > 0).then_some(&choice.index));
        for (word, chars) in &chars {
            say(word, (*chars > 0).then_some(chars));
        }
        let is_wordless = choice.has_answer && choice.answer_chars == 0 && choice.tool_chars == 0;
        say("", is_wordless.then_some(&"output"));
        say("ends as", choice.finish.as_ref().map(|finish| finish as _));
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
        say(word, count.as_ref().map(|count| count as _));
    }
    say("model", facts.model.as_ref().map(|model| model as _));
    say("", facts.error.then_some(&"error"));
    say("", facts.done.then_some(&"done"));
    say("", facts.unparsed.map(|_| &"unparsed" as _));
    words.join(", ")
}
