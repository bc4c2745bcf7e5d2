//! Checks the merged raw table against the table of keys, and collects everything that is wrong with it.

use super::api::{self, CheckedApi, ConfiguredApi};
use super::keys::{
    ADMIN, ADMIN_WEB_CONFIG, API, ENGINE, KEYS, KeyInfo, LABELS, LISTEN, NAME, SLO, TLS_CERT,
    TLS_CLIENT_CA, TLS_KEY, UPSTREAM, UPSTREAM_TLS_CERT, UPSTREAM_TLS_KEY,
};
use super::origin::Origin;
use super::problem::{ConfigError, closest};
use super::settings::{Settings, SettingsReader};
use super::slo;
use super::source::{RawData, RawTable, RawValue};
use super::value::{MAX_LABELS, ParsedValue};
use crate::proxy::UpstreamAddress;
use crate::tap::{AUTO, UNKNOWN};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use streamgauge_core::dialect::engine::Engine;
use streamgauge_core::meter::SloClasses;
use strum::VariantArray;

/// Settings without a problem.
#[derive(Debug)]
pub(super) struct CheckedSettings {
    /// The keys of the top level, with their defaults.
    pub top: Settings,
    /// The settings of each proxy, with those that it inherits from the top level.
    pub proxies: Vec<Settings>,
    pub slo: SloClasses,
    pub apis: Vec<CheckedApi>,
    /// What is allowed, and probably not meant.
    pub warnings: Vec<String>,
}

/// Checks all keys of all tables.
pub(super) fn check(mut raw: RawTable) -> Result<CheckedSettings, ConfigError> {
    let mut reader = SettingsReader::default();
    let mut warnings = label_warnings(&raw);
    let proxies = raw.remove("proxies");
    let mut top = reader.read_table("", raw, KEYS);
    reader.read_defaults(&mut top, KEYS);
    let proxies = match proxies {
        Some(list) => read_proxies(&mut reader, list, &top),
        None => single_proxy(&mut reader, &top),
    };
    // The name of a proxy with a problem may be missing.
    let names: Option<Vec<String>> = if reader.problems.is_empty() {
        proxies.iter().map(|settings| settings.find(&NAME)).collect()
    } else {
        None
    };
    let tables = top.find(&SLO).unwrap_or_default();
    let slo = slo::read_classes(&mut reader, tables, &top.origin(&SLO.info), names.as_deref());
    let apis = api::read_apis(&mut reader, top.find(&API).unwrap_or_default());
    check_addresses(&mut reader, &proxies, &top);
    check_label_names(&mut reader, &proxies);
    warnings.extend(engine_warnings(&proxies));
    if reader.problems.is_empty() {
        Ok(CheckedSettings { top, proxies, slo, apis, warnings })
    } else {
        Err(ConfigError { problems: reader.problems, warnings })
    }
}

/// Checks the `[[api]]` tables, and no other key.
pub(super) fn check_apis(mut raw: RawTable) -> Result<Vec<ConfiguredApi>, ConfigError> {
    let mut reader = SettingsReader::default();
    raw.retain(|name, _| name == API.info.name);
    let top = reader.read_table("", raw, KEYS);
    let apis = api::read_apis(&mut reader, top.find(&API).unwrap_or_default());
    if reader.problems.is_empty() {
        Ok(apis.into_iter().map(|checked| checked.api).collect())
    } else {
        Err(ConfigError { problems: reader.problems, warnings: Vec::new() })
    }
}

/// Checks the keys that a client of the admin port needs, and no other key.
pub(super) fn check_admin_endpoint(mut raw: RawTable) -> Result<Settings, ConfigError> {
    let mut reader = SettingsReader::default();
    raw.retain(|name, _| [ADMIN.info.name, ADMIN_WEB_CONFIG.info.name].contains(&&**name));
    let mut settings = reader.read_table("", raw, KEYS);
    reader.read_defaults(&mut settings, KEYS);
    if reader.problems.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigError { problems: reader.problems, warnings: Vec::new() })
    }
}

