//! The types that a key's value can have, and the parser of each.

use super::origin::Origin;
use super::source::{RawData, RawTable, RawValue};
use super::upstream_url::{self, UpstreamUrl};
use crate::control_characters::is_unsafe;
use crate::metrics::MAX_LABEL;
use crate::metrics::table::{self, BUCKETS};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use tokio_rustls::rustls;

/// Maximum number of constant labels, over all upstreams.
pub const MAX_LABELS: usize = 8;
/// Maximum number of bucket edges in a set.
const MAX_EDGES: usize = 64;
/// Maximum length of a name that becomes a label value.
const MAX_NAME: usize = 64;

/// The type of a key's value, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueType {
    /// `IP:PORT`.
    Address,
    /// `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`.
    Url,
    /// Path of a file to write, or `-` for standard output.
    OutputPath,
    /// Path of a file to read.
    InputPath,
    /// The path of a URL, such as `/health`.
    UrlPath,
    /// A name that becomes a label value: letters, digits, `.`, `_`, `-`, `:` and `/`.
    Name,
    /// A name or IP address as in a certificate.
    ServerName,
    /// Text that is never printed.
    Secret,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// Seconds within these bounds.
    Seconds(f64, f64),
    /// A list of strings; in the environment, separated by commas.
    List,
    /// A JSON pointer to a place in an event, or a list of them.
    Places,
    /// A table of constant labels: names and values.
    Labels,
    /// A table of bucket edges, by the name of their set.
    Buckets,
    /// A list of tables, each with keys of its own.
    Tables,
}

/// A value of the type that its key asks for.
#[derive(Debug, Clone)]
pub(super) enum ParsedValue {
    Text(String),
    Secret(String),
    Address(SocketAddr),
    Upstream(UpstreamUrl),
    Boolean(bool),
    Count(u64),
    Seconds(f64),
    List(Vec<String>),
    Labels(BTreeMap<String, String>),
    Buckets(HashMap<String, Vec<f64>>),
    /// Tables whose keys are read separately.
    Tables(Vec<RawValue>),
}

/// Why a raw value cannot be parsed.
#[derive(Debug)]
pub(super) enum ValueError {
    /// It does not have the type of the key.
    Unexpected,
    /// It has the type, but breaks this rule.
    Because(String),
    /// A value inside it is wrong; the message is complete.
    Inside(Origin, String),
}

impl ValueType {
    /// What is allowed, as messages state it.
    pub fn expected(self) -> String {
        match self {
            Self::Address => {
                "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into()
            }
            Self::Url => "http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH".into(),
            Self::OutputPath => "the path of a file, or - for standard output".into(),
            Self::InputPath => "the path of a file".into(),
            Self::UrlPath => "a path of printable ASCII characters, such as /health".into(),
            Self::Name => format!("1 to {MAX_NAME} letters, digits, or any of . _ - : /"),
            Self::ServerName => "a host name or an IP address".into(),
            Self::Secret => "a text that is not empty".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Boolean => "true or false".into(),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Seconds(least, most) => format!("seconds, from {least} to {most}"),
            Self::List => "a list of strings".into(),
            Self::Places => "a JSON pointer, such as /choices/0/text, or a list of them".into(),
            Self::Tables => "a list of tables".into(),
            Self::Labels => format!("a table of at most {MAX_LABELS} labels"),
            Self::Buckets => "a table of bucket edges, by the name of their set".into(),
        }
    }

    /// Parses a raw value of this type.
    pub(super) fn parse(self, raw: RawValue) -> Result<ParsedValue, ValueError> {
        match (self, raw.data) {
            (Self::List, data) => list(data).map(ParsedValue::List),
            (Self::Places, RawData::Text(text)) => Ok(ParsedValue::List(vec![text])),
            (Self::Places, data) => list(data).map(ParsedValue::List),
            (Self::Tables, RawData::List(list)) => Ok(ParsedValue::Tables(list)),
            (Self::Labels, RawData::Table(table)) => labels(table).map(ParsedValue::Labels),
            (Self::Buckets, RawData::Table(table)) => buckets(table).map(ParsedValue::Buckets),
            (Self::Boolean, RawData::Boolean(boolean)) => Ok(ParsedValue::Boolean(boolean)),
            (Self::Count(..) | Self::Seconds(..), RawData::Integer(number)) => {
                self.parse_text(number.to_string())
            }
            (Self::Count(..) | Self::Seconds(..), RawData::Float(number)) => {
                self.parse_text(number.to_string())
            }
            (_, RawData::Text(text)) => self.parse_text(text),
            _ => Err(ValueError::Unexpected),
        }
    }

