//! Text of the tokens: deterministic and plausible, with a known number of characters.
//!
//! Most are English words with a leading space, as produced by tokenizers. About one in eight is not ASCII or needs an
//! escape in JSON. Bytes, characters and JSON text therefore differ, and a count of the wrong unit is detected.

use std::sync::LazyLock;

use super::rng::mix;

/// Text of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenText {
    /// The text.
    pub text: &'static str,
    /// The text as inside of a JSON string, with escapes.
    pub json: String,
    /// Length in characters (Unicode scalar values).
    pub chars: u32,
}

/// Returns the text of token `index` of choice `choice` in a response with this seed.
pub fn piece(seed: u64, choice: u32, index: u32) -> &'static TokenText {
    let place = (u64::from(choice) << 32) | u64::from(index);
    let hash = mix(seed ^ mix(place.wrapping_add(1)));
    PIECES.get((hash % TEXTS.len() as u64) as usize).unwrap_or(&EMPTY)
}

/// Escapes a text as inside of a JSON string.
pub(super) fn json_inner(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// Length in characters (Unicode scalar values).
pub(super) fn chars(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

static PIECES: LazyLock<Vec<TokenText>> = LazyLock::new(|| {
    let build =
        |text: &&'static str| TokenText { text, json: json_inner(text), chars: chars(text) };
    TEXTS.iter().map(build).collect()
});

static EMPTY: TokenText = TokenText { text: "", json: String::new(), chars: 0 };

#[rustfmt::skip]
const TEXTS: [&str; 64] = [
    " the", " of", " and", " to", " in", " a", " is", " that", " for", " it", " as", " was", " with", " be",
    " by", " on", " not", " he", " this", " are", " or", " his", " from", " at", " which", " but", " have",
    " an", " had", " they", " you", " were", " there", " one", " all", " we", " can", " her", " has", " when",
    " model", " token", " stream", " measure", " latency", " queue", " batch", " server", ",", ".", "ing",
    "ed", "s", " considering", " approximately", " throughput",
    "\n\n", " \"quoted\"", "\t\\n", " Gr\u{f6}\u{df}e", " \u{6771}\u{4eac}", "\u{1f680}", " na\u{ef}ve", " </b>",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_chars_belong_to_the_text() {
        for piece in PIECES.iter() {
            let parsed: String = serde_json::from_str(&format!("\"{}\"", piece.json)).unwrap();
            assert_eq!(parsed, piece.text);
            assert_eq!(piece.chars as usize, piece.text.chars().count());
            assert!(piece.chars > 0, "an empty text would be no output event");
        }
    }

    #[test]
    fn same_place_same_text_and_other_places_differ() {
        let line =
            |seed, choice| -> String { (0..50).map(|i| piece(seed, choice, i).text).collect() };
        assert_eq!(line(1, 0), line(1, 0));
        assert_ne!(line(1, 0), line(2, 0));
        assert_ne!(line(1, 0), line(1, 1));
    }

    #[test]
    fn bytes_chars_and_json_differ_in_a_long_answer() {
        let (mut bytes, mut chars, mut json) = (0, 0, 0);
        for index in 0..1000 {
            let piece = piece(3, 0, index);
            bytes += piece.text.len();
            chars += piece.chars as usize;
            json += piece.json.len();
        }
        assert!(chars < bytes && bytes < json, "{chars} {bytes} {json}");
    }
}
