//! Caps on the values of labels that clients choose.

use prometheus::IntCounter;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

/// The value that stands for all that is not told apart.
pub const OTHER: &str = "other";
/// Longest value of a label, in bytes.
pub const MAX_LABEL: usize = 128;

/// The model names that are labels: the first ones seen up to a cap, and those of the configuration.
#[derive(Debug)]
pub struct ModelLabels {
    cap: usize,
    pinned: usize,
    known: RwLock<HashSet<Arc<str>>>,
    other: Arc<str>,
    overflow: IntCounter,
}

impl ModelLabels {
    pub(super) fn new(cap: usize, pinned: &[String], overflow: IntCounter) -> Self {
        let known: HashSet<Arc<str>> = pinned.iter().map(|name| Arc::from(cut(name))).collect();
        Self { cap, pinned: known.len(), known: RwLock::new(known), other: OTHER.into(), overflow }
    }

    /// The label of this model if it has one already: for what is told beside its requests.
    pub fn known(&self, model: &str) -> Option<Arc<str>> {
        let model = cut(model);
        if model.is_empty() || model == OTHER {
            return Some(Arc::clone(&self.other));
        }
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned()
    }

    /// The label of this model.
    pub fn label(&self, model: Option<&str>) -> Arc<str> {
        let Some(model) = model.map(cut).filter(|model| !model.is_empty()) else {
            return Arc::clone(&self.other);
        };
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(model) {
            return Arc::clone(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(model) {
            return Arc::clone(known);
        }
        if known.len() - self.pinned >= self.cap {
            self.overflow.inc();
            return Arc::clone(&self.other);
        }
        let label: Arc<str> = model.into();
        known.insert(Arc::clone(&label));
        label
    }
}

/// Cuts a value to [`MAX_LABEL`] bytes, between characters.
fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_LABEL)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capped_pinned_and_cut() {
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
        assert_eq!(labels.known("b").as_deref(), Some("b"));
        assert_eq!((labels.known("m0"), labels.known("").as_deref()), (None, Some(OTHER)));
        assert_eq!(overflow.get(), 10_000, "asking is no use of a label");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut(&"x".repeat(10_000)).len(), MAX_LABEL);
        assert_eq!(cut(&"\u{20ac}".repeat(100)).len(), 126);
        assert_eq!(cut("short"), "short");
    }
}
