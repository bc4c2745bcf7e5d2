//! Reads one raw value as its key wants it.

use super::keys::Kind;
use super::upstream_url::{self, UpstreamUrl};
use crate::metrics::table::BUCKETS;
use config::{Value, ValueKind};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Most bucket edges of a set.
const MAX_EDGES: usize = 64;

/// A value that was read.
#[derive(Debug, Clone)]
pub(super) enum Read {
    Text(String),
    Address(SocketAddr),
    Upstream(UpstreamUrl),
    Count(u64),
    Seconds(f64),
    Texts(Vec<String>),
    Buckets(HashMap<String, Vec<f64>>),
}

/// Reads one value. An error says more than "not allowed" where there is more to say.
pub(super) fn read(kind: Kind, value: Value) -> Result<Read, Option<String>> {
    if let Kind::Texts = kind {
        return texts(value).map(Read::Texts).ok_or(None);
    }
    if let Kind::Buckets = kind {
        return buckets(value).map(Read::Buckets).map_err(Some);
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
