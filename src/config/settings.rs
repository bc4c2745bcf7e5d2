//! The settings of one table: its parsed values by key, and the reader that parses them and collects what
//! is wrong.

use super::keys::{ConfigKey, DefaultValue, KEYS, KeyInfo};
use super::origin::Origin;
use super::problem::{ConfigProblem, closest, variable_name};
use super::source::{RawTable, RawValue, parse_default};
use super::value::{ParsedValue, ValueError, ValueType};
use std::collections::BTreeMap;

/// The parsed values of one table, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(BTreeMap<&'static str, Setting>);

/// A parsed value, and where it was set.
#[derive(Debug, Clone)]
struct Setting {
    value: ParsedValue,
    origin: Origin,
}

/// Parses raw tables and collects all problems.
#[derive(Debug, Default)]
pub(super) struct SettingsReader {
    pub problems: Vec<ConfigProblem>,
}

impl Settings {
    /// The value of a key, if it is set or has a default.
    pub fn find<T>(&self, key: &ConfigKey<T>) -> Option<T> {
        self.0.get(key.info.name).and_then(|setting| (key.convert)(&setting.value))
    }

    /// The value of a key that must have one.
    ///
    /// # Errors
    /// If the key is not set and has no default.
    pub fn get<T>(&self, key: &ConfigKey<T>) -> Result<T, ConfigProblem> {
        self.find(key).ok_or_else(|| missing(key.info.name))
    }

    /// The parsed value of a key by its table row.
    pub fn parsed(&self, key: &KeyInfo) -> Option<&ParsedValue> {
        self.0.get(key.name).map(|setting| &setting.value)
    }

    /// Whether a source sets the key, rather than its default.
    pub fn is_given(&self, key: &KeyInfo) -> bool {
        self.0.get(key.name).is_some_and(|setting| setting.origin != Origin::Default)
    }

    /// Whether the key has a value.
    pub fn has(&self, key: &KeyInfo) -> bool {
        self.0.contains_key(key.name)
    }

    /// Where the value of a key was set.
    pub fn origin(&self, key: &KeyInfo) -> Origin {
        self.0.get(key.name).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// Takes the values of these keys from another table where this one has none.
    pub fn inherit(&mut self, other: &Self, keys: impl Iterator<Item = &'static KeyInfo>) {
        for key in keys {
            if let Some(setting) = other.0.get(key.name) {
                self.0.entry(key.name).or_insert_with(|| setting.clone());
            }
        }
    }

    /// Replaces the value of a key and keeps its origin.
    pub fn replace(&mut self, key: &KeyInfo, value: ParsedValue) {
        let origin = self.origin(key);
        self.0.insert(key.name, Setting { value, origin });
    }
}

fn missing(key: &str) -> ConfigProblem {
    ConfigProblem {
        origin: Origin::Default,
        key: key.to_owned(),
        value: String::new(),
        message: "required".into(),
    }
}

impl SettingsReader {
    /// Records a problem.
    pub fn report(
        &mut self,
        origin: Origin,
        key: impl Into<String>,
        value: impl ToString,
        message: impl Into<String>,
    ) {
        let (key, message) = (key.into(), message.into());
        self.problems.push(ConfigProblem { origin, key, value: value.to_string(), message });
    }

    /// Records that a key is missing in the table at `origin`.
    pub fn report_missing(&mut self, origin: &Origin, key: impl Into<String>) {
        self.report(origin.clone(), key, "", "required");
    }

    /// Whether a problem of this key is recorded. `prefix` is as in [`Self::read_table`].
    pub fn has_problem(&self, prefix: &str, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key.strip_prefix(prefix) == Some(key))
    }

    /// Parses one table. Messages put `prefix` before the names of its keys.
    pub fn read_table(&mut self, prefix: &str, raw: RawTable, known: &[KeyInfo]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in raw {
            let path = format!("{prefix}{name}");
            match known.iter().find(|key| key.name == name) {
                Some(key) => self.read(&mut settings, &path, key, value),
                None => {
                    let message = unknown_key(&value.origin, &name, known);
                    self.report(value.origin, path, "", message);
                }
            }
        }
        settings
    }

    /// Parses the default of each key that has no value.
    pub fn read_defaults(&mut self, settings: &mut Settings, keys: &'static [KeyInfo]) {
        for key in keys {
            if let DefaultValue::Toml(default) = key.default
                && !settings.has(key)
                && let Some(default) = parse_default(default)
            {
                self.read(settings, key.name, key, default);
            }
        }
    }

    fn read(&mut self, settings: &mut Settings, path: &str, key: &KeyInfo, raw: RawValue) {
        let origin = raw.origin.clone();
        let shown = match key.value_type {
            ValueType::Secret => "(masked)".into(),
            _ => raw.data.to_string(),
        };
        match key.value_type.parse(raw) {
            Ok(value) => {
                settings.0.insert(key.name, Setting { value, origin });
            }
            Err(ValueError::Unexpected) => {
                let message = format!("expected {}", key.value_type.expected());
                self.report(origin, path, shown, message);
            }
            Err(ValueError::Because(reason)) => {
                let message = format!("{reason}; expected {}", key.value_type.expected());
                self.report(origin, path, shown, message);
            }
            Err(ValueError::Inside(inner, message)) => self.report(inner, path, "", message),
        }
    }
}

/// The message for a key that is in no table, with the name that was probably meant.
fn unknown_key(origin: &Origin, name: &str, known: &[KeyInfo]) -> String {
    let names = || known.iter().map(|key| key.name);
    let is_top_level = KEYS.iter().any(|key| key.name == name);
    match (closest(name, names()), origin) {
        _ if is_top_level => "not allowed in this table; set it at the top of the file".into(),
        (Some(meant), Origin::Variable(_)) => {
            format!("unknown key; did you mean {}?", variable_name(meant))
        }
        (Some(meant), _) => format!("unknown key; did you mean {meant:?}?"),
        (None, _) => {
            format!("unknown key; the known keys are {}", names().collect::<Vec<_>>().join(", "))
        }
    }
}
