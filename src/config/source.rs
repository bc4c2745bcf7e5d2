//! The sources of the configuration, and their merge into one table of raw values.
//!
//! `config` merges the sources. The file is parsed here, because `config` does not keep line numbers: each raw value has
//! its origin, so that a message names the flag, the variable, or the file and line to change.

use super::origin::{Origin, PREFIX};
use super::problem::ConfigProblem;
use config::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The environment variable that names the configuration file.
pub const CONFIG_FILE: &str = "STREAMGAUGE_CONFIG";

/// The sources of the configuration. A flag overrides the environment, which overrides the file.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Path of a TOML file.
    pub file: Option<PathBuf>,
    /// Names and values of environment variables. Only those that begin with `STREAMGAUGE__` are read.
    pub environment: Vec<(String, String)>,
    /// Keys and values given as flags.
    pub flags: Vec<(&'static str, String)>,
}

/// A value as its source has it.
#[derive(Debug, Clone)]
pub struct RawValue {
    pub data: RawData,
    pub origin: Origin,
}

/// The data of a raw value. Values from flags and from the environment are text.
#[derive(Debug, Clone)]
pub enum RawData {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A TOML date or time, which no key takes.
    Datetime,
    List(Vec<RawValue>),
    Table(RawTable),
}

impl RawData {
    /// Whether both have the same values, wherever they were set.
    pub(super) fn has_same_values(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(list), Self::List(others)) => {
                let same = |(value, other): (&RawValue, &RawValue)| {
                    value.data.has_same_values(&other.data)
                };
                list.len() == others.len() && list.iter().zip(others).all(same)
            }
            (Self::Table(table), Self::Table(others)) => {
                let same =
                    |((key, value), (other_key, other)): ((_, &RawValue), (_, &RawValue))| {
                        key == other_key && value.data.has_same_values(&other.data)
                    };
                table.len() == others.len() && table.iter().zip(others).all(same)
            }
            // Other values are displayed as they are written.
            _ => self.to_string() == other.to_string(),
        }
    }
}

/// Raw values by key, in alphabetical order.
pub type RawTable = BTreeMap<String, RawValue>;

/// A value as messages quote it.
impl fmt::Display for RawData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Boolean(boolean) => write!(f, "{boolean}"),
            Self::Datetime => f.write_str("(a date or time)"),
            Self::List(_) => f.write_str("[...]"),
            Self::Table(_) => f.write_str("{...}"),
        }
    }
}

impl Sources {
    /// Merges all sources into one table.
    pub(super) fn merge(&self) -> Result<RawTable, ConfigProblem> {
        let mut file = match &self.file {
            Some(path) => read_file(path)?,
            None => RawTable::new(),
        };
        let variables = self.environment.iter().filter_map(|(name, value)| {
            // `STREAMGAUGE__LABELS__GPU` sets the key `gpu` of the table `labels`.
            let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
            let data = RawData::Text(value.clone());
            Some((path, RawValue { data, origin: Origin::Variable(name.clone()) }))
        });
        let flags = self.flags.iter().map(|(key, value)| {
            let data = RawData::Text(value.clone());
            ((*key).to_owned(), RawValue { data, origin: Origin::Flag(key) })
        });
        let mut origins = Origins::default();
        // What `config` would take for a path in a name of the file is a key that is reported as unknown.
        let tables: Vec<(String, Origin)> = file
            .iter()
            .filter(|(_, value)| matches!(value.data, RawData::Table(_)))
            .map(|(key, value)| (key.clone(), value.origin.clone()))
            .collect();
        let dotted: RawTable = file.extract_if(.., |key, _| key.contains(['.', '['])).collect();
        // A later source overrides an earlier one.
        let merged = config::Config::builder()
            .add_source(Layer(origins.encode(file)))
            .add_source(Layer(origins.encode(variables)))
            .add_source(Layer(origins.encode(flags)));
        let merged = merged.build().and_then(|merged| merged.collect()).map_err(|error| {
            let (origin, value) = (Origin::Default, String::new());
            ConfigProblem { origin, key: "config".into(), value, message: error.to_string() }
        })?;
        let mut table = origins.decode(merged);
        // `config` merges tables value by value, without the origin of the table.
        for (key, origin) in tables {
            if let Some(value) = table.get_mut(&key)
                && matches!(value.data, RawData::Table(_))
            {
                value.origin = origin;
            }
        }
        table.extend(dotted);
        Ok(table)
    }
}

