//! Places of an error in a body with status 200, the same for all APIs with JSON.
//!
//! | place | example | an error if |
//! |---|---|---|
//! | `error`, `error_type`, `error_message`, `error_msg`, `error_code`, `errors` | most servers, Baidu, Cloudflare | not empty, `false`, 0 or a word such as `success` |
//! | `success` | Cloudflare | `false` |
//! | `base_resp.status_code` | MiniMax | not 0 |
//! | `detail` | FastAPI | the event has nothing else |
//! | `message` or `msg`, with `code` or `"object":"error"` | vLLM, FastChat, DashScope | the code is not 0, 2xx or empty, the message and the code are not a word such as `success`, and the event has nothing else |
//!
//! A dialect adds these to the fields of its root by `with_error_fields!`. A field that the dialect reads itself takes
//! precedence.

use super::tag::{JsonShape, Tag};
use crate::wire::ScanEvent;

pub(super) static ERROR: JsonShape = JsonShape { raw: true, ..JsonShape::text(Tag::Error) };
pub(super) static DETAIL: JsonShape = JsonShape::raw(Tag::ErrorDetail);
pub(super) static MESSAGE: JsonShape = JsonShape::text(Tag::ErrorMessage);
pub(super) static CODE: JsonShape = JsonShape::text(Tag::ErrorCode);
pub(super) static SUCCESS: JsonShape = JsonShape::scalar(Tag::Success);
pub(super) static BASE_RESPONSE: JsonShape = JsonShape::path(&[("status_code", &ERROR)]);

/// Adds the places of an error to the fields of a root.
macro_rules! with_error_fields {
    ($($field:expr),* $(,)?) => {
        &[
            $($field,)*
            ("error", &$crate::dialect::error_fields::ERROR),
            ("error_type", &$crate::dialect::error_fields::ERROR),
            ("error_message", &$crate::dialect::error_fields::ERROR),
            ("error_msg", &$crate::dialect::error_fields::ERROR),
            ("error_code", &$crate::dialect::error_fields::ERROR),
            ("errors", &$crate::dialect::error_fields::ERROR),
            ("detail", &$crate::dialect::error_fields::DETAIL),
            ("message", &$crate::dialect::error_fields::MESSAGE),
            ("msg", &$crate::dialect::error_fields::MESSAGE),
            ("code", &$crate::dialect::error_fields::CODE),
            ("success", &$crate::dialect::error_fields::SUCCESS),
            ("base_resp", &$crate::dialect::error_fields::BASE_RESPONSE),
        ]
    };
}
pub(super) use with_error_fields;

/// Signs of an error in an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorSigns {
    /// The event is an error, whatever else it has.
    pub is_certain: bool,
    /// There is a [`Tag::ErrorDetail`].
    pub has_detail: bool,
    /// There is a [`Tag::ErrorMessage`].
    pub has_message: bool,
    /// There is a [`Tag::ErrorCode`], or the object is an `error`.
    pub has_code: bool,
}

impl ErrorSigns {
    /// Records a tagged value. Returns whether the tag is about errors.
    #[inline(never)]
    pub fn record(&mut self, tag: Tag, token: ScanEvent<'_>) -> bool {
        match (tag, token) {
            (Tag::Error, ScanEvent::Text { text, .. }) => self.is_certain |= !is_success(text),
            (Tag::Error, ScanEvent::Number(n)) => self.is_certain |= n != 0.0,
            (Tag::Error, ScanEvent::Bool(true)) => self.is_certain = true,
            // The length of a list or an object without whitespace.
            (Tag::Error, ScanEvent::Raw { chars }) => self.is_certain |= chars > 2,
            (Tag::ErrorDetail, ScanEvent::Raw { chars }) => self.has_detail |= chars > 2,
            (Tag::ErrorDetail, ScanEvent::Text { chars, .. }) => self.has_detail |= chars > 0,
            // Some dialects count the message only.
            (Tag::ErrorMessage, ScanEvent::Text { chars, text, .. }) => {
                self.has_message |= chars > 0 && (text.is_empty() || !is_success(text));
            }
            (Tag::ErrorCode, ScanEvent::Number(n)) => {
                self.has_code |= n != 0.0 && !(200.0..300.0).contains(&n);
            }
            (Tag::ErrorCode, ScanEvent::Text { text, .. }) => self.has_code |= !is_success(text),
            (Tag::Success, ScanEvent::Bool(success)) => self.is_certain |= !success,
            (Tag::Status, ScanEvent::Text { text, .. }) => {
                self.is_certain |= matches!(text, b"failed" | b"error");
            }
            _ => return false,
        }
        true
    }

    /// Whether the event is an error if it has nothing else.
    pub fn is_error(self) -> bool {
        self.has_detail || self.has_message && self.has_code
    }
}

/// Whether a text in the place of an error, a message or a code says that there is no error.
fn is_success(text: &[u8]) -> bool {
    let words: [&[u8]; 6] = [b"", b"0", b"200", b"success", b"ok", b"none"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
#[path = "error_fields_tests.rs"]
mod tests;
