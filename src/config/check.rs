//! Reads the merged raw table against the table of keys; tells everything that is wrong with it.

use super::keys::{KEYS, Key, Kind, MAX_LABELS, NAME};
use super::load::default_value;
use super::shown::shown;
use super::value::{Read, read};
use super::{Config, LogFormat, ProxyConfig};
use crate::metrics::MetricsConfig;
use crate::proxy::{Http2Mode, TlsFiles, UpstreamAddress, UpstreamConfig};
use crate::tap::TapConfig;
use config::{Map, Value, ValueKind};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use streamgauge_core::meter::SloClasses;
use streamgauge_core::meter::cold::ColdStartConfig;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    /// As it was given; masked for secrets.
    pub value: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl Problem {
    pub(super) fn of(key: &str, value: &str, why: &str) -> Self {
        Self { key: key.into(), value: value.into(), why: why.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, why } = self;
        if value.is_empty() {
            write!(f, "{key}: {why}")
        } else {
            write!(f, "{key} = {value}: {why}")
        }
    }
}

/// Where values are read from, and where what is wrong with them goes.
pub(super) struct Reader {
    pub problems: Vec<Problem>,
}

/// The values of one table, by key.
pub(super) type Values = HashMap<&'static str, Read>;

pub(super) fn check(mut raw: Map<String, Value>) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { problems: Vec::new() };
    let proxies = raw.remove("proxies");
    let mut values = reader.table("", raw, &KEYS.iter().collect::<Vec<_>>());
    let given: Vec<&'static str> = values.keys().copied().collect();
    for key in KEYS {
        if !values.contains_key(key.name)
            && let Some(default) = default_value(key)
            && let Some(read) = reader.read(key.name, key, default)
        {
            values.insert(key.name, read);
        }
    }
    let mut proxies = match proxies {
        Some(list) => reader.proxies(list, &values, &given),
        None => reader.single(&values),
    };
    let slo = reader.slo(&values, &proxies);
    proxies.iter_mut().for_each(|proxy| proxy.tap.slo.clone_from(&slo));
    reader.check_listeners(&proxies, &values);
    let constant_labels = reader.label_names(&proxies);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let shown = shown(&values, &proxies, &slo);
    let text = |name: &str| match values.get(name) {
        Some(Read::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let workers = match values.get("workers") {
        Some(Read::Count(workers)) => usize::try_from(*workers).unwrap_or(usize::MAX),
        _ => default_workers(),
    };
    Ok(Config {
        proxies,
        admin: address(&values, "admin").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9464))),
        admin_token: text("admin_token"),
        request_log: text("request_log").map(Into::into),
        workers,
        log_level: text("log_level")
            .and_then(|level| level.parse().ok())
            .unwrap_or(tracing::Level::INFO),
        log_format: if text("log_format").as_deref() == Some("json") {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        metrics: MetricsConfig {
            max_models: match values.get("max_models") {
                Some(Read::Count(count)) => usize::try_from(*count).unwrap_or(usize::MAX),
                _ => 0,
            },
            models: match values.remove("models") {
                Some(Read::Texts(models)) => models,
                _ => Vec::new(),
            },
            buckets: match values.remove("buckets") {
                Some(Read::Buckets(buckets)) => buckets,
                _ => HashMap::new(),
            },
            slo,
            ttft_by_input_size: matches!(values.get("ttft_by_input_size"), Some(Read::Flag(true))),
            constant_labels,
        },
        shutdown_grace: seconds(&values, "shutdown_grace_seconds"),
        shown,
    })
}

/// The CPU quota, at least 1, at most 2: a sidecar must not take the server's cores.
pub(super) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 2)
}

fn seconds(values: &Values, name: &str) -> Duration {
    match values.get(name) {
        Some(Read::Seconds(seconds)) => Duration::from_secs_f64(*seconds),
        _ => Duration::ZERO,
    }
}

fn address(values: &Values, name: &str) -> Option<SocketAddr> {
    match values.get(name) {
        Some(Read::Address(address)) => Some(*address),
        _ => None,
    }
}

fn labels(values: &Values) -> BTreeMap<String, String> {
    match values.get("labels") {
        Some(Read::Labels(labels)) => labels.clone(),
        _ => BTreeMap::new(),
    }
}

