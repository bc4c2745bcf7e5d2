//! The configuration in force, for those who ask.

use super::check::{Values, default_workers};
use super::keys::{KEYS, Kind};
use super::value::Read;
use super::{ProxyConfig, slo};
use crate::proxy::UpstreamConfig;
use serde_json::{Value as Json, json};
use streamgauge_core::meter::SloClasses;

/// The configuration in force, as `GET /config` shows it.
pub(super) fn shown(
    values: &Values,
    proxies: &[ProxyConfig],
    classes: &SloClasses,
) -> serde_json::Value {
    let mut shown = serde_json::Map::new();
    for key in KEYS.iter().filter(|key| !key.per_proxy) {
        let value = match values.get(key.name) {
            Some(_) if key.kind == Kind::Secret => json!("(masked)"),
            Some(Read::Text(text)) => json!(text),
            Some(Read::Address(address)) => json!(address.to_string()),
            Some(Read::Flag(flag)) => json!(flag),
            Some(Read::Count(count)) => json!(count),
            Some(Read::Seconds(seconds)) => json!(seconds),
            Some(Read::Labels(labels)) => json!(labels),
            Some(Read::Texts(texts)) => json!(texts),
            Some(Read::Buckets(sets)) => json!(sets),
            Some(Read::Tables(_)) => slo::shown(classes),
            None if key.name == "workers" => json!(default_workers()),
            Some(Read::Upstream(..)) | None => Json::Null,
        };
        shown.insert(key.name.into(), value);
    }
    let proxies: Vec<_> = proxies
        .iter()
        .map(|proxy| {
            let UpstreamConfig {
                http2,
                ca_file,
                rewrite_host,
                kernel_stamps,
                connect_timeout,
                idle_timeout,
                health_path,
                metrics_path,
                ..
            } = &proxy.upstream;
            let (cert, key) = proxy.tls.as_ref().map(|files| (&files.cert, &files.key)).unzip();
            json!({
                "name": proxy.tap.name,
                "listen": proxy.listen.to_string(),
                "upstream": proxy.upstream.url(),
                "http2": http2.as_str(),
                "ca_file": ca_file,
                "tls_cert": cert,
                "tls_key": key,
                "trust_request_start": proxy.tap.trust_request_start,
                "clock": if *kernel_stamps { "kernel" } else { "program" },
                "host": if *rewrite_host { "upstream" } else { "keep" },
                "engine": proxy.tap.engine,
                "stall_seconds": proxy.tap.stall.as_secs_f64(),
                "labels": proxy.tap.labels,
                "health_path": health_path,
                "server_metrics_path": metrics_path,
                "cold_idle_seconds": proxy.tap.cold.idle.as_secs_f64(),
                "outage_seconds": proxy.tap.cold.outage.as_secs_f64(),
                "connect_timeout_seconds": connect_timeout.as_secs_f64(),
                "pool_idle_timeout_seconds": idle_timeout.as_secs_f64(),
            })
        })
        .collect();
    shown.insert("proxies".into(), Json::Array(proxies));
    Json::Object(shown)
}
