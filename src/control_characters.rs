//! Characters that must not reach a label value or a log line as they are.
//!
//! They can start a new line, hide or reorder text, or control a terminal. Clients and servers choose some of the texts,
//! such as model names.

use serde_json::ser::Formatter;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// Whether a character is escaped: control characters (Unicode's Cc, with NEL), line and paragraph separators, and
/// invisible characters that change the direction or the shape of a text.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

/// Escapes the characters for which [`is_unsafe`] is true, as JSON does: `\n`, `\r`, `\t`, or `\u` with four digits.
///
/// The result can replace a part of a JSON string without a change of its value.
pub fn escape(text: &str) -> Cow<'_, str> {
    let is_printable_ascii = |byte: u8| (b' '..0x7f).contains(&byte);
    if text.bytes().all(is_printable_ascii) || !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // All of them are below U+10000. Writing to a String does not fail.
            _ if is_unsafe(character) => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Compact JSON whose strings contain no character for which [`is_unsafe`] is true. serde_json escapes only those below
/// U+0020.
#[derive(Debug, Clone, Copy)]
pub struct SafeJson;

impl Formatter for SafeJson {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(escape(fragment).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[test]
    fn unsafe_characters_are_escaped_and_others_are_kept() {
        for (text, expected) in [
            ("llama-3.1:8b", "llama-3.1:8b"),
            ("\u{20ac} \u{1f600} \\ \"", "\u{20ac} \u{1f600} \\ \""),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\0\u{1b}[31m\u{7f}\u{85}\u{9b}", "\\u0000\\u001b[31m\\u007f\\u0085\\u009b"),
            ("\u{2028}\u{2029}\u{202e}\u{2066}\u{61c}", "\\u2028\\u2029\\u202e\\u2066\\u061c"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        let all: String = ('\0'..='\u{ffff}').filter(|character| character.is_control()).collect();
        assert_eq!(all.chars().count(), 65);
        assert!(!escape(&all).contains(is_unsafe));
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "a\"\\\n\u{7f}\u{85}\u{2028}\u{202e}\u{1f600}";
        let mut json = Vec::new();
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut json, SafeJson)).unwrap();
        let json = String::from_utf8(json).unwrap();
        assert!(!json.contains(is_unsafe), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
