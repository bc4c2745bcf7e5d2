//! Description of the values to read from a JSON document.

use crate::wire::scan_event::ScanEvent;

/// Place in a document that is read. A scalar, object or array may occur there.
#[derive(Debug)]
pub struct JsonNode<T: 'static> {
    /// Tag of the reported events. `None` for a place that only leads to others.
    pub tag: Option<T>,
    /// How a string is reported.
    pub strings: StringMode,
    /// Whether an object or array is counted as a whole; no members or elements of it can be
    /// selected then.
    pub raw: bool,
    /// Selected members, if an object occurs here.
    pub keys: &'static [(&'static str, &'static JsonNode<T>)],
    /// Selected elements, if an array occurs here.
    pub items: Option<&'static JsonNode<T>>,
}

/// How a string is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringMode {
    /// Length only. The string differs from one document of a stream to the next.
    Count,
    /// Length only. The string is the same in all documents of a stream, which lets
    /// [`memo`](crate::wire::memo) reuse its scan.
    CountConstant,
    /// Length and text, which is cut to [`MAX_TEXT`](super::MAX_TEXT) bytes.
    Keep,
}

impl<T: Copy> JsonNode<T> {
    /// Returns a place that is not reported itself, only its members.
    pub const fn path(keys: &'static [(&'static str, &'static Self)]) -> Self {
        Self { tag: None, strings: StringMode::Count, raw: false, keys, items: None }
    }

    /// Returns an array that is not reported itself, only its elements.
    pub const fn list(items: &'static Self) -> Self {
        Self { items: Some(items), ..Self::path(&[]) }
    }

    /// Returns a scalar; of a string only the length is reported.
    pub const fn scalar(tag: T) -> Self {
        Self { tag: Some(tag), ..Self::path(&[]) }
    }

    /// Returns a scalar that is the same in all documents of a stream; of a string only the length
    /// is reported.
    pub const fn constant(tag: T) -> Self {
        Self { strings: StringMode::CountConstant, ..Self::scalar(tag) }
    }

    /// Returns a scalar; a string is reported with its text.
    pub const fn text(tag: T) -> Self {
        Self { strings: StringMode::Keep, ..Self::scalar(tag) }
    }

    /// Returns a place of which only the length is reported, also for an object or array.
    pub const fn raw(tag: T) -> Self {
        Self { raw: true, ..Self::scalar(tag) }
    }

    /// Returns an object that is reported when it opens and closes, with these members.
    pub const fn object(tag: T, keys: &'static [(&'static str, &'static JsonNode<T>)]) -> Self {
        Self { keys, ..Self::scalar(tag) }
    }

    /// Returns an array that is reported when it opens and closes, with these elements.
    pub const fn array(tag: T, items: &'static JsonNode<T>) -> Self {
        Self { items: Some(items), ..Self::scalar(tag) }
    }

    /// Reports an event of this place.
    pub(in crate::wire) fn report(
        &self,
        token: ScanEvent<'_>,
        sink: &mut impl FnMut(T, ScanEvent<'_>),
    ) {
        if let Some(tag) = self.tag {
            sink(tag, token);
        }
    }
}
