//! The configuration: the documented file, the precedence of its sources, and every key of the table.

use crate::support::TemporaryFile;
use clap::Parser;
use streamgauge::Config;
use streamgauge::cli::Cli;
use streamgauge::config::{ConfigError, LoadedSources, Sources, ValueType, load, variable_name};
use streamgauge::testing::keys::{API_KEYS, DefaultValue, KEYS, KeyInfo, KeyReload, SLO_KEYS};

const DOCUMENTED: &str = include_str!("../../config/streamgauge.toml");

fn upstream() -> Vec<(&'static str, String)> {
    vec![("upstream", "http://127.0.0.1:8000".into())]
}

/// A configuration file that is deleted when dropped.
pub struct ConfigFile(pub TemporaryFile);

impl ConfigFile {
    pub fn new(text: &str) -> Self {
        Self(TemporaryFile::new("toml", text))
    }

    pub fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(Vec::new(), Vec::new())
    }

    fn load_with(
        &self,
        environment: Vec<(String, String)>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Config, ConfigError> {
        load(&Sources { file: Some(self.0.path().into()), environment, flags })
    }
}

#[test]
fn the_documented_file_holds_the_defaults() {
    let file = ConfigFile::new(DOCUMENTED);
    let defaults = load(&Sources { flags: upstream(), ..Sources::default() }).unwrap();
    let documented = file.load_with(Vec::new(), upstream()).unwrap();
    assert_eq!(documented.effective, defaults.effective);
    assert_eq!(settings_of(documented), settings_of(defaults));
    for key in KEYS {
        let line = match key.default {
            DefaultValue::Toml("{}") => format!("[{}]", key.name),
            DefaultValue::Toml(default) => format!("{} = {default}", key.name),
            DefaultValue::None | DefaultValue::Computed(_) => format!("#{} = ", key.name),
        };
        assert!(DOCUMENTED.lines().any(|l| l.starts_with(&line)), "no line {line}");
    }
}

#[test]
fn its_examples_are_valid_and_its_buckets_are_the_defaults() {
    // A comment line without a space after the # is an example.
    let uncommented: String = DOCUMENTED
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example) if !example.starts_with(' ') || example.starts_with("    ") => example,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let (top, slo) = uncommented.split_once("\n[[slo]]\n").unwrap();
    let (slo, proxies) = slo.split_once("\n[[proxies]]\n").unwrap();
    let (proxies, buckets) = proxies.split_once("\n[buckets]\n").unwrap();
    let without_proxies = format!("{top}\n[buckets]{buckets}");
    let shown = ConfigFile::new(&without_proxies).load().unwrap().effective;
    for set in streamgauge::testing::metrics::table::BUCKETS {
        assert_eq!(shown["buckets"][set.name], serde_json::json!(set.edges), "{}", set.name);
    }
    let file = format!("upstream = 'http://127.0.0.1:1'\n[[slo]]\n{slo}");
    let shown = ConfigFile::new(&file).load().unwrap().effective;
    let Some([class]) = shown["slo"].as_array().map(Vec::as_slice) else { panic!("{shown}") };
    for key in SLO_KEYS {
        assert!(!class[key.name].is_null(), "no example of {} in {class}", key.name);
    }
    for key in API_KEYS {
        let has_example = |api: &serde_json::Value| !api[key.name].is_null();
        let apis = shown["api"].as_array().unwrap();
        assert!(apis.iter().any(has_example), "no example of {} in {apis:?}", key.name);
        assert!(slo.contains(&format!("\n{} = ", key.name)), "no example of {}", key.name);
    }
    assert_eq!(class["operations"], serde_json::json!(["chat", "text_completion"]));
    assert_eq!(class["sizes"][1]["latency_seconds"], 20.0);
    assert_eq!(class["sizes"][0]["latency_seconds"], serde_json::Value::Null);
    let proxies = format!("[[proxies]]\n{proxies}");
    let shown = ConfigFile::new(&proxies).load().unwrap().effective;
    assert_eq!(shown["proxies"][0]["name"], "chat");
    assert_eq!(shown["proxies"][0]["http2"], "auto");
    assert_eq!(shown["proxies"][0]["pool_idle_timeout_seconds"], 3.0);
}