    fn parse_text(self, text: String) -> Result<ParsedValue, ValueError> {
        let is_label = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
        let parsed = match self {
            Self::Url => {
                return upstream_url::parse(&text)
                    .map(ParsedValue::Upstream)
                    .map_err(ValueError::Because);
            }
            Self::Address => text.parse().ok().map(ParsedValue::Address),
            Self::Boolean => text.parse().ok().map(ParsedValue::Boolean),
            Self::ServerName => {
                let is_name = rustls::pki_types::ServerName::try_from(text.as_str()).is_ok();
                is_name.then_some(ParsedValue::Text(text))
            }
            Self::Secret => (!text.is_empty()).then_some(ParsedValue::Secret(text)),
            Self::OutputPath | Self::InputPath => {
                (!text.is_empty()).then_some(ParsedValue::Text(text))
            }
            Self::UrlPath => {
                let is_path =
                    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
                is_path.then_some(ParsedValue::Text(text))
            }
            Self::Name => {
                let is_name = (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_label);
                is_name.then_some(ParsedValue::Text(text))
            }
            Self::Word(words) => words.contains(&text.as_str()).then_some(ParsedValue::Text(text)),
            Self::Count(least, most) => text
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(ParsedValue::Count),
            Self::Seconds(least, most) => text
                .parse()
                .ok()
                .filter(|seconds| (least..=most).contains(seconds))
                .map(ParsedValue::Seconds),
            Self::List | Self::Places | Self::Tables | Self::Labels | Self::Buckets => None,
        };
        parsed.ok_or(ValueError::Unexpected)
    }
}

impl ParsedValue {
    /// The value as `/config` shows it.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => json!(text),
            Self::Secret(_) => json!("(masked)"),
            Self::Address(address) => json!(address.to_string()),
            Self::Upstream(url) => json!(url.to_string()),
            Self::Boolean(boolean) => json!(boolean),
            Self::Count(count) => json!(count),
            Self::Seconds(seconds) => json!(seconds),
            Self::List(texts) => json!(texts),
            Self::Labels(labels) => json!(labels),
            Self::Buckets(sets) => json!(sets),
            // A list of tables is shown as it was understood: see `effective.rs`.
            Self::Tables(_) => Json::Null,
        }
    }
}

/// A TOML array of strings, or a text with commas from a flag or a variable.
fn list(data: RawData) -> Result<Vec<String>, ValueError> {
    match data {
        RawData::Text(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(Into::into).collect())
        }
        RawData::List(list) => {
            let text = |item: RawValue| match item.data {
                RawData::Text(text) => Ok(text),
                _ => Err(ValueError::Unexpected),
            };
            list.into_iter().map(text).collect()
        }
        _ => Err(ValueError::Unexpected),
    }
}

fn labels(table: RawTable) -> Result<BTreeMap<String, String>, ValueError> {
    let mut labels = BTreeMap::new();
    for (name, RawValue { data, origin }) in table {
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_reserved = || {
            let mut own = table::ALL.iter().flat_map(|metric| metric.label_names());
            name.starts_with("__")
                || ["job", "instance", "le", "server"].contains(&name.as_str())
                || own.any(|label| label == name)
        };
        let error = |message: String| Err(ValueError::Inside(origin.clone(), message));
        if name.is_empty()
            || !name.chars().all(is_label)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return error(format!(
                "{name:?} is not a label name; use letters, digits and _, and no digit at the beginning"
            ));
        }
        if is_reserved() {
            let why = "is a label that Prometheus or Streamgauge sets itself; choose another name";
            return error(format!("{name:?} {why}"));
        }
        let text = match data {
            RawData::Text(text) => text,
            RawData::Integer(_) | RawData::Float(_) | RawData::Boolean(_) => data.to_string(),
            _ => return error(format!("the value of {name:?} is not a text; write it in quotes")),
        };
        if text.len() > MAX_LABEL {
            return error(format!(
                "the value of {name:?} has {} bytes; at most {MAX_LABEL} are allowed",
                text.len()
            ));
        }
        if text.contains(is_unsafe) {
            return error(format!(
                "the value of {name:?} has a control character or an invisible one: {text:?}"
            ));
        }
        labels.insert(name, text);
    }
    if labels.len() > MAX_LABELS {
        return Err(ValueError::Because(format!("the table has {} labels", labels.len())));
    }
    Ok(labels)
}

fn buckets(table: RawTable) -> Result<HashMap<String, Vec<f64>>, ValueError> {
    let mut sets = HashMap::new();
    for (name, RawValue { data, origin }) in table {
        let error = |message: String| Err(ValueError::Inside(origin.clone(), message));
        if !BUCKETS.iter().any(|set| set.name == name) {
            let known: Vec<_> = BUCKETS.iter().map(|set| set.name).collect();
            return error(format!(
                "{name:?} is not a set of bucket edges; the sets are {}",
                known.join(", ")
            ));
        }
        let edges: Option<Vec<f64>> = match data {
            RawData::List(list) => list.into_iter().map(edge).collect(),
            _ => None,
        };
        match edges {
            Some(edges)
                if (1..=MAX_EDGES).contains(&edges.len()) && edges.is_sorted_by(|a, b| a < b) =>
            {
                sets.insert(name, edges);
            }
            _ => {
                return error(format!(
                    "{name} must be a list of 1 to {MAX_EDGES} numbers above 0, in ascending order"
                ));
            }
        }
    }
    Ok(sets)
}

fn edge(raw: RawValue) -> Option<f64> {
    let edge = match raw.data {
        RawData::Integer(number) => number as f64,
        RawData::Float(number) => number,
        RawData::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    (edge.is_finite() && edge > 0.0).then_some(edge)
}
