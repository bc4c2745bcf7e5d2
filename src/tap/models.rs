//! State of an upstream for each requested model.

use super::lock;
use crate::metrics::OTHER;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Most models with a state of their own. Further models share one with requests that name no model.
pub(super) const MAX_MODELS: usize = 64;

/// State of one model, shared by its requests.
pub(super) type ModelState<T> = Arc<Mutex<T>>;

/// One `T` for each requested model.
#[derive(Debug)]
pub(super) struct PerModel<T> {
    states: Mutex<BTreeMap<Arc<str>, ModelState<T>>>,
    /// Whether the state of a model can be dropped.
    is_unused: fn(&T) -> bool,
}

impl<T: Default> PerModel<T> {
    pub fn new(is_unused: fn(&T) -> bool) -> Self {
        Self { states: Mutex::default(), is_unused }
    }

    /// The state of a model, which is created if necessary. `model` is empty for a request that names none.
    pub fn get_or_create(&self, model: &str) -> ModelState<T> {
        let model = if model.is_empty() { OTHER } else { model };
        let mut states = lock(&self.states);
        if let Some(known) = states.get(model) {
            return Arc::clone(known);
        }
        if states.len() >= MAX_MODELS {
            // Models that were requested and never served must not use up the limit.
            states.retain(|_, state| !(self.is_unused)(&lock(state)));
        }
        let model = if states.len() < MAX_MODELS { model } else { OTHER };
        Arc::clone(states.entry(model.into()).or_default())
    }

    /// The state of a model, or else the one that further models share.
    pub fn find(&self, model: &str) -> Option<ModelState<T>> {
        let states = lock(&self.states);
        states.get(model).or_else(|| states.get(OTHER)).map(Arc::clone)
    }

    /// All models with their states.
    pub fn all(&self) -> Vec<(Arc<str>, ModelState<T>)> {
        let states = lock(&self.states);
        states.iter().map(|(model, state)| (Arc::clone(model), Arc::clone(state))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_models_do_not_use_up_the_limit() {
        let counts: PerModel<usize> = PerModel::new(|count| *count == 0);
        for i in 0..10_000 {
            counts.get_or_create(&format!("wrong-{i}"));
        }
        assert!(counts.all().len() <= MAX_MODELS);
        for i in 0..MAX_MODELS + 10 {
            *lock(&counts.get_or_create(&format!("m{i}"))) += 1;
        }
        assert_eq!(counts.all().len(), MAX_MODELS + 1, "and one for all others");
        assert_eq!(*lock(&counts.find("new").expect("the one for all others")), 10);
    }

    #[test]
    fn requests_without_a_model_share_one_state() {
        let counts: PerModel<usize> = PerModel::new(|_| false);
        for model in ["", OTHER, "m"] {
            *lock(&counts.get_or_create(model)) += 1;
        }
        let found: Vec<_> =
            counts.all().iter().map(|(model, count)| (model.to_string(), *lock(count))).collect();
        assert_eq!(found, [("m".to_owned(), 1), (OTHER.to_owned(), 2)]);
    }
}
