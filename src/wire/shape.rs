//! What is wanted of a JSON document, and what is told of it.

/// A place in the document. The same node may meet a scalar, an object or an array there.
#[derive(Debug)]
pub struct Node<T: 'static> {
    /// What the reports call this place.
    pub tag: T,
    /// Whether a string's text is kept (at most [`MAX_TEXT`](super::json::MAX_TEXT) bytes) or only counted.
    pub keep: bool,
    /// Whether an object or array is counted as a whole; then nothing in it is wanted beside.
    pub raw: bool,
    /// The wanted members, if an object stands here.
    pub keys: &'static [(&'static str, &'static Node<T>)],
    /// The elements, if an array stands here.
    pub items: Option<&'static Node<T>>,
}

impl<T: Copy> Node<T> {
    /// A scalar whose text is counted but not kept.
    pub const fn scalar(tag: T) -> Self {
        Self { tag, keep: false, raw: false, keys: &[], items: None }
    }

    /// A scalar whose text is kept.
    pub const fn text(tag: T) -> Self {
        Self { tag, keep: true, raw: false, keys: &[], items: None }
    }

    /// A string that is counted, or an object or array that is counted as a whole.
    pub const fn raw(tag: T) -> Self {
        Self { tag, keep: false, raw: true, keys: &[], items: None }
    }

    /// An object with wanted members.
    pub const fn object(tag: T, keys: &'static [(&'static str, &'static Node<T>)]) -> Self {
        Self { tag, keep: false, raw: false, keys, items: None }
    }

    /// An array with wanted elements.
    pub const fn array(tag: T, items: &'static Node<T>) -> Self {
        Self { tag, keep: false, raw: false, keys: &[], items: Some(items) }
    }
}

/// What was found at a wanted place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// An object or an array begins.
    Open,
    /// It ends.
    Close,
    /// A string: its length in Unicode scalar values, its text if the node keeps it (cut to
    /// [`MAX_TEXT`](super::json::MAX_TEXT) bytes, possibly inside a character), and whether it was proper UTF-8.
    Text {
        chars: u64,
        text: &'a [u8],
        valid: bool,
    },
    /// Comes right before the `Close` of an object or array that is counted as a whole: its length in
    /// Unicode scalar values, as it would be written without blanks or needless escapes.
    Raw {
        chars: u64,
    },
    Number(f64),
    Bool(bool),
    Null,
}

/// Why a document cannot be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It breaks JSON's grammar.
    Syntax,
    /// It ended in the middle.
    Incomplete,
    /// It nests deeper than 128 levels.
    TooDeep,
}