#[test]
fn objectives_can_be_replaced_and_turned_off() {
    let slo = |text: &str| {
        let text = format!("upstream = 'http://127.0.0.1:8000'\n{text}");
        ConfigFile::new(&text).load().unwrap().effective["slo"].clone()
    };
    let default = slo("");
    assert_eq!(default[0]["name"], "interactive");
    assert_eq!(
        (&default[0]["ttft_seconds"], &default[0]["tpot_seconds"]),
        (&5.0.into(), &0.1.into())
    );
    assert_eq!(slo("slo = []\n"), serde_json::json!([]));
    let replaced = slo("[[slo]]\nname = 'batch'\nlatency_seconds = 600\n");
    assert_eq!((replaced.as_array().unwrap().len(), &replaced[0]["name"]), (1, &"batch".into()));
}

#[test]
fn labels_of_a_proxy_are_added_to_those_of_the_top_level() {
    let file = "[labels]\nl0 = 'all'\nzone = 'z'\n\
                [[proxies]]\nname = 'a'\nlisten = '127.0.0.1:3'\nupstream = 'http://127.0.0.1:1'\n\
                [proxies.labels]\nl0 = 'x'\nl1 = 'x'\n\
                [[proxies]]\nname = 'b'\nlisten = '127.0.0.1:4'\nupstream = 'http://127.0.0.1:1'\n";
    let shown = ConfigFile::new(file).load().unwrap().effective;
    let expected = serde_json::json!({"l0": "x", "l1": "x", "zone": "z"});
    assert_eq!(shown["proxies"][0]["labels"], expected, "a proxy's own label has precedence");
    assert_eq!(shown["proxies"][1]["labels"], serde_json::json!({"l0": "all", "zone": "z"}));
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = ConfigFile::new(
        "upstream = 'http://127.0.0.1:1'\nengine = 'file'\nlog_level = 'warn'\nlabels = { gpu = 'L4' }\n",
    );
    let environment = [
        ("STREAMGAUGE__ENGINE", "environment"),
        ("STREAMGAUGE__LOG_LEVEL", "error"),
        ("STREAMGAUGE__MODELS", "a, b"),
        ("STREAMGAUGE__TRUST_REQUEST_START", "true"),
        ("STREAMGAUGE__LABELS__ZONE", "eu"),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into())).to_vec();
    let config = file.load_with(environment, vec![("log_level", "debug".into())]).unwrap();
    assert_eq!(config.proxies[0].tap.engine, "environment");
    assert!(config.proxies[0].tap.trust_request_start);
    assert_eq!(config.log_level, tracing::Level::DEBUG);
    assert_eq!(config.metrics.models, ["a", "b"]);
    assert_eq!(config.effective["shutdown_grace_seconds"], 30.0);
    let labels = serde_json::json!({"gpu": "L4", "zone": "eu"});
    assert_eq!(config.effective["proxies"][0]["labels"], labels, "the variable adds a label");
}

#[test]
fn the_documentation_lists_the_keys_that_a_reload_can_change() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, list) = page.split_once("<!-- Tested against the table of keys. -->").unwrap();
    let list = list.trim_start().split("\n\n").next().unwrap();
    let mut documented: Vec<_> =
        list.split([',', '\n']).map(|key| key.trim().trim_matches('`')).collect();
    documented.retain(|key| !key.is_empty());
    documented.sort_unstable();
    let mut live: Vec<_> =
        KEYS.iter().filter(|key| key.reload == KeyReload::Applied).map(|key| key.name).collect();
    live.sort_unstable();
    assert_eq!(documented, live);
}

/// Values of a key to set in a test.
struct KeySample {
    /// A valid value in TOML that is not the default, and how `/config` shows it.
    toml: String,
    shown: serde_json::Value,
    /// The same value in a variable or flag; `None` if only the file can hold it.
    text: Option<String>,
    /// A wrong value, in TOML and as a text; `None` if every text is right.
    wrong_toml: &'static str,
    wrong_text: Option<&'static str>,
}