/// The one proxy of a configuration without `[[proxies]]`.
fn single_proxy(reader: &mut SettingsReader, top: &Settings) -> Vec<Settings> {
    let mut settings = top.clone();
    match settings.find(&UPSTREAM) {
        Some(_) if settings.has(&NAME.info) => {}
        // Its address is its name.
        Some(url) => settings.replace(&NAME.info, ParsedValue::Text(url.address.to_string())),
        None if reader.has_problem("", UPSTREAM.info.name) => {}
        None => {
            let message = "required: the URL of the inference server, such as \
                           --upstream http://127.0.0.1:8000, or [[proxies]] tables in the file";
            reader.report(Origin::Default, UPSTREAM.info.name, "", message);
        }
    }
    check_tls(reader, "", &settings);
    vec![settings]
}

fn read_proxies(reader: &mut SettingsReader, list: RawValue, top: &Settings) -> Vec<Settings> {
    // Each proxy must set these itself.
    let own = [NAME.info, LISTEN.info, UPSTREAM.info];
    for key in own.iter().filter(|key| top.is_given(key)) {
        let message = "not allowed beside [[proxies]]; set it in each [[proxies]] table";
        reader.report(top.origin(key), key.name, "", message);
    }
    let RawData::List(tables) = list.data else {
        reader.report(list.origin, "proxies", list.data, "expected [[proxies]] tables in the file");
        return Vec::new();
    };
    if tables.is_empty() {
        reader.report(list.origin, "proxies", "[]", "expected at least one [[proxies]] table");
    }
    let known: Vec<KeyInfo> = KEYS.iter().copied().filter(|key| key.per_proxy).collect();
    let mut proxies = Vec::new();
    for (index, RawValue { data, origin }) in tables.into_iter().enumerate() {
        let prefix = format!("proxies[{index}].");
        let RawData::Table(table) = data else {
            reader.report(origin, prefix.trim_end_matches('.'), data, "expected a table");
            continue;
        };
        for key in own.iter().filter(|key| !table.contains_key(key.name)) {
            reader.report_missing(&origin, format!("{prefix}{}", key.name));
        }
        let mut settings = reader.read_table(&prefix, table, &known);
        // A proxy's labels are added to those of the top level.
        let labels = [top, &settings].map(|settings| settings.find(&LABELS).unwrap_or_default());
        settings.replace(&LABELS.info, ParsedValue::Labels(labels.into_iter().flatten().collect()));
        let is_own = |key: &KeyInfo| own.iter().any(|own| own.name == key.name);
        settings.inherit(top, KEYS.iter().filter(|key| key.per_proxy && !is_own(key)));
        check_tls(reader, &prefix, &settings);
        proxies.push(settings);
    }
    let mut names = HashSet::new();
    for settings in &proxies {
        if let Some(name) = settings.find(&NAME)
            && !names.insert(name.clone())
        {
            let message = "another proxy has this name; each proxy needs its own";
            reader.report(settings.origin(&NAME.info), "proxies[].name", name, message);
        }
    }
    proxies
}

/// A certificate and its private key must be set together, and clients have certificates only with TLS.
fn check_tls(reader: &mut SettingsReader, prefix: &str, settings: &Settings) {
    let requirements = [
        (&TLS_CERT.info, &TLS_KEY.info),
        (&TLS_KEY.info, &TLS_CERT.info),
        (&TLS_CLIENT_CA.info, &TLS_CERT.info),
        (&UPSTREAM_TLS_CERT.info, &UPSTREAM_TLS_KEY.info),
        (&UPSTREAM_TLS_KEY.info, &UPSTREAM_TLS_CERT.info),
    ];
    for (given, missing) in requirements {
        if settings.has(given)
            && !settings.has(missing)
            && !reader.has_problem(prefix, missing.name)
        {
            let message = format!("required, because {} is set", given.name);
            reader.report(settings.origin(given), format!("{prefix}{}", missing.name), "", message);
        }
    }
}

/// The constant labels of all proxies share one metric family, so their names are counted together.
fn check_label_names(reader: &mut SettingsReader, proxies: &[Settings]) {
    let names: BTreeSet<String> = proxies
        .iter()
        .filter_map(|settings| settings.find(&LABELS))
        .flatten()
        .map(|(name, _)| name)
        .collect();
    if names.len() > MAX_LABELS {
        let message = format!(
            "the proxies use {} different label names; at most {MAX_LABELS} are allowed in total",
            names.len()
        );
        reader.report(Origin::Default, "proxies[].labels", "", message);
    }
}

