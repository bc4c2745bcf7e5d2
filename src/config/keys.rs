//! The one table of configuration keys. The documented file, `docs` and the checks follow it.

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
    /// A whole number within these bounds.
    Count(u64, u64),
    /// Seconds within these bounds.
    Seconds(f64, f64),
    /// A list of texts, in the environment separated by commas.
    Texts,
    /// A table of bucket edges by the names of their sets.
    Buckets,
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
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Seconds(least, most) => format!("seconds, from {least} to {most}"),
            Self::Texts => "a list of texts".into(),
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
    proxy_key("health_path", Kind::UrlPath, None),
    proxy_key("cold_idle_seconds", Kind::Seconds(1.0, 86400.0), Some("60.0")),
    proxy_key("outage_seconds", Kind::Seconds(1.0, 604_800.0), Some("3600.0")),
    proxy_key("clock", Kind::Word(&["kernel", "program"]), Some("\"kernel\"")),
    key("admin", Kind::Address, Some("\"127.0.0.1:9464\"")),
    key("admin_token", Kind::Secret, None),
    key("request_log", Kind::Path, None),
    key("workers", Kind::Count(1, 1024), None),
    key("shutdown_grace_seconds", Kind::Seconds(0.0, 86400.0), Some("30.0")),
    key("log_level", Kind::Word(LOG_LEVELS), Some("\"info\"")),
    key("log_format", Kind::Word(&["text", "json"]), Some("\"text\"")),
    key("max_models", Kind::Count(0, 10000), Some("50")),
    key("models", Kind::Texts, Some("[]")),
    key("buckets", Kind::Buckets, Some("{}")),
];

/// The name of a proxy, which only stands in `[[proxies]]`.
pub const NAME: Key = key("name", Kind::Name, None);
