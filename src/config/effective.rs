//! The configuration in force, as `/config` and `check-config` show it.

use super::api;
use super::check::CheckedSettings;
use super::default_workers;
use super::keys::{API, KEYS, KeyInfo, SLO, WORKERS};
use super::settings::Settings;
use super::slo;
use serde_json::{Map, Value as Json, json};

/// Every key with its value; secrets are masked.
pub(super) fn to_json(checked: &CheckedSettings) -> Json {
    let mut table = Map::new();
    for key in KEYS.iter().filter(|key| !key.per_proxy) {
        let value = match key {
            key if key.name == SLO.info.name => slo::to_json(&checked.slo),
            key if key.name == API.info.name => api::to_json(&checked.apis),
            key => value(&checked.top, key),
        };
        table.insert(key.name.into(), value);
    }
    let proxies = checked.proxies.iter().map(|settings| {
        let keys = KEYS.iter().filter(|key| key.per_proxy);
        let table = keys.map(|key| (key.name.to_owned(), value(settings, key))).collect();
        Json::Object(table)
    });
    table.insert("proxies".into(), proxies.collect());
    Json::Object(table)
}

/// The value of a key; `null` if it has none.
pub(super) fn value(settings: &Settings, key: &KeyInfo) -> Json {
    match settings.parsed(key) {
        Some(value) => value.to_json(),
        None if key.name == WORKERS.info.name => json!(default_workers()),
        None => Json::Null,
    }
}