/// Two listeners cannot share an address, and an upstream cannot be one of our own listeners.
fn check_addresses(reader: &mut SettingsReader, proxies: &[Settings], top: &Settings) {
    let mut taken: HashMap<SocketAddr, &str> = HashMap::new();
    if let Some(admin) = top.find(&ADMIN) {
        taken.insert(admin, "the admin port");
    }
    let listeners: Vec<SocketAddr> =
        proxies.iter().filter_map(|settings| settings.find(&LISTEN)).collect();
    for settings in proxies {
        if let Some(listen) = settings.find(&LISTEN)
            && listen.port() != 0
            && let Some(user) = taken.insert(listen, "another proxy")
        {
            let message = format!("{user} uses this address already; choose another port");
            reader.report(settings.origin(&LISTEN.info), LISTEN.info.name, listen, message);
        }
        let Some(upstream) = settings.find(&UPSTREAM) else { continue };
        if let Some(listen) = listeners.iter().find(|listen| is_loop(**listen, &upstream.address)) {
            let message = format!(
                "Streamgauge itself listens on {listen}, so requests would loop. If the server uses this \
                 port (llama-server does by default), choose another port for Streamgauge, such as \
                 --listen {}:{}",
                listen.ip(),
                listen.port().wrapping_add(1).max(1)
            );
            reader.report(settings.origin(&UPSTREAM.info), UPSTREAM.info.name, upstream, message);
        }
    }
}

/// Whether an upstream address is this listener.
fn is_loop(listen: SocketAddr, upstream: &UpstreamAddress) -> bool {
    let UpstreamAddress::Tcp { host, port } = upstream else { return false };
    if listen.port() == 0 || listen.port() != *port {
        return false;
    }
    let is_local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    match host.parse::<IpAddr>() {
        Ok(ip) => ip == listen.ip() || is_local(ip) && is_local(listen.ip()),
        Err(_) => host == "localhost" && is_local(listen.ip()),
    }
}

/// Warnings for labels that are named like a key: in TOML, every line after `[labels]` is a label.
fn label_warnings(raw: &RawTable) -> Vec<String> {
    let proxies = match raw.get("proxies").map(|proxies| &proxies.data) {
        Some(RawData::List(list)) => list.as_slice(),
        _ => &[],
    };
    let tables = proxies.iter().filter_map(|proxy| match &proxy.data {
        RawData::Table(table) => Some(table),
        _ => None,
    });
    let mut warnings = Vec::new();
    for table in tables.chain([raw]) {
        let Some(RawValue { data: RawData::Table(labels), .. }) = table.get(LABELS.info.name)
        else {
            continue;
        };
        for (name, value) in
            labels.iter().filter(|(name, _)| KEYS.iter().any(|key| key.name == *name))
        {
            let at = match &value.origin {
                Origin::File { file, line } => format!("{}:{line}: ", file.display()),
                Origin::Variable(variable) => format!("{variable}: "),
                Origin::Flag(_) | Origin::Default => String::new(),
            };
            warnings.push(format!(
                "{at}the label {name:?} has the name of a configuration key. If you meant the key, move \
                 the line above [labels]: TOML adds every line after it to the labels"
            ));
        }
    }
    warnings
}

/// Warnings for engines that Streamgauge does not know, each once.
fn engine_warnings(proxies: &[Settings]) -> Vec<String> {
    let known = || Engine::VARIANTS.iter().map(|engine| engine.label()).chain([AUTO, UNKNOWN]);
    let mut warnings: Vec<String> = Vec::new();
    for settings in proxies {
        let Some(engine) = settings.find(&ENGINE) else { continue };
        if known().any(|label| label == engine) {
            continue;
        }
        let hint = match closest(&engine, known()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("the known ones are {}", known().collect::<Vec<_>>().join(", ")),
        };
        let at = match settings.origin(&ENGINE.info) {
            Origin::Flag(_) | Origin::Default => String::new(),
            Origin::Variable(variable) => format!("{variable}: "),
            Origin::File { file, line } => format!("{}:{line}: ", file.display()),
        };
        let warning = format!(
            "{at}engine = {engine:?} is not an engine or vendor that Streamgauge knows; {hint} It is used \
             as the label gen_ai_provider_name unchanged"
        );
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_is_the_own_listener_is_a_loop() {
        let upstream = |host: &str| UpstreamAddress::Tcp { host: host.into(), port: 8080 };
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
