//! Reads one raw value as its key wants it.

use super::keys::{Kind, MAX_LABELS};
use super::upstream_url::{self, UpstreamUrl};
use crate::metrics::MAX_LABEL;
use crate::metrics::table::{self, BUCKETS};
use config::{Value, ValueKind};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// Most bucket edges of a set.
const MAX_EDGES: usize = 64;

/// A value that was read.
#[derive(Debug, Clone)]
pub(super) enum Read {
    Text(String),
    Address(SocketAddr),
    Upstream(UpstreamUrl),
    Flag(bool),
    Count(u64),
    Seconds(f64),
    Texts(Vec<String>),
    Labels(BTreeMap<String, String>),
    Buckets(HashMap<String, Vec<f64>>),
    /// As they are: each has keys of its own.
    Tables(Vec<Value>),
}

/// Reads one value. An error says more than "not allowed" where there is more to say.
pub(super) fn read(kind: Kind, value: Value) -> Result<Read, Option<String>> {
    if let Kind::Texts = kind {
        return texts(value).map(Read::Texts).ok_or(None);
    }
    if let Kind::Tables = kind {
        return match value.kind {
            ValueKind::Array(list) => Ok(Read::Tables(list)),
            _ => Err(None),
        };
    }
    if let Kind::Labels = kind {
        return labels(value).map(Read::Labels).map_err(Some);
    }
    if let Kind::Buckets = kind {
        return buckets(value).map(Read::Buckets).map_err(Some);
    }
    if let Kind::Flag = kind {
        return flag(value).map(Read::Flag).ok_or(None);
    }
    if matches!(
        value.kind,
        ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil | ValueKind::Boolean(_)
    ) {
        return Err(None);
    }
    let is_text = matches!(value.kind, ValueKind::String(_));
    let text = value.into_string().map_err(|_| None)?;
    if !is_text && !matches!(kind, Kind::Count(..) | Kind::Seconds(..)) {
        return Err(None);
    }
    match kind {
        Kind::Address => text.parse().map(Read::Address).map_err(|_| None),
        Kind::Url => upstream_url::parse(&text).map(Read::Upstream).map_err(Some),
        Kind::Path | Kind::File | Kind::Secret if !text.is_empty() => Ok(Read::Text(text)),
        Kind::UrlPath => {
            let good = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
            good.then_some(Read::Text(text)).ok_or(None)
        }
        Kind::Name => {
            let good = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
            ((1..=64).contains(&text.len()) && text.chars().all(good))
                .then_some(Read::Text(text))
                .ok_or(None)
        }
        Kind::Word(words) => words.contains(&text.as_str()).then_some(Read::Text(text)).ok_or(None),
        Kind::Count(least, most) => {
            text.parse().ok().filter(|n| (least..=most).contains(n)).map(Read::Count).ok_or(None)
        }
        Kind::Seconds(least, most) => {
            text.parse().ok().filter(|s| (least..=most).contains(s)).map(Read::Seconds).ok_or(None)
        }
        _ => Err(None),
    }
}

fn flag(value: Value) -> Option<bool> {
    match value.kind {
        ValueKind::Boolean(flag) => Some(flag),
        // From the environment.
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    match value.kind {
        // From the environment.
        ValueKind::String(text) => Some(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(Into::into)
                .collect(),
        ),
        ValueKind::Array(list) => list
            .into_iter()
            .map(|item| match item.kind {
                ValueKind::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn labels(value: Value) -> Result<BTreeMap<String, String>, String> {
    let ValueKind::Table(table) = value.kind else { return Err("not a table".into()) };
    let mut labels = BTreeMap::new();
    for (name, value) in table {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("{name:?} is no name of a label"));
        }
        let ours = table::ALL.iter().flat_map(|metric| metric.label_names());
        let mut taken = ours.chain(["job", "instance", "le", "server"]);
        if name.is_empty() || name.starts_with("__") || taken.any(|taken| taken == name) {
            return Err(format!("{name:?} is used already"));
        }
        let text = match value.kind {
            ValueKind::String(text) => text,
            ValueKind::I64(_) | ValueKind::Float(_) | ValueKind::Boolean(_) => value.to_string(),
            _ => return Err(format!("{name} is no text")),
        };
        if text.len() > MAX_LABEL {
            return Err(format!("{name} has {} bytes", text.len()));
        }
        labels.insert(name, text);
    }
    if labels.len() > MAX_LABELS {
        return Err(format!("{} labels", labels.len()));
    }
    Ok(labels)
}

fn buckets(value: Value) -> Result<HashMap<String, Vec<f64>>, String> {
    let ValueKind::Table(table) = value.kind else { return Err("not a table".into()) };
    let mut sets = HashMap::new();
    for (name, edges) in table {
        if !BUCKETS.iter().any(|set| set.name == name) {
            let known: Vec<_> = BUCKETS.iter().map(|set| set.name).collect();
            return Err(format!("there is no set {name}; the sets are {}", known.join(", ")));
        }
        let edges = edges.into_array().map_err(|_| format!("{name} is no list"))?;
        let edges: Option<Vec<f64>> = edges
            .into_iter()
            .map(|edge| edge.into_float().ok().filter(|edge| edge.is_finite() && *edge > 0.0))
            .collect();
        match edges {
            Some(edges)
                if (1..=MAX_EDGES).contains(&edges.len()) && edges.is_sorted_by(|a, b| a < b) =>
            {
                sets.insert(name, edges);
            }
            _ => {
                return Err(format!("{name} must hold 1 to {MAX_EDGES} ascending numbers above 0"));
            }
        }
    }
    Ok(sets)
}