fn sample(key: &KeyInfo) -> KeySample {
    let text = |text: &str, wrong: &'static str| KeySample {
        toml: format!("{text:?}"),
        shown: text.into(),
        text: Some(text.into()),
        wrong_toml: "[7]",
        wrong_text: Some(wrong),
    };
    let plain = |shown: serde_json::Value| KeySample {
        toml: shown.to_string(),
        text: Some(shown.to_string()),
        shown,
        wrong_toml: "'no'",
        wrong_text: Some("no"),
    };
    let only_file = |toml: &str, shown| KeySample {
        toml: toml.into(),
        shown,
        text: None,
        wrong_toml: "7",
        wrong_text: Some("no"),
    };
    match key.value_type {
        ValueType::Address => text("127.0.0.1:7", "here"),
        ValueType::Url => text("http://127.0.0.1:9", "ftp://x"),
        ValueType::OutputPath | ValueType::InputPath => text("/sample/file", ""),
        ValueType::UrlPath => text("/sample", "sample"),
        ValueType::Name => text("sample", "a b"),
        ValueType::ServerName => text("llm.internal", "a b"),
        ValueType::Secret => KeySample { shown: "(masked)".into(), ..text("secret", "") },
        ValueType::Word(words) => {
            let is_default = |word: &str| match key.default {
                DefaultValue::Toml(default) => default == format!("{word:?}"),
                DefaultValue::None | DefaultValue::Computed(_) => false,
            };
            let other = words.iter().find(|word| !is_default(word));
            text(other.unwrap(), "no-such-word")
        }
        ValueType::Boolean => plain(true.into()),
        ValueType::Count(_, most) => plain(most.into()),
        ValueType::Seconds(_, most) => plain(most.into()),
        ValueType::List => KeySample {
            toml: "['a', 'b']".into(),
            shown: serde_json::json!(["a", "b"]),
            text: Some("a, b".into()),
            wrong_toml: "7",
            wrong_text: None,
        },
        ValueType::Labels => only_file("{ gpu = 'L4' }", serde_json::json!({"gpu": "L4"})),
        ValueType::Buckets => {
            only_file("{ gap = [0.1, 1.0] }", serde_json::json!({"gap": [0.1, 1.0]}))
        }
        ValueType::Tables if key.name == "api" => {
            let mut shown: serde_json::Map<String, serde_json::Value> =
                API_KEYS.iter().map(|key| (key.name.into(), serde_json::Value::Null)).collect();
            for (key, value) in [("name", "a"), ("path", "/x"), ("like", "openai-chat")] {
                shown.insert(key.into(), value.into());
            }
            for (key, value) in [("method", "POST"), ("operation", "chat")] {
                shown.insert(key.into(), value.into());
            }
            shown.insert("cumulative".into(), false.into());
            let toml = "[{ name = 'a', path = '/x', like = 'openai-chat' }]";
            only_file(toml, serde_json::json!([shown]))
        }
        ValueType::Places => unreachable!("no key of the top level has places"),
        ValueType::Tables => only_file("[]", serde_json::json!([])),
    }
}

/// The configuration without what `/config` and the warnings show, as text that can be compared.
fn settings_of(mut config: Config) -> String {
    config.effective = serde_json::Value::Null;
    config.loaded_from = LoadedSources::default();
    config.warnings.clear();
    format!("{config:?}")
}

