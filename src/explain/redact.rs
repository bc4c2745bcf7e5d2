//! Replaces the text in an event, so that a report about it reveals no content.

use serde::de::IgnoredAny;

/// Members whose text names a part of the format. It is kept if it looks like a name.
const FORMAT_MEMBERS: [&str; 13] = [
    "type",
    "event",
    "event_type",
    "object",
    "role",
    "status",
    "finish_reason",
    "stop_reason",
    "done_reason",
    "finishReason",
    "kind",
    "system_fingerprint",
    "reason",
];
/// Longest text that looks like a name, in bytes.
const MAX_NAME: usize = 40;

/// Replaces each character of text by `x`, and each digit in a list of numbers by `1`, since the ids of tokens and the
/// bytes of characters are text too. The names of members, numbers outside of lists, and the words of the format are
/// kept.
///
/// In data that is not JSON, all letters and digits are replaced.
pub fn redact(data: &str) -> String {
    if data.trim() == "[DONE]" {
        return data.to_owned();
    }
    if serde_json::from_str::<IgnoredAny>(data).is_err() {
        return data.chars().map(|c| if c.is_alphanumeric() { 'x' } else { c }).collect();
    }
    JsonRedactor::default().redact(data)
}

/// Replaces the text of a valid JSON document.
#[derive(Debug, Default)]
struct JsonRedactor {
    output: String,
    /// Open containers: `true` for an object.
    open: Vec<bool>,
    /// The next string is the name of a member.
    is_name_next: bool,
    /// Name of the last member.
    member: String,
}

impl JsonRedactor {
    fn redact(mut self, document: &str) -> String {
        let mut rest = document;
        while let Some(c) = rest.chars().next() {
            let (_, after) = rest.split_at(c.len_utf8());
            rest = after;
            match c {
                '"' => rest = self.redact_string(after),
                '{' | '[' => {
                    self.open.push(c == '{');
                    self.is_name_next = c == '{';
                    self.output.push(c);
                }
                '}' | ']' => {
                    self.open.pop();
                    self.output.push(c);
                }
                ',' => {
                    self.is_name_next = self.is_in_object();
                    self.output.push(c);
                }
                '0'..='9' if !self.is_in_object() && !self.open.is_empty() => self.output.push('1'),
                _ => self.output.push(c),
            }
        }
        self.output
    }

    fn is_in_object(&self) -> bool {
        self.open.last() == Some(&true)
    }

    /// Replaces the string that begins here, and returns what follows it.
    fn redact_string<'a>(&mut self, text: &'a str) -> &'a str {
        let (content, rest) = split_string(text);
        let is_name = std::mem::take(&mut self.is_name_next);
        let is_kept = is_name || self.is_in_object() && self.is_word_of_format(content);
        self.output.push('"');
        if is_kept {
            self.output.push_str(content);
        } else {
            self.output.extend((0..scalar_values(content)).map(|_| 'x'));
        }
        self.output.push('"');
        if is_name {
            content.clone_into(&mut self.member);
        }
        rest
    }

    /// Whether the value of the current member is a word of the API.
    fn is_word_of_format(&self, value: &str) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        FORMAT_MEMBERS.contains(&self.member.as_str())
            && value.len() <= MAX_NAME
            && value.chars().all(is_word)
    }
}

/// Splits after the string whose first character this is. The string has no closing quote then.
fn split_string(text: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => {
                let (content, rest) = text.split_at(at);
                return (content, rest.strip_prefix('"').unwrap_or(rest));
            }
            _ => {}
        }
    }
    (text, "")
}

/// Number of Unicode scalar values of a string in JSON's notation.
fn scalar_values(content: &str) -> usize {
    let decoded = serde_json::from_str::<String>(&format!("\"{content}\""));
    decoded.map_or(content.len(), |text| text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_replaced_and_the_format_is_kept() {
        for (data, expected) in [
            (
                r#"{"type":"delta","text":"Hi \"you\"é\n"}"#,
                r#"{"type":"delta","text":"xxxxxxxxxx"}"#,
            ),
            (r#"{"type":"my secret"}"#, r#"{"type":"xxxxxxxxx"}"#),
            (
                r#"{"choices": [ {"finish_reason": null}]}"#,
                r#"{"choices": [ {"finish_reason": null}]}"#,
            ),
            (r#"{"n":12,"ids":[12,-3.5],"t":["ab"]}"#, r#"{"n":12,"ids":[11,-1.1],"t":["xx"]}"#),
            (r#"{"e":"\ud83d\ude00"}"#, r#"{"e":"x"}"#),
            (r#"{"role":{"a":"b"},"x":"assistant"}"#, r#"{"role":{"a":"x"},"x":"xxxxxxxxx"}"#),
            (r#"{"type":["secret"]}"#, r#"{"type":["xxxxxx"]}"#),
            (r#""secret""#, r#""xxxxxx""#),
            ("7", "7"),
            ("[DONE]", "[DONE]"),
            ("Hello, 7 {\"a\": \"b", "xxxxx, x {\"x\": \"x"),
        ] {
            assert_eq!(redact(data), expected, "{data}");
        }
    }
}
