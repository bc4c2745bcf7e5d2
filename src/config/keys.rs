//! The table of configuration keys: the one place where a key is defined.
//!
//! A row holds the name of a key, the type of its value with the bounds, its default, whether each
//! `[[proxies]]` table may set it, whether a reload can change it, and its command-line flag. The doc comment of a row is also the help
//! of its flag. The parser, `/config`, `--help` and the tests are made from this table; the reasons for
//! the defaults are in `config/streamgauge.toml`. CONTRIBUTING.md says how to add a key.

pub use super::config_key::{ConfigKey, DefaultValue, KeyInfo, KeyReload};
use super::config_key::{
    address, boolean, buckets, count, input_path, label, labels, limit, list, output_path, places,
    seconds, secret, server_name, tables, url, url_path, word,
};
use super::source::RawValue;
use super::upstream_url::UpstreamUrl;
use crate::proxy::Http2Mode;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use streamgauge_core::dialect::custom::ApiValue;
use streamgauge_core::meter::RefusalRule;
use strum::{EnumString, IntoStaticStr, VariantNames};
use tokio_rustls::rustls::pki_types::ServerName;

/// Reasons for [`KeyReload::Refused`].
const SOCKET: &str = "the listeners are bound at the start";
const THREADS: &str = "the threads start at the start";
const SERVER: &str = "connections and measurements belong to one server";
const COLD_STARTS: &str = "the detection of cold starts depends on it";
const SERIES: &str = "the exported series depend on it";
const LOGS: &str = "the logs are opened at the start";

