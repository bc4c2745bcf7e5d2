//! Loads the configuration again, and compares it with the one in force.

use super::keys::{ADMIN_TOKEN, API, KEYS, KeyInfo, KeyReload, NAME, TLS_CERT};
use super::problem::ConfigError;
use super::source::{RawData, RawTable, Sources};
use super::{Config, load_merged};
use serde_json::Value as Json;
use std::fmt;

/// The sources of a configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadedSources {
    sources: Sources,
    /// The `[[api]]` tables as the sources have them.
    api_tables: Option<RawData>,
}

impl LoadedSources {
    pub(super) fn new(sources: &Sources, merged: &RawTable) -> Self {
        let api_tables = merged.get(API.info.name).map(|tables| tables.data.clone());
        Self { sources: sources.clone(), api_tables }
    }
}

/// Why a new configuration does not come into force. Nothing of it is applied.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration has problems.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// It changes keys that need a restart.
    #[error("{}", list(.0))]
    Refused(Vec<RefusedKey>),
}

/// A changed key that needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedKey {
    /// Name of the key.
    pub key: String,
    /// Why a reload cannot change it.
    pub reason: &'static str,
}

impl fmt::Display for RefusedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs a restart, because {}", self.key, self.reason)
    }
}

fn list(refused: &[RefusedKey]) -> String {
    refused.iter().map(RefusedKey::to_string).collect::<Vec<_>>().join("; ")
}

/// Keys whose values differ.
#[derive(Debug, Default)]
struct ChangedKeys {
    applied: Vec<String>,
    refused: Vec<RefusedKey>,
}

impl ChangedKeys {
    fn add(&mut self, key: String, reload: KeyReload) {
        match reload {
            KeyReload::Applied => self.applied.push(key),
            KeyReload::Refused(reason) => self.refused.push(RefusedKey { key, reason }),
        }
    }
}

impl Config {
    /// Loads the configuration from the same sources again. Returns it with the names of the keys that differ.
    ///
    /// # Errors
    /// If the sources have problems, or a key differs that needs a restart.
    pub fn reload(&self) -> Result<(Self, Vec<String>), ReloadError> {
        let LoadedSources { sources, api_tables: old_api_tables } = &self.loaded_from;
        let mut merged = sources.merge().map_err(ConfigError::from)?;
        let mut changed = ChangedKeys::default();
        // The tables are not read again: each reading keeps memory until the end of the process.
        let api_tables = merged.remove(API.info.name).map(|tables| tables.data);
        let is_same = match (old_api_tables, &api_tables) {
            (Some(old), Some(new)) => old.has_same_values(new),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            changed.add(API.info.name.into(), API.info.reload);
        }
        let mut new = load_merged(sources, merged)?;
        self.compare(&new, &mut changed);
        if !changed.refused.is_empty() {
            return Err(ReloadError::Refused(changed.refused));
        }
        for (new, old) in new.proxies.iter_mut().zip(&self.proxies) {
            new.tap.routes = old.tap.routes;
        }
        new.apis.clone_from(&self.apis);
        new.loaded_from.clone_from(&self.loaded_from);
        if let (Some(new), Some(old)) =
            (new.effective.get_mut(API.info.name), self.effective.get(API.info.name))
        {
            new.clone_from(old);
        }
        Ok((new, changed.applied))
    }

    fn compare(&self, new: &Self, changed: &mut ChangedKeys) {
        let (old_table, new_table) = (&self.effective, &new.effective);
        for key in KEYS.iter().filter(|key| !key.per_proxy && key.name != API.info.name) {
            // `effective` has no secrets.
            let is_same_secret = key.name != ADMIN_TOKEN.info.name
                || self.admin_access.token == new.admin_access.token;
            if old_table.get(key.name) != new_table.get(key.name) || !is_same_secret {
                changed.add(key.name.into(), key.reload);
            }
        }
        let [old_proxies, new_proxies] = [old_table, new_table].map(|table| {
            table.get("proxies").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
        });
        let names = |proxies: &[Json]| -> Vec<Json> {
            proxies.iter().filter_map(|proxy| proxy.get(NAME.info.name)).cloned().collect()
        };
        // The name of a single proxy is a key like any other.
        let are_single = old_proxies.len() == 1 && new_proxies.len() == 1;
        if names(old_proxies) != names(new_proxies) && !are_single {
            changed
                .add("proxies".into(), KeyReload::Refused("each proxy has a listener and series"));
            return;
        }
        for (old, new) in old_proxies.iter().zip(new_proxies) {
            for key in KEYS.iter().filter(|key| key.per_proxy) {
                if old.get(key.name) != new.get(key.name) {
                    let name = match old.get(NAME.info.name) {
                        Some(Json::String(name)) if old_proxies.len() > 1 => {
                            format!("{} of proxy {name}", key.name)
                        }
                        _ => key.name.to_owned(),
                    };
                    changed.add(name, reload_of(key, old, new));
                }
            }
        }
    }
}

/// Whether a reload can change the key from the value in `old` to that in `new`.
fn reload_of(key: &KeyInfo, old: &Json, new: &Json) -> KeyReload {
    let is_absent = |proxy: &Json| proxy.get(key.name).is_none_or(Json::is_null);
    if key.name == TLS_CERT.info.name && is_absent(old) != is_absent(new) {
        return KeyReload::Refused("a listener speaks either TLS or plain HTTP");
    }
    key.reload
}
