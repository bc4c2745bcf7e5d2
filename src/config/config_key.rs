//! The type of a configuration key, and a constructor for each type of value.

use super::source::RawValue;
use super::upstream_url::UpstreamUrl;
use super::value::{ParsedValue, ValueType};
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use strum::VariantNames;
use tokio_rustls::rustls::pki_types::ServerName;

/// One configuration key, whose value in the program has the type `T`.
#[derive(Debug)]
pub struct ConfigKey<T> {
    /// What the table says about the key.
    pub info: KeyInfo,
    pub(super) convert: fn(&ParsedValue) -> Option<T>,
    value: PhantomData<fn() -> T>,
}

/// What the table says about a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyInfo {
    /// Name of the key.
    pub name: &'static str,
    /// Type of the value, with its bounds.
    pub value_type: ValueType,
    /// Value if no source sets the key.
    pub default: DefaultValue,
    /// Each `[[proxies]]` table can set it.
    pub per_proxy: bool,
    /// Whether a reload can change it.
    pub reload: KeyReload,
    /// The placeholder of the value in `--help`, if the key has a flag.
    pub flag: Option<&'static str>,
    /// What the key sets, in one sentence.
    pub help: &'static str,
}

/// The value of a key that no source sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// There is none.
    None,
    /// This value, in TOML syntax.
    Toml(&'static str),
    /// A value that the program computes; this is how `--help` describes it.
    Computed(&'static str),
}

/// Whether a reload can change the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyReload {
    /// Yes: for new connections and requests, or at once.
    Applied,
    /// No: a restart is necessary, for this reason.
    Refused(&'static str),
}

impl<T> ConfigKey<T> {
    const fn new(
        name: &'static str,
        value_type: ValueType,
        convert: fn(&ParsedValue) -> Option<T>,
    ) -> Self {
        let info = KeyInfo {
            name,
            value_type,
            default: DefaultValue::None,
            per_proxy: false,
            reload: KeyReload::Refused("it is read only at the start"),
            flag: None,
            help: "",
        };
        Self { info, convert, value: PhantomData }
    }

    pub(super) const fn default(mut self, toml: &'static str) -> Self {
        self.info.default = DefaultValue::Toml(toml);
        self
    }

    pub(super) const fn computed(mut self, description: &'static str) -> Self {
        self.info.default = DefaultValue::Computed(description);
        self
    }

    pub(super) const fn per_proxy(mut self) -> Self {
        self.info.per_proxy = true;
        self
    }

    /// A reload applies a new value.
    pub(super) const fn live(mut self) -> Self {
        self.info.reload = KeyReload::Applied;
        self
    }

    /// A reload cannot change the key, for this reason.
    pub(super) const fn fixed(mut self, reason: &'static str) -> Self {
        self.info.reload = KeyReload::Refused(reason);
        self
    }

    pub(super) const fn flag(mut self, placeholder: &'static str) -> Self {
        self.info.flag = Some(placeholder);
        self
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.info.help = help.trim_ascii();
        self
    }
}

// One constructor for each type of value. It pairs the type that the parser checks with the type that the
// program gets, so the two cannot differ.

pub(super) const fn address(name: &'static str) -> ConfigKey<SocketAddr> {
    ConfigKey::new(name, ValueType::Address, |value| match value {
        ParsedValue::Address(address) => Some(*address),
        _ => None,
    })
}

pub(super) const fn url(name: &'static str) -> ConfigKey<UpstreamUrl> {
    ConfigKey::new(name, ValueType::Url, |value| match value {
        ParsedValue::Upstream(url) => Some(url.clone()),
        _ => None,
    })
}

pub(super) const fn input_path(name: &'static str) -> ConfigKey<PathBuf> {
    ConfigKey::new(name, ValueType::InputPath, path_of)
}

pub(super) const fn output_path(name: &'static str) -> ConfigKey<PathBuf> {
    ConfigKey::new(name, ValueType::OutputPath, path_of)
}

fn path_of(value: &ParsedValue) -> Option<PathBuf> {
    text_of(value).map(PathBuf::from)
}

pub(super) const fn url_path(name: &'static str) -> ConfigKey<String> {
    ConfigKey::new(name, ValueType::UrlPath, text_of)
}

pub(super) const fn label(name: &'static str) -> ConfigKey<String> {
    ConfigKey::new(name, ValueType::Name, text_of)
}

pub(super) const fn server_name(name: &'static str) -> ConfigKey<ServerName<'static>> {
    ConfigKey::new(name, ValueType::ServerName, |value| match value {
        ParsedValue::Text(text) => ServerName::try_from(text.clone()).ok(),
        _ => None,
    })
}

pub(super) const fn secret(name: &'static str) -> ConfigKey<String> {
    ConfigKey::new(name, ValueType::Secret, text_of)
}

fn text_of(value: &ParsedValue) -> Option<String> {
    match value {
        ParsedValue::Text(text) | ParsedValue::Secret(text) => Some(text.clone()),
        _ => None,
    }
}

pub(super) const fn word<T: FromStr + VariantNames>(name: &'static str) -> ConfigKey<T> {
    ConfigKey::new(name, ValueType::Word(T::VARIANTS), |value| match value {
        ParsedValue::Text(text) => text.parse().ok(),
        _ => None,
    })
}

pub(super) const fn boolean(name: &'static str) -> ConfigKey<bool> {
    ConfigKey::new(name, ValueType::Boolean, |value| match value {
        ParsedValue::Boolean(boolean) => Some(*boolean),
        _ => None,
    })
}

pub(super) const fn count(name: &'static str, least: u64, most: u64) -> ConfigKey<usize> {
    ConfigKey::new(name, ValueType::Count(least, most), |value| match value {
        ParsedValue::Count(count) => usize::try_from(*count).ok(),
        _ => None,
    })
}

pub(super) const fn seconds(name: &'static str, least: f64, most: f64) -> ConfigKey<Duration> {
    ConfigKey::new(name, ValueType::Seconds(least, most), |value| match value {
        ParsedValue::Seconds(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        _ => None,
    })
}

/// A limit of a service-level objective, at most a day.
pub(super) const fn limit(name: &'static str) -> ConfigKey<f64> {
    ConfigKey::new(name, ValueType::Seconds(0.000_001, 86400.0), |value| match value {
        ParsedValue::Seconds(seconds) => Some(*seconds),
        _ => None,
    })
}

pub(super) const fn list(name: &'static str) -> ConfigKey<Vec<String>> {
    ConfigKey::new(name, ValueType::List, |value| match value {
        ParsedValue::List(list) => Some(list.clone()),
        _ => None,
    })
}

/// JSON pointers to the places of a value in an event.
pub(super) const fn places(name: &'static str) -> ConfigKey<Vec<String>> {
    ConfigKey::new(name, ValueType::Places, |value| match value {
        ParsedValue::List(list) => Some(list.clone()),
        _ => None,
    })
}

pub(super) const fn labels(name: &'static str) -> ConfigKey<BTreeMap<String, String>> {
    ConfigKey::new(name, ValueType::Labels, |value| match value {
        ParsedValue::Labels(labels) => Some(labels.clone()),
        _ => None,
    })
}

pub(super) const fn buckets(name: &'static str) -> ConfigKey<HashMap<String, Vec<f64>>> {
    ConfigKey::new(name, ValueType::Buckets, |value| match value {
        ParsedValue::Buckets(sets) => Some(sets.clone()),
        _ => None,
    })
}

pub(super) const fn tables(name: &'static str) -> ConfigKey<Vec<RawValue>> {
    ConfigKey::new(name, ValueType::Tables, |value| match value {
        ParsedValue::Tables(tables) => Some(tables.clone()),
        _ => None,
    })
}