/// Defines keys as constants, and the list of all of them.
macro_rules! keys {
    (
        $(#[$list_doc:meta])* $list:ident:
        $($(#[doc = $help:literal])+ $key:ident: $value:ty = $definition:expr;)*
    ) => {
        $($(#[doc = $help])+ pub const $key: ConfigKey<$value> =
            $definition.help(concat!($($help),+));)*
        $(#[$list_doc])* pub const $list: &[KeyInfo] = &[$($key.info),*];
    };
}

keys! {
    /// Every key of the top level, except `[[proxies]]`. Each `[[proxies]]` table can have the keys that are
    /// `per_proxy`.
    KEYS:
    /// Address where clients connect
    LISTEN: SocketAddr = address("listen").default("\"127.0.0.1:8080\"").per_proxy().fixed(SOCKET).flag("ADDR");
    /// URL of the inference server, such as http://127.0.0.1:8000, https://HOST or unix:/PATH; required
    UPSTREAM: UpstreamUrl = url("upstream").per_proxy().fixed(SERVER).flag("URL");
    /// Name of the server, as the label upstream
    NAME: String = label("name").computed("host and port of upstream").per_proxy().fixed(SERIES).flag("NAME");
    /// When to use HTTP/2 to the server
    HTTP2: Http2Mode = word("http2").default("\"auto\"").per_proxy().fixed(SERVER);
    /// PEM file of additional root certificates to trust for the server
    CA_FILE: PathBuf = input_path("ca_file").per_proxy().live();
    /// PEM file of the certificate chain that the server gets, if it requests one
    UPSTREAM_TLS_CERT: PathBuf = input_path("upstream_tls_cert").per_proxy().live();
    /// PEM file of the private key for upstream_tls_cert
    UPSTREAM_TLS_KEY: PathBuf = input_path("upstream_tls_key").per_proxy().live();
    /// Name in the server's certificate, if it is not the host of upstream
    UPSTREAM_TLS_NAME: ServerName<'static> = server_name("upstream_tls_name").per_proxy().live();
    /// PEM file of the certificate chain that clients get
    TLS_CERT: PathBuf = input_path("tls_cert").per_proxy().live();
    /// PEM file of the private key for tls_cert
    TLS_KEY: PathBuf = input_path("tls_key").per_proxy().live();
    /// PEM file of the root certificates that issue the certificates of clients
    TLS_CLIENT_CA: PathBuf = input_path("tls_client_ca").per_proxy().live();
    /// Whether clients need a certificate of tls_client_ca: required or optional
    TLS_CLIENT_AUTH: ClientAuth = word("tls_client_auth").default("\"required\"").per_proxy().live();
    /// Host header that the server gets
    HOST: HostHeader = word("host").default("\"keep\"").per_proxy().live();
    /// Engine or vendor of the server, as a label
    ENGINE: String = label("engine").default("\"auto\"").per_proxy().fixed(SERIES);
    /// Time limit for connecting to the server
    CONNECT_TIMEOUT_SECONDS: Duration =
        seconds("connect_timeout_seconds", 0.001, 3600.0).default("10.0").per_proxy().live();
    /// How long an idle connection to the server stays open
    POOL_IDLE_TIMEOUT_SECONDS: Duration =
        seconds("pool_idle_timeout_seconds", 0.0, 3600.0).default("3.0").per_proxy().live();
    /// Time limit for receiving the headers of a request
    REQUEST_HEADER_TIMEOUT_SECONDS: Duration =
        seconds("request_header_timeout_seconds", 0.0, 86400.0).default("30.0").per_proxy().live();
    /// How long an idle connection of a client stays open
    KEEP_ALIVE_TIMEOUT_SECONDS: Duration =
        seconds("keep_alive_timeout_seconds", 0.0, 86400.0).default("75.0").per_proxy().live();
    /// Time limit for the next part of a request body
    REQUEST_BODY_TIMEOUT_SECONDS: Duration =
        seconds("request_body_timeout_seconds", 0.0, 86400.0).default("60.0").per_proxy().live();
    /// Maximum size of the headers of a request
    MAX_REQUEST_HEADER_BYTES: usize =
        count("max_request_header_bytes", 1024, 1_048_576).default("65536").per_proxy().live();
    /// Maximum number of header lines of a request
    MAX_REQUEST_HEADERS: usize =
        count("max_request_headers", 8, 10000).default("100").per_proxy().live();
    /// Maximum number of requests on a connection of a client
    MAX_REQUESTS_PER_CONNECTION: usize =
        count("max_requests_per_connection", 0, 1_000_000_000).default("0").per_proxy().live();
    /// Time limit for the response headers of the server
    RESPONSE_HEADER_TIMEOUT_SECONDS: Duration =
        seconds("response_header_timeout_seconds", 0.0, 86400.0).default("0.0").per_proxy().live();
    /// Time limit for the next part of a response body
    RESPONSE_SILENCE_TIMEOUT_SECONDS: Duration =
        seconds("response_silence_timeout_seconds", 0.0, 86400.0).default("0.0").per_proxy().live();
    /// Time limit for a whole request and its response
    REQUEST_TIMEOUT_SECONDS: Duration =
        seconds("request_timeout_seconds", 0.0, 604_800.0).default("0.0").per_proxy().live();
    /// Maximum number of HTTP/2 streams that a client may reset per minute
    MAX_HTTP2_RESETS_PER_MINUTE: usize =
        count("max_http2_resets_per_minute", 0, 1_000_000).default("600").per_proxy().live();
    /// Maximum number of interim responses (1xx) of the server to a request
    MAX_INTERIM_RESPONSES: usize =
        count("max_interim_responses", 1, 10000).default("100").per_proxy().live();
    /// Whether to trust X-Request-Start and X-Queue-Start
    TRUST_REQUEST_START: bool = boolean("trust_request_start").default("false").per_proxy().live();
    /// Path that readiness probes request
    HEALTH_PATH: String = url_path("health_path").per_proxy().fixed(COLD_STARTS);
    /// Path of the server's own Prometheus metrics
    SERVER_METRICS_PATH: String = url_path("server_metrics_path").per_proxy().fixed(COLD_STARTS);
    /// Idle time after which a slow request can be a cold start
    COLD_IDLE_SECONDS: Duration =
        seconds("cold_idle_seconds", 1.0, 86400.0).default("60.0").per_proxy().fixed(COLD_STARTS);
    /// Cold starts that are counted: all, or only those that are certain
    COLD_STARTS_COUNTED: CountedColdStarts =
        word("cold_starts_counted").default("\"all\"").per_proxy().fixed(COLD_STARTS);
    /// Downtime after which a restart is an outage and no cold start
    OUTAGE_SECONDS: Duration = seconds("outage_seconds", 1.0, 604_800.0).default("3600.0").per_proxy().fixed(COLD_STARTS);
    /// Source of arrival times
    CLOCK: ArrivalClock = word("clock").default("\"kernel\"").per_proxy().fixed(SOCKET);
    /// Longest gap without output that is not a stall
    STALL_SECONDS: Duration = seconds("stall_seconds", 0.1, 3600.0).default("2.0").per_proxy().live();
    /// Constant labels of an upstream
    LABELS: BTreeMap<String, String> = labels("labels").default("{}").per_proxy().fixed(SERIES);
    /// Address where Prometheus scrapes
    ADMIN: SocketAddr = address("admin").default("\"127.0.0.1:9464\"").fixed(SOCKET).flag("ADDR");
    /// Token for the admin pages that are closed on an address other than loopback
    ADMIN_TOKEN: String = secret("admin_token").live();
    /// File that holds the token; takes precedence over admin_token
    ADMIN_TOKEN_FILE: PathBuf = input_path("admin_token_file").live();
    /// Web configuration file of the admin port: TLS and users, in the format of Prometheus' exporters
    ADMIN_WEB_CONFIG: PathBuf = input_path("admin_web_config").live();
    /// Who may read /metrics: open (everyone) or guarded (those who may read the other pages)
    ADMIN_METRICS: MetricsAccess = word("admin_metrics")
        .computed("open, or guarded if admin_web_config has users or requires client certificates").live();
    /// File for one JSON object per request, written at its end; - is standard output
    REQUEST_LOG: PathBuf = output_path("request_log").fixed(LOGS).flag("FILE");
    /// Number of threads that forward
    WORKERS: usize = count("workers", 1, 1024).computed("the CPU quota, at most 2").fixed(THREADS).flag("N");
    /// Maximum number of connections of clients
    MAX_CONNECTIONS: usize =
        count("max_connections", 1, 1_000_000)
            .computed("what the limit of open files allows")
            .fixed(SOCKET);
    /// Maximum number of connections to the admin port
    ADMIN_MAX_CONNECTIONS: usize = count("admin_max_connections", 1, 10000).default("64").fixed(SOCKET);
    /// Time limit for reading from and writing to a client of the admin port
    ADMIN_TIMEOUT_SECONDS: Duration = seconds("admin_timeout_seconds", 0.1, 3600.0).default("10.0").fixed(SOCKET);
    /// How long new requests are still served after SIGTERM
    LAME_DUCK_SECONDS: Duration = seconds("lame_duck_seconds", 0.0, 3600.0).default("5.0").live();
    /// How long open requests may continue after the lame-duck time
    SHUTDOWN_GRACE_SECONDS: Duration =
        seconds("shutdown_grace_seconds", 0.0, 86400.0).default("30.0").live();
    /// Least severe log level: error, warn, info, debug or trace
    LOG_LEVEL: LogLevel = word("log_level").default("\"info\"").live().flag("LEVEL");
    /// Format of log lines: text or json
    LOG_FORMAT: LogFormat = word("log_format").default("\"text\"").fixed(LOGS).flag("FORMAT");
    /// Number of model names that become label values
    MAX_MODELS: usize = count("max_models", 0, 10000).default("50").fixed(SERIES);
    /// Model names that always become label values
    MODELS: Vec<String> = list("models").default("[]").fixed(SERIES);
    /// Service-level objectives
    SLO: Vec<RawValue> = tables("slo")
        .default("[{ name = \"interactive\", ttft_seconds = 5.0, tpot_seconds = 0.1 }]").live();
    /// APIs without built-in support
    API: Vec<RawValue> = tables("api").default("[]").fixed(SERIES);
    /// Whether to export TTFT by input size
    TTFT_BY_INPUT_SIZE: bool = boolean("ttft_by_input_size").default("false").fixed(SERIES);
    /// Bucket edges of histograms
    BUCKETS: HashMap<String, Vec<f64>> = buckets("buckets").default("{}").fixed(SERIES);
}

keys! {
    /// The keys of one `[[slo]]` table.
    SLO_KEYS:
    /// Name of an `[[slo]]` or `[[api]]` table
    TABLE_NAME: String = label("name");
    /// Models that the class applies to
    SLO_MODELS: Vec<String> = list("models");
    /// Operations that the class applies to
    SLO_OPERATIONS: Vec<String> = list("operations");
    /// Upstreams that the class applies to
    SLO_UPSTREAMS: Vec<String> = list("upstreams");
    /// How refused requests are judged: undecided, missed or judged
    SLO_REFUSALS: RefusalRule = word("refusals").default("\"undecided\"");
    /// Limit of the time to first token
    SLO_TTFT_SECONDS: f64 = limit("ttft_seconds");
    /// Limit of the time per output token
    SLO_TPOT_SECONDS: f64 = limit("tpot_seconds");
    /// Limit of the latency
    SLO_LATENCY_SECONDS: f64 = limit("latency_seconds");
    /// Limit of the longest gap between two outputs
    SLO_MAX_GAP_SECONDS: f64 = limit("max_gap_seconds");
    /// Limit of the request duration divided by the output tokens
    SLO_NORMALIZED_SECONDS: f64 = limit("normalized_seconds");
    /// Limits by input size
    SLO_SIZES: Vec<RawValue> = tables("sizes");
}

keys! {
    /// The keys of one `[[slo.sizes]]` table; the limits are those of [`SLO_KEYS`].
    SLO_SIZE_OWN_KEYS:
    /// Largest number of input tokens that the limits apply to
    UP_TO_TOKENS: usize = count("up_to_tokens", 1, 1_000_000_000);
}

/// The keys of one `[[slo.sizes]]` table.
pub const SLO_SIZE_KEYS: &[KeyInfo] = &[
    UP_TO_TOKENS.info,
    SLO_TTFT_SECONDS.info,
    SLO_TPOT_SECONDS.info,
    SLO_LATENCY_SECONDS.info,
    SLO_MAX_GAP_SECONDS.info,
    SLO_NORMALIZED_SECONDS.info,
];

keys! {
    /// The keys of one `[[api]]` table, which also has a [`NAME`].
    API_KEYS:
    /// End of the path of its requests
    API_PATH: String = url_path("path");
    /// Method of its requests
    API_METHOD: ApiMethod = word("method").default("\"POST\"");
    /// Operation of its requests, as a label
    API_OPERATION: String = label("operation").default("\"chat\"");
    /// API that has the same responses
    API_LIKE: String = label("like");
    /// Places of the generated text
    API_TEXT: Vec<String> = places("text");
    /// Places of reasoning text
    API_REASONING: Vec<String> = places("reasoning");
    /// Places of the arguments of tool calls
    API_TOOL_ARGUMENTS: Vec<String> = places("tool_arguments");
    /// Places of the names of called tools
    API_TOOL_NAME: Vec<String> = places("tool_name");
    /// Places of the number of input tokens
    API_INPUT_TOKENS: Vec<String> = places("input_tokens");
    /// Places of the number of output tokens
    API_OUTPUT_TOKENS: Vec<String> = places("output_tokens");
    /// Places of the number of input tokens from a cache
    API_CACHED_TOKENS: Vec<String> = places("cached_tokens");
    /// Places of the number of reasoning tokens
    API_REASONING_TOKENS: Vec<String> = places("reasoning_tokens");
    /// Places of the model that generated the response
    API_MODEL: Vec<String> = places("model");
    /// Places of the finish reason
    API_FINISH_REASON: Vec<String> = places("finish_reason");
    /// Places of errors
    API_ERROR: Vec<String> = places("error");
    /// Places whose value ends the stream
    API_END: Vec<String> = places("end");
    /// Whether each event repeats the text of all earlier ones
    API_CUMULATIVE: bool = boolean("cumulative").default("false");
    /// Recorded response that `check-config` reads in this API
    API_SAMPLE: PathBuf = input_path("sample");
}

/// The keys with places in an event, and the value at these places.
pub const API_PLACES: &[(ConfigKey<Vec<String>>, ApiValue)] = &[
    (API_TEXT, ApiValue::Text),
    (API_REASONING, ApiValue::Reasoning),
    (API_TOOL_ARGUMENTS, ApiValue::ToolArguments),
    (API_TOOL_NAME, ApiValue::ToolName),
    (API_INPUT_TOKENS, ApiValue::InputTokens),
    (API_OUTPUT_TOKENS, ApiValue::OutputTokens),
    (API_CACHED_TOKENS, ApiValue::CachedTokens),
    (API_REASONING_TOKENS, ApiValue::ReasoningTokens),
    (API_MODEL, ApiValue::Model),
    (API_FINISH_REASON, ApiValue::FinishReason),
    (API_ERROR, ApiValue::Error),
    (API_END, ApiValue::End),
];

/// The method of the requests of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "UPPERCASE")]
pub enum ApiMethod {
    Post,
    Get,
    Put,
}

/// The Host header that the upstream gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum HostHeader {
    /// The client's, unchanged.
    Keep,
    /// The upstream's own name.
    Upstream,
}

/// Whether everyone may read `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum MetricsAccess {
    Open,
    Guarded,
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum ClientAuth {
    /// The handshake fails without one.
    Required,
    /// Only a certificate that is not valid is refused.
    Optional,
}

/// The cold starts that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum CountedColdStarts {
    /// Also those that only the time of a request shows.
    All,
    /// The server reported them, or refused connections show them.
    Certain,
}

/// The source of arrival times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum ArrivalClock {
    /// The kernel's timestamps of received packets.
    Kernel,
    /// The program's own clock when it reads.
    Program,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}