/// One source, as `config` merges it.
#[derive(Debug, Clone)]
struct Layer(config::Map<String, config::Value>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// The origins of all values. `config` keeps a text as the origin of a value: here, the index in this list.
#[derive(Debug, Default)]
struct Origins(Vec<Origin>);

impl Origins {
    fn encode(
        &mut self,
        values: impl IntoIterator<Item = (String, RawValue)>,
    ) -> config::Map<String, config::Value> {
        values.into_iter().map(|(key, value)| (key, self.encode_value(value))).collect()
    }

    fn encode_value(&mut self, value: RawValue) -> config::Value {
        let index = self.0.len().to_string();
        self.0.push(value.origin);
        let kind = match value.data {
            RawData::Text(text) => text.into(),
            RawData::Integer(number) => number.into(),
            RawData::Float(number) => number.into(),
            RawData::Boolean(boolean) => boolean.into(),
            RawData::Datetime => config::ValueKind::Nil,
            RawData::List(list) => {
                let list = list.into_iter().map(|value| self.encode_value(value));
                config::ValueKind::Array(list.collect())
            }
            RawData::Table(table) => config::ValueKind::Table(self.encode(table)),
        };
        config::Value::new(Some(&index), kind)
    }

    fn decode(&self, values: config::Map<String, config::Value>) -> RawTable {
        values.into_iter().map(|(key, value)| (key, self.decode_value(value))).collect()
    }

    fn decode_value(&self, value: config::Value) -> RawValue {
        let index = value.origin().and_then(|index| index.parse::<usize>().ok());
        let origin = index.and_then(|index| self.0.get(index)).cloned();
        let data = match value.kind {
            config::ValueKind::Nil => RawData::Datetime,
            config::ValueKind::Boolean(boolean) => RawData::Boolean(boolean),
            config::ValueKind::I64(number) => RawData::Integer(number),
            config::ValueKind::Float(number) => RawData::Float(number),
            config::ValueKind::String(text) => RawData::Text(text),
            config::ValueKind::Array(list) => {
                RawData::List(list.into_iter().map(|value| self.decode_value(value)).collect())
            }
            config::ValueKind::Table(table) => RawData::Table(self.decode(table)),
            // No layer has these.
            other => RawData::Text(other.to_string()),
        };
        // A table of several variables has the origin of its first value.
        let first = match &data {
            RawData::Table(table) => table.values().next().map(|value| value.origin.clone()),
            _ => None,
        };
        RawValue { data, origin: origin.or(first).unwrap_or(Origin::Default) }
    }
}

fn read_file(path: &Path) -> Result<RawTable, ConfigProblem> {
    let problem = |message: String| {
        let value = path.display().to_string();
        ConfigProblem { origin: Origin::Default, key: "config".into(), value, message }
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        problem(format!(
            "cannot read the file ({error}); check the path in --config or {CONFIG_FILE}"
        ))
    })?;
    let table =
        DeTable::parse(&text).map_err(|error| problem(error.to_string().trim_end().to_owned()))?;
    let file = TomlFile { path: path.into(), text: &text };
    Ok(file.table(table.into_inner()))
}

/// A TOML file, for the line numbers of its values.
struct TomlFile<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl TomlFile<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { file: Arc::clone(&self.path), line }
    }

    fn table(&self, table: DeTable<'_>) -> RawTable {
        let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let data = self.data(value.into_inner());
            let origin = self.origin(key.span().start);
            (std::borrow::Cow::into_owned(key.into_inner()), RawValue { data, origin })
        };
        table.into_iter().map(entry).collect()
    }

    fn data(&self, value: DeValue<'_>) -> RawData {
        match value {
            DeValue::String(text) => RawData::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => RawData::Integer(number),
                    // Beyond 64 bits: too large for every key, whose bounds the message states.
                    Err(_) => RawData::Text(number.to_string()),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => RawData::Float(number),
                Err(_) => RawData::Text(number.to_string()),
            },
            DeValue::Boolean(boolean) => RawData::Boolean(boolean),
            DeValue::Datetime(_) => RawData::Datetime,
            DeValue::Array(list) => {
                let item = |item: Spanned<DeValue<'_>>| {
                    let origin = self.origin(item.span().start);
                    RawValue { data: self.data(item.into_inner()), origin }
                };
                RawData::List(list.into_iter().map(item).collect())
            }
            DeValue::Table(table) => RawData::Table(self.table(table)),
        }
    }
}

/// The raw value of a default in TOML syntax; `None` if it does not parse, which a test excludes.
pub(super) fn parse_default(text: &str) -> Option<RawValue> {
    let value = DeValue::parse(text).ok()?;
    let file = TomlFile { path: Path::new("").into(), text };
    let mut value = RawValue { data: file.data(value.into_inner()), origin: Origin::Default };
    reset_origins(&mut value);
    Some(value)
}

/// Marks a value and all values inside it as defaults.
fn reset_origins(value: &mut RawValue) {
    value.origin = Origin::Default;
    match &mut value.data {
        RawData::List(list) => list.iter_mut().for_each(reset_origins),
        RawData::Table(table) => table.values_mut().for_each(reset_origins),
        _ => {}
    }
}
