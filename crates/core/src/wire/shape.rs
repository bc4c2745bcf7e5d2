//! What is wanted of a JSON document, and what is told of it.

/// A place in the document. The same node may meet a scalar, an object or an array there.
#[derive(Debug)]
pub struct JsonNode<T: 'static> {
    /// What the reports call this place; of one that only leads to others, nothing is reported.
    pub tag: Option<T>,
    /// What is told of a string that stands here.
    pub strings: Strings,
    /// Whether an object or array is counted as a whole; then nothing in it is wanted beside.
    pub raw: bool,
    /// The wanted members, if an object stands here.
    pub keys: &'static [(&'static str, &'static JsonNode<T>)],
    /// The elements, if an array stands here.
    pub items: Option<&'static JsonNode<T>>,
}

/// What is told of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strings {
    /// Its length: it is what changes from one document to the next.
    Counted,
    /// Its length: it is the same in all documents of a stream.
    Constant,
    /// Its text too, of at most [`MAX_TEXT`](super::json::MAX_TEXT) bytes.
    Kept,
}

impl<T: Copy> JsonNode<T> {
    /// An object that only leads to its members.
    pub const fn path(keys: &'static [(&'static str, &'static Self)]) -> Self {
        Self { tag: None, strings: Strings::Counted, raw: false, keys, items: None }
    }

    /// An array that only leads to its elements.
    pub const fn list(items: &'static Self) -> Self {
        Self { items: Some(items), ..Self::path(&[]) }
    }

    /// A scalar whose text is counted but not kept.
    pub const fn scalar(tag: T) -> Self {
        Self { tag: Some(tag), ..Self::path(&[]) }
    }

    /// A scalar whose text is the same in all documents of a stream, and counted but not kept.
    pub const fn constant(tag: T) -> Self {
        Self { strings: Strings::Constant, ..Self::scalar(tag) }
    }

    /// A scalar whose text is kept.
    pub const fn text(tag: T) -> Self {
        Self { strings: Strings::Kept, ..Self::scalar(tag) }
    }

    /// A string that is counted, or an object or array that is counted as a whole.
    pub const fn raw(tag: T) -> Self {
        Self { raw: true, ..Self::scalar(tag) }
    }

    /// An object with wanted members.
    pub const fn object(tag: T, keys: &'static [(&'static str, &'static JsonNode<T>)]) -> Self {
        Self { keys, ..Self::scalar(tag) }
    }

    /// An array with wanted elements.
    pub const fn array(tag: T, items: &'static JsonNode<T>) -> Self {
        Self { items: Some(items), ..Self::scalar(tag) }
    }

    /// Reports what stands here.
    pub(super) fn tell(&self, token: ScanEvent<'_>, sink: &mut impl FnMut(T, ScanEvent<'_>)) {
        if let Some(tag) = self.tag {
            sink(tag, token);
        }
    }
}

/// What was found at a wanted place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScanEvent<'a> {
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
pub enum ScanError {
    /// It breaks JSON's grammar.
    Syntax,
    /// It ended in the middle.
    Incomplete,
    /// It nests deeper than 128 levels.
    TooDeep,
}
