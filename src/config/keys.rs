//! The one table of configuration keys. The documented file, `docs` and the checks follow it.

use crate::metrics::MAX_LABEL;

/// Most constant labels, of all upstreams.
pub const MAX_LABELS: usize = 8;

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `IP:PORT`.
    Address,
    /// `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`.
    Url,
    /// A path, or `-`.
    Path,
    /// The path of a file to read.
    File,
    /// A path of the server's, which begins with `/`.
    UrlPath,
    /// Text that becomes a label: letters, digits, `.`, `_`, `-`, `:` and `/`, at most 64.
    Name,
    /// Any text that is not empty; never shown.
    Secret,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// Seconds within these bounds.
    Seconds(f64, f64),
    /// A list of texts, in the environment separated by commas.
    Texts,
    /// A table of constant labels: names and values.
    Labels,
    /// A table of bucket edges by the names of their sets.
    Buckets,
    /// A list of tables, each with keys of its own.
    Tables,
}

impl Kind {
    /// What is allowed, in words.
    pub fn allowed(self) -> String {
        match self {
            Self::Address => {
                "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".into()
            }
            Self::Url => {
                "http://HOST, http://HOST:PORT, the same with https, without a path, or unix:/PATH"
                    .into()
            }
            Self::Path => "a file's path, or - for standard output".into(),
            Self::File => "a file's path".into(),
            Self::UrlPath => "a path, such as /health, of printable ASCII characters".into(),
            Self::Name => "1 to 64 letters, digits or any of . _ - : /".into(),
            Self::Secret => "a text that is not empty".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Flag => "true or false".into(),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Seconds(least, most) => format!("seconds, from {least} to {most}"),
            Self::Texts => "a list of texts".into(),
            Self::Tables => "a list of tables".into(),
            Self::Labels => format!(
                "a table of at most {MAX_LABELS} labels: names of letters, digits and _ that Prometheus and \
                 Streamgauge do not use themselves, and texts of at most {MAX_LABEL} bytes"
            ),
            Self::Buckets => {
                "a table of sets of bucket edges, each an ascending list of numbers".into()
            }
        }
    }
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// The default as TOML; `None` if the key has none.
    pub default: Option<&'static str>,
    /// May also stand in each `[[proxies]]`.
    pub per_proxy: bool,
}

const fn key(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { name, kind, default, per_proxy: false }
}

const fn proxy_key(name: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key { name, kind, default, per_proxy: true }
}

/// Levels of the log.
pub const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Every key at the top level. `[[proxies]]` beside them holds tables of the keys that are
/// `per_proxy`, and `name`.
pub const KEYS: &[Key] = &[
    proxy_key("listen", Kind::Address, Some("\"127.0.0.1:8080\"")),
    proxy_key("upstream", Kind::Url, None),
    proxy_key("http2", Kind::Word(&["auto", "always", "never"]), Some("\"auto\"")),
    proxy_key("ca_file", Kind::File, None),
    proxy_key("tls_cert", Kind::File, None),
    proxy_key("tls_key", Kind::File, None),
    proxy_key("host", Kind::Word(&["keep", "upstream"]), Some("\"keep\"")),
    proxy_key("engine", Kind::Name, Some("\"auto\"")),
    proxy_key("connect_timeout_seconds", Kind::Seconds(0.001, 3600.0), Some("10.0")),
    proxy_key("pool_idle_timeout_seconds", Kind::Seconds(0.0, 3600.0), Some("3.0")),
    proxy_key("trust_request_start", Kind::Flag, Some("false")),
    proxy_key("health_path", Kind::UrlPath, None),
    proxy_key("server_metrics_path", Kind::UrlPath, None),
    proxy_key("cold_idle_seconds", Kind::Seconds(1.0, 86400.0), Some("60.0")),
    proxy_key("outage_seconds", Kind::Seconds(1.0, 604_800.0), Some("3600.0")),
    proxy_key("clock", Kind::Word(&["kernel", "program"]), Some("\"kernel\"")),
    proxy_key("stall_seconds", Kind::Seconds(0.1, 3600.0), Some("2.0")),
    proxy_key("labels", Kind::Labels, Some("{}")),
    key("admin", Kind::Address, Some("\"127.0.0.1:9464\"")),
    key("admin_token", Kind::Secret, None),
    key("request_log", Kind::Path, None),
    key("workers", Kind::Count(1, 1024), None),
    key("shutdown_grace_seconds", Kind::Seconds(0.0, 86400.0), Some("30.0")),
    key("log_level", Kind::Word(LOG_LEVELS), Some("\"info\"")),
    key("log_format", Kind::Word(&["text", "json"]), Some("\"text\"")),
    key("max_models", Kind::Count(0, 10000), Some("50")),
    key("models", Kind::Texts, Some("[]")),
    key(
        "slo",
        Kind::Tables,
        Some("[{ name = \"interactive\", ttft_seconds = 5.0, tpot_seconds = 0.1 }]"),
    ),
    key("ttft_by_input_size", Kind::Flag, Some("false")),
    key("buckets", Kind::Buckets, Some("{}")),
];

/// A limit of a target: a request of a day is of no interactive use any more.
const LIMIT: Kind = Kind::Seconds(0.000_001, 86400.0);

/// The keys of one class of `[[slo]]`.
pub const SLO_KEYS: &[Key] = &[
    NAME,
    key("models", Kind::Texts, None),
    key("operations", Kind::Texts, None),
    key("upstreams", Kind::Texts, None),
    key("ttft_seconds", LIMIT, None),
    key("tpot_seconds", LIMIT, None),
    key("latency_seconds", LIMIT, None),
    key("max_gap_seconds", LIMIT, None),
    key("normalized_seconds", LIMIT, None),
    key("sizes", Kind::Tables, None),
];

/// The keys of one of `[[slo.sizes]]`.
pub const SLO_SIZE_KEYS: &[Key] = &[
    key("up_to_tokens", Kind::Count(1, 1_000_000_000), None),
    key("ttft_seconds", LIMIT, None),
    key("tpot_seconds", LIMIT, None),
    key("latency_seconds", LIMIT, None),
    key("max_gap_seconds", LIMIT, None),
    key("normalized_seconds", LIMIT, None),
];

/// The name of a proxy, which only stands in `[[proxies]]`.
pub const NAME: Key = key("name", Kind::Name, None);
