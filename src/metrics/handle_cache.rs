//! Cache of the handles of one family.

use std::sync::OnceLock;

/// Handles of one family by the labels that distinguish them.
///
/// There are few of them, so walking this list is cheaper than hashing all label values. Entries are only ever added,
/// so a look-up takes no lock.
#[derive(Debug)]
pub(super) struct HandleCache<K, M>(OnceLock<Box<CachedHandle<K, M>>>);

#[derive(Debug)]
struct CachedHandle<K, M> {
    key: K,
    handle: M,
    next: HandleCache<K, M>,
}

impl<K, M> Default for HandleCache<K, M> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: PartialEq + Clone, M> HandleCache<K, M> {
    /// Returns the handle of this key, and creates it at first use.
    pub fn get(&self, key: K, new: impl Fn() -> M) -> &M {
        let mut list = self;
        loop {
            // If two threads append at the same time, the second one continues behind the entry of the first.
            let entry = list.0.get_or_init(|| {
                let (key, next) = (key.clone(), Self::default());
                Box::new(CachedHandle { key, handle: new(), next })
            });
            if entry.key == key {
                return &entry.handle;
            }
            list = &entry.next;
        }
    }
}