fn proxy(name: Option<String>, values: &Values) -> Option<ProxyConfig> {
    let Some(Read::Upstream(url)) = values.get("upstream") else { return None };
    let is =
        |key: &str, word: &str| matches!(values.get(key), Some(Read::Text(text)) if text == word);
    let text = |key: &str| match values.get(key) {
        Some(Read::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let file = |key: &str| text(key).map(PathBuf::from);
    let http2 =
        [Http2Mode::Always, Http2Mode::Never].into_iter().find(|mode| is("http2", mode.as_str()));
    let upstream = UpstreamConfig {
        address: url.address.clone(),
        tls: url.tls,
        ca_file: file("ca_file"),
        http2: http2.unwrap_or_default(),
        rewrite_host: is("host", "upstream"),
        kernel_stamps: is("clock", "kernel"),
        connect_timeout: seconds(values, "connect_timeout_seconds"),
        idle_timeout: seconds(values, "pool_idle_timeout_seconds"),
        health_path: text("health_path"),
        metrics_path: text("server_metrics_path"),
    };
    let engine = match values.get("engine") {
        Some(Read::Text(engine)) => engine.clone(),
        _ => "unknown".into(),
    };
    let cold = ColdStartConfig {
        idle: seconds(values, "cold_idle_seconds"),
        outage: seconds(values, "outage_seconds"),
        has_health: upstream.health_path.is_some(),
        has_metrics_page: upstream.metrics_path.is_some(),
    };
    Some(ProxyConfig {
        tap: TapConfig {
            name: name.unwrap_or_else(|| upstream.address.to_string()),
            engine,
            trust_request_start: matches!(
                values.get("trust_request_start"),
                Some(Read::Flag(true))
            ),
            slo: SloClasses::default(),
            stall: seconds(values, "stall_seconds"),
            cold,
            labels: labels(values),
        },
        listen: address(values, "listen")?,
        tls: file("tls_cert").zip(file("tls_key")).map(|(cert, key)| TlsFiles { cert, key }),
        upstream,
    })
}

impl Reader {
    pub fn problem(&mut self, key: &str, value: &str, why: impl Into<String>) {
        self.problems.push(Problem { key: key.into(), value: value.into(), why: why.into() });
    }

    /// Reads the keys of one table; `at` is what stands before their names in messages.
    pub fn table(&mut self, at: &str, raw: Map<String, Value>, known: &[&'static Key]) -> Values {
        let mut values = Values::new();
        let mut names: Vec<_> = raw.into_iter().collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in names {
            let path = format!("{at}{name}");
            match known.iter().find(|key| key.name == name) {
                Some(key) => {
                    if let Some(read) = self.read(&path, key, value) {
                        values.insert(key.name, read);
                    }
                }
                None => {
                    let known: Vec<_> = known.iter().map(|key| key.name).collect();
                    self.problem(
                        &path,
                        "",
                        format!("unknown key; the known ones are {}", known.join(", ")),
                    );
                }
            }
        }
        values
    }

    fn read(&mut self, path: &str, key: &Key, value: Value) -> Option<Read> {
        let shown = if key.kind == Kind::Secret { "(masked)".into() } else { show(&value) };
        match read(key.kind, value) {
            Ok(read) => Some(read),
            Err(why) => {
                let why = why.unwrap_or_else(|| "not allowed".into());
                self.problem(path, &shown, format!("{why}; allowed: {}", key.kind.allowed()));
                None
            }
        }
    }

    fn single(&mut self, values: &Values) -> Vec<ProxyConfig> {
        if !values.contains_key("upstream") && !self.problems.iter().any(|p| p.key == "upstream") {
            let why = "required: the inference server's URL, such as --upstream http://127.0.0.1:8000, \
                       or [[proxies]] in the file";
            self.problem("upstream", "", why);
        }
        self.check_tls("", values);
        proxy(None, values).into_iter().collect()
    }

    fn proxies(&mut self, list: Value, defaults: &Values, given: &[&str]) -> Vec<ProxyConfig> {
        for name in ["listen", "upstream"].iter().filter(|name| given.contains(name)) {
            self.problem(name, "", "excludes [[proxies]]: give each proxy its own");
        }
        let ValueKind::Array(list) = list.kind else {
            self.problem("proxies", "", "must be [[proxies]] tables in the file");
            return Vec::new();
        };
        if list.is_empty() {
            self.problem("proxies", "[]", "must hold at least one proxy");
        }
        let mut known: Vec<&'static Key> = KEYS.iter().filter(|key| key.per_proxy).collect();
        known.insert(0, &NAME);
        let mut proxies = Vec::new();
        for (index, item) in list.into_iter().enumerate() {
            let at = format!("proxies[{index}].");
            let ValueKind::Table(table) = item.kind else {
                self.problem(&at, "", "must be a table");
                continue;
            };
            let missing: Vec<_> = ["name", "listen", "upstream"]
                .into_iter()
                .filter(|name| !table.contains_key(*name))
                .collect();
            for name in missing {
                self.problem(&format!("{at}{name}"), "", "required");
            }
            let mut values = self.table(&at, table, &known);
            for key in
                known.iter().filter(|key| !["name", "listen", "upstream"].contains(&key.name))
            {
                if let Some(default) = defaults.get(key.name) {
                    values.entry(key.name).or_insert_with(|| default.clone());
                }
            }
            // Each label has a default of its own.
            let own = labels(&values);
            let all = labels(defaults).into_iter().chain(own).collect();
            values.insert("labels", Read::Labels(all));
            self.check_tls(&at, &values);
            let name = match values.get("name") {
                Some(Read::Text(name)) => Some(name.clone()),
                _ => None,
            };
            proxies.extend(proxy(name, &values));
        }
        let mut names = HashSet::new();
        for proxy in &proxies {
            if !names.insert(proxy.tap.name.clone()) {
                self.problem(
                    "proxies[].name",
                    &proxy.tap.name,
                    "two proxies have this name; each needs its own",
                );
            }
        }
        proxies
    }

    /// A certificate is of no use without its key.
    fn check_tls(&mut self, at: &str, values: &Values) {
        for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
            if values.contains_key(one) && !values.contains_key(other) {
                self.problem(&format!("{at}{other}"), "", format!("required beside {one}"));
            }
        }
    }

    /// The names of the constant labels of all proxies, which share a family.
    fn label_names(&mut self, proxies: &[ProxyConfig]) -> Vec<String> {
        let names: BTreeSet<&String> =
            proxies.iter().flat_map(|proxy| proxy.tap.labels.keys()).collect();
        if names.len() > MAX_LABELS {
            let why = format!("{} names; allowed: at most {MAX_LABELS} in all", names.len());
            self.problem("proxies[].labels", "", why);
        }
        names.into_iter().cloned().collect()
    }

    fn check_listeners(&mut self, proxies: &[ProxyConfig], values: &Values) {
        let mut taken: HashMap<SocketAddr, &str> = HashMap::new();
        if let Some(admin) = address(values, "admin") {
            taken.insert(admin, "admin");
        }
        for proxy in proxies {
            let listen = proxy.listen;
            if listen.port() != 0
                && let Some(by) = taken.insert(listen, "another proxy")
            {
                self.problem(
                    "listen",
                    &listen.to_string(),
                    format!("the address is {by}'s already"),
                );
            }
            if let Some(own) = proxies.iter().find(|own| is_loop(own.listen, &proxy.upstream)) {
                let url = proxy.upstream.url();
                let why = format!("a loop: {} is where Streamgauge itself listens", own.listen);
                self.problem("upstream", &url, why);
            }
        }
    }
}

/// Whether this upstream is our own listener.
fn is_loop(listen: SocketAddr, upstream: &UpstreamConfig) -> bool {
    let UpstreamAddress::Tcp { host, port } = &upstream.address else { return false };
    if listen.port() == 0 || listen.port() != *port {
        return false;
    }
    let local = |ip: std::net::IpAddr| ip.is_loopback() || ip.is_unspecified();
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == listen.ip() || local(ip) && local(listen.ip()),
        Err(_) => host == "localhost" && local(listen.ip()),
    }
}

fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "{...}".into(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for key in KEYS {
            if let Some(default) = default_value(key) {
                assert!(read(key.kind, default).is_ok(), "{}", key.name);
            } else {
                assert_eq!(key.default, None, "{}", key.name);
            }
        }
    }

    #[test]
    fn loops() {
        let upstream = |host: &str| UpstreamConfig {
            address: UpstreamAddress::Tcp { host: host.into(), port: 8080 },
            tls: false,
            ca_file: None,
            http2: Http2Mode::Auto,
            rewrite_host: false,
            kernel_stamps: true,
            connect_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            health_path: None,
            metrics_path: None,
        };
        let listen: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        for (host, expected) in [
            ("127.0.0.1", true),
            ("localhost", true),
            ("::1", true),
            ("10.0.0.9", false),
            ("vllm", false),
        ] {
            assert_eq!(is_loop(listen, &upstream(host)), expected, "{host}");
        }
        assert!(!is_loop("127.0.0.1:8081".parse().unwrap(), &upstream("127.0.0.1")));
    }
}
