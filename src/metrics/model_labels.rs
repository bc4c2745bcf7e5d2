//! Limit on the number of model names that become label values.

use crate::control_characters::escape;
use prometheus::IntCounter;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// Label value of everything beyond a limit, and of requests without a value.
pub const OTHER: &str = "other";
/// Longest label value, in bytes. Longer values are cut.
pub const MAX_LABEL: usize = 128;

/// Model names that are label values: the configured ones, and the first `max_models` others.
///
/// Only the model of a successful response is passed here, so clients cannot use up the limit with invented names.
#[derive(Debug)]
pub struct ModelLabels {
    max_models: usize,
    configured: usize,
    known: RwLock<HashSet<Arc<str>>>,
    other: Arc<str>,
    overflow: IntCounter,
}

impl ModelLabels {
    pub(super) fn new(max_models: usize, names: &[String], overflow: IntCounter) -> Self {
        let known: HashSet<Arc<str>> =
            names.iter().map(|name| Arc::from(label_value(name))).collect();
        Self {
            max_models,
            configured: known.len(),
            known: RwLock::new(known),
            other: OTHER.into(),
            overflow,
        }
    }

    /// Returns the label value of this model if it has one. Does not use up the limit.
    pub fn existing(&self, model: &str) -> Option<Arc<str>> {
        let model = &*label_value(model);
        if model.is_empty() || model == OTHER {
            return Some(Arc::clone(&self.other));
        }
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// Returns the label value of this model: its name, or `other` beyond the limit, which is counted.
    pub fn label(&self, model: Option<&str>) -> Arc<str> {
        let Some(model) = model.map(label_value).filter(|model| !model.is_empty()) else {
            return Arc::clone(&self.other);
        };
        let model = &*model;
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(model) {
            return Arc::clone(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(model) {
            return Arc::clone(known);
        }
        if known.len() - self.configured >= self.max_models {
            self.overflow.inc();
            return Arc::clone(&self.other);
        }
        let label: Arc<str> = model.into();
        known.insert(Arc::clone(&label));
        label
    }
}

/// The label value of a model name: [escaped](escape), then cut to [`MAX_LABEL`] bytes.
///
/// This is the only place where a text that a client or a server chose becomes a label value.
fn label_value(name: &str) -> Cow<'_, str> {
    // First cut, so that a long name costs no more than a short one. Escaping only adds bytes.
    match escape(cut(name)) {
        Cow::Borrowed(value) => Cow::Borrowed(value),
        Cow::Owned(value) => Cow::Owned(cut(&value).to_owned()),
    }
}

/// Cuts a value to [`MAX_LABEL`] bytes at a character boundary.
fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_LABEL)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited_except_configured_ones() {
        let overflow = IntCounter::new("overflow", "h").unwrap();
        let labels = ModelLabels::new(2, &["pinned".into()], overflow.clone());
        assert_eq!(&*labels.label(None), OTHER);
        assert_eq!(&*labels.label(Some("")), OTHER);
        assert_eq!(&*labels.label(Some("a")), "a");
        assert_eq!(&*labels.label(Some("b")), "b");
        assert_eq!(overflow.get(), 0);
        for i in 0..10_000 {
            assert_eq!(&*labels.label(Some(&format!("m{i}"))), OTHER);
        }
        assert_eq!(overflow.get(), 10_000);
        assert_eq!(&*labels.label(Some("a")), "a");
        assert_eq!(&*labels.label(Some("pinned")), "pinned");
        assert_eq!(labels.existing("b").as_deref(), Some("b"));
        assert_eq!((labels.existing("m0"), labels.existing("").as_deref()), (None, Some(OTHER)));
        assert_eq!(overflow.get(), 10_000, "looking up a name does not use up the limit");
    }

    #[test]
    fn long_names_are_cut_at_a_character_boundary() {
        assert_eq!(cut(&"x".repeat(10_000)).len(), MAX_LABEL);
        assert_eq!(cut(&"\u{20ac}".repeat(100)).len(), 126);
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn control_characters_are_escaped_in_every_label() {
        let overflow = IntCounter::new("overflow", "h").unwrap();
        let labels = ModelLabels::new(2, &["con\nfigured".into()], overflow);
        assert_eq!(&*labels.label(Some("a\r\0\u{85}\u{2028}")), "a\\r\\u0000\\u0085\\u2028");
        assert_eq!(labels.existing("con\nfigured").as_deref(), Some("con\\nfigured"));
        assert_eq!(labels.label(Some(&"\n".repeat(1000))).len(), MAX_LABEL);
    }
}