/// The lines that a file needs beside this key.
fn companions(key: &KeyInfo) -> String {
    let required = [
        ("upstream", "upstream = 'http://127.0.0.1:8000'\n"),
        ("tls_cert", "tls_cert = '/cert.pem'\n"),
        ("tls_key", "tls_key = '/key.pem'\n"),
        ("tls_client_ca", "tls_client_ca = '/ca.pem'\n"),
        ("upstream_tls_cert", "upstream_tls_cert = '/client.pem'\n"),
        ("upstream_tls_key", "upstream_tls_key = '/client.key'\n"),
    ];
    let needed = |name: &str| match name {
        "upstream" => true,
        "tls_client_ca" => key.name == "tls_client_auth",
        "upstream_tls_cert" | "upstream_tls_key" => {
            ["upstream_tls_cert", "upstream_tls_key"].contains(&key.name)
        }
        _ => key.name.starts_with("tls_"),
    };
    let lines = required.iter().filter(|(name, _)| *name != key.name && needed(name));
    lines.map(|(_, line)| *line).collect()
}

/// The value of a key in `/config`.
fn shown<'a>(config: &'a Config, key: &KeyInfo) -> &'a serde_json::Value {
    let table = match key.per_proxy {
        true => &config.effective["proxies"][0],
        false => &config.effective,
    };
    table.get(key.name).unwrap_or_else(|| panic!("/config does not show {}", key.name))
}

/// Every key reaches the program and `/config` from each source, and a wrong value is reported with its
/// place. A key that is in the table and that `assemble.rs` does not read fails here.
#[test]
fn every_key_from_every_source() {
    for key in KEYS {
        let name = key.name;
        let sample = sample(key);
        let rest = companions(key);
        let file = ConfigFile::new(&rest);
        let default = match name {
            "upstream" => file.load_with(Vec::new(), upstream()).unwrap(),
            "tls_cert" | "tls_key" | "upstream_tls_cert" | "upstream_tls_key" => {
                file.load_with(Vec::new(), vec![(key.name, "/other".into())]).unwrap()
            }
            _ => file.load().unwrap(),
        };
        let default = settings_of(default);
        let assert_set = |config: Result<Config, ConfigError>, source: &str| {
            let config = config.unwrap_or_else(|error| panic!("{name} from the {source}: {error}"));
            assert_eq!(shown(&config, key), &sample.shown, "{name} from the {source}");
            assert_ne!(settings_of(config), default, "{name} from the {source} changes nothing");
        };
        let assert_wrong = |config: Result<Config, ConfigError>, place: &str| {
            let error = config.map(settings_of).expect_err(name);
            let [problem] = error.problems.as_slice() else { panic!("{name}: {error}") };
            let message = problem.to_string();
            assert!(message.starts_with(place), "{name}: {message}");
            assert!(message.contains("expected "), "{name}: {message}");
        };

        let file = ConfigFile::new(&format!("{rest}{name} = {}\n", sample.toml));
        assert_set(file.load(), "file");
        let line = rest.lines().count() + 1;
        let wrong = format!("{rest}{name} = {}\n", sample.wrong_toml);
        let file = ConfigFile::new(&wrong);
        assert_wrong(file.load(), &format!("{}:{line}: {name} = ", file.0.path()));

        let file = ConfigFile::new(&rest);
        let variable = variable_name(name);
        let from_variable =
            |text: &str| file.load_with(vec![(variable.clone(), text.into())], Vec::new());
        if let Some(text) = &sample.text {
            assert_set(from_variable(text), "environment");
        }
        if let Some(wrong) = sample.wrong_text {
            assert_wrong(from_variable(wrong), &format!("{variable} = "));
        }

        if key.flag.is_some() {
            let flag = format!("--{}", name.replace('_', "-"));
            let text = sample.text.clone().unwrap();
            let parsed = Cli::try_parse_from(["streamgauge", &flag, &text]).unwrap();
            assert_set(file.load_with(Vec::new(), parsed.run.sources().flags), "command line");
        }

        if key.per_proxy && !["listen", "upstream", "name"].contains(&name) {
            let proxy = "[[proxies]]\nname = 'a'\nlisten = '127.0.0.1:8080'\n\
                         upstream = 'http://127.0.0.1:8000'\n";
            let rest = rest.replace("upstream = 'http://127.0.0.1:8000'\n", "");
            let text = format!("{proxy}{rest}{name} = {}\n", sample.toml);
            assert_set(ConfigFile::new(&text).load(), "proxy's table");
        }
    }
}
