//! Events and errors of the JSON and protobuf scanners.

/// Event at a selected place of a document or message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScanEvent<'a> {
    /// An object, array or message begins.
    Open,
    /// It ends.
    Close,
    /// A string.
    Text {
        /// Length in Unicode scalar values.
        chars: u64,
        /// The text if the scanner keeps it, cut to [`MAX_TEXT`](super::json::MAX_TEXT) bytes, possibly
        /// within a character. Otherwise empty.
        text: &'a [u8],
        /// Whether the string is valid UTF-8.
        valid: bool,
    },
    /// Length of an object or array that is counted as a whole, or of protobuf bytes. For JSON it
    /// comes directly before the `Close`.
    Raw {
        /// Bytes for protobuf. For JSON, Unicode scalar values as it would be written without white space
        /// and unnecessary escapes.
        chars: u64,
    },
    /// A number.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// JSON's `null`, a number that is not finite, or an unknown literal.
    Null,
}

/// Reason why a document or message cannot be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanError {
    /// It violates the grammar of JSON or the protobuf encoding.
    Syntax,
    /// It is truncated.
    Incomplete,
    /// It is nested too deeply: more than 128 levels of JSON, or 8 of protobuf.
    TooDeep,
}
