//! The configuration: the documented file, and the messages about wrong values.

use crate::support::TemporaryFile;
use streamgauge::config::keys::{KEYS, SLO_KEYS};
use streamgauge::config::{ConfigError, Sources, load};

const DOCUMENTED: &str = include_str!("../../config/streamgauge.toml");

fn upstream() -> Vec<(&'static str, String)> {
    vec![("upstream", "http://127.0.0.1:8000".into())]
}

/// Loads a file with this text and returns the configuration as `/config` shows it.
fn load_file(
    text: &str,
    flags: Vec<(&'static str, String)>,
) -> Result<serde_json::Value, ConfigError> {
    let file = TemporaryFile::new("toml", text);
    let sources = Sources { file: Some(file.path().into()), flags, ..Sources::default() };
    load(&sources).map(|config| config.shown)
}

fn problems(text: &str) -> Vec<String> {
    let error = load_file(text, Vec::new()).unwrap_err();
    error.0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_documented_file_holds_the_defaults() {
    let defaults = load(&Sources { flags: upstream(), ..Sources::default() }).unwrap();
    assert_eq!(load_file(DOCUMENTED, upstream()).unwrap(), defaults.shown);
    for key in KEYS {
        let line = match key.default {
            Some("{}") => format!("[{}]", key.name),
            Some(default) => format!("{} = {default}", key.name),
            None => format!("#{} = ", key.name),
        };
        assert!(DOCUMENTED.lines().any(|l| l.starts_with(&line)), "no line {line}");
    }
}

#[test]
fn documented_examples_are_valid_and_documented_buckets_are_the_defaults() {
    // A comment without a space after `#` is an example.
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
    let shown = load_file(&without_proxies, Vec::new()).unwrap();
    for set in streamgauge::metrics::table::BUCKETS {
        assert_eq!(shown["buckets"][set.name], serde_json::json!(set.edges), "{}", set.name);
    }
    let file = format!("upstream = 'http://127.0.0.1:1'\n[[slo]]\n{slo}");
    let shown = load_file(&file, Vec::new()).unwrap();
    let Some([class]) = shown["slo"].as_array().map(Vec::as_slice) else { panic!("{shown}") };
    for key in SLO_KEYS {
        assert!(!class[key.name].is_null(), "no example of {} in {class}", key.name);
    }
    assert_eq!(class["operations"], serde_json::json!(["chat", "text_completion"]));
    assert_eq!(class["sizes"][1]["latency_seconds"], 20.0);
    assert_eq!(class["sizes"][0]["latency_seconds"], serde_json::Value::Null);
    let proxies = format!("[[proxies]]\n{proxies}");
    let shown = load_file(&proxies, Vec::new()).unwrap();
    assert_eq!(shown["proxies"][0]["name"], "chat");
    assert_eq!(shown["proxies"][0]["http2"], "auto");
    assert_eq!(shown["proxies"][0]["pool_idle_timeout_seconds"], 3.0);
}

#[test]
fn all_errors_are_reported_at_once() {
    let found = problems(
        "listen = \"localhost\"\nupstream = \"https://api.example.com/v1\"\nworkers = 0\nhost = 'both'\n\
         max_models = \"many\"\nlisten_adress = 1\nadmin_token = ''\n[buckets]\nttft = [1]\n",
    );
    let expected = [
        "admin_token = (masked): not allowed; allowed: a text that is not empty",
        "buckets = {...}: there is no set ttft; the sets are first_token, per_token, gap, duration, latency, \
         connect, tokens, characters_per_second, tokens_per_chunk, burst_ratio, own_cost; allowed: a table of sets of bucket edges, each an \
         ascending list of numbers",
        "host = \"both\": not allowed; allowed: one of keep, upstream",
        "listen = \"localhost\": not allowed; allowed: an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
        "max_models = \"many\": not allowed; allowed: a whole number from 0 to 10000",
        "upstream = \"https://api.example.com/v1\": it must not have a path: clients' paths are forwarded as they \
         are; allowed: http://HOST, http://HOST:PORT, the same with https, without a path, or unix:/PATH",
        "workers = 0: not allowed; allowed: a whole number from 1 to 1024",
    ];
    for line in expected {
        assert!(found.iter().any(|one| one == line), "no {line:?} in {found:#?}");
    }
    assert!(found.iter().any(|line| {
        line.starts_with("listen_adress: unknown key; the known ones are listen, upstream")
    }));
    assert_eq!(found.len(), expected.len() + 1, "{found:#?}");
}

#[test]
fn wrong_proxies_are_reported() {
    let proxy = |name: &str, listen: u16, upstream: u16| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:{listen}'\nupstream = 'http://127.0.0.1:{upstream}'\n"
        )
    };
    let cases = [
        (format!("listen = '127.0.0.1:1'\n{}", proxy("a", 1, 2)), "listen: excludes [[proxies]]"),
        (proxy("a", 1, 2) + &proxy("a", 3, 4), "proxies[].name = a: two proxies have this name"),
        (
            proxy("a", 1, 2) + &proxy("b", 1, 4),
            "listen = 127.0.0.1:1: the address is another proxy's already",
        ),
        (proxy("a", 1, 2) + &proxy("b", 2, 4), "upstream = http://127.0.0.1:2: a loop"),
        ("[[proxies]]\nname = 'a'\n".into(), "proxies[0].upstream: required"),
        (proxy("a", 1, 2) + "tls_cert = 'c.pem'\n", "proxies[0].tls_key: required beside tls_cert"),
        (proxy("a", 1, 2) + "http2 = 'yes'\n", "proxies[0].http2 = \"yes\": not allowed"),
        (
            proxy("a", 1, 2) + "trust_request_start = 'yes'\n",
            "proxies[0].trust_request_start = \"yes\": not allowed; allowed: true or false",
        ),
        (
            proxy("a", 1, 2) + "health_path = 'health'\n",
            "proxies[0].health_path = \"health\": not allowed",
        ),
        (proxy("a", 9464, 2), "listen = 127.0.0.1:9464: the address is admin's already"),
        (proxy("a b", 1, 2), "proxies[0].name = \"a b\": not allowed"),
        ("proxies = 7\n".into(), "proxies: must be [[proxies]] tables"),
    ];
    for (text, expected) in cases {
        let found = problems(&text);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{text}\n{found:#?}");
    }
}

#[test]
fn wrong_slo_classes_are_reported() {
    let slo = |text: &str| format!("upstream = 'http://127.0.0.1:8000'\n{text}");
    let cases: [(&str, &[&str]); 8] = [
        ("slo = 'off'\n", &["slo = \"off\": not allowed; allowed: a list of tables"]),
        ("slo = [7]\n", &["slo[0]: must be a table"]),
        (
            "[[slo]]\n",
            &[
                "slo[0].name: required",
                "slo[0]: has no target; at least one of ttft_seconds, tpot_seconds, latency_seconds, \
                 max_gap_seconds, normalized_seconds",
            ],
        ),
        (
            "[[slo]]\nname = 'a b'\nttft = 1\nttft_seconds = -1\ntpot_seconds = 'fast'\nmodels = 7\n\
             operations = ['chat', 'other']\nupstreams = ['gpu', '127.0.0.1:8000']\n",
            &[
                "slo[0].models = 7: not allowed; allowed: a list of texts",
                "slo[0].name = \"a b\": not allowed; allowed: 1 to 64 letters, digits or any of . _ - : /",
                "slo[0].tpot_seconds = \"fast\": not allowed; allowed: seconds, from 0.000001 to 86400",
                "slo[0].ttft: unknown key; the known ones are name, models, operations, upstreams, ttft_seconds, \
                 tpot_seconds, latency_seconds, max_gap_seconds, normalized_seconds, sizes",
                "slo[0].ttft_seconds = -1: not allowed; allowed: seconds, from 0.000001 to 86400",
                "slo[0].operations = other: there is none; allowed: chat, text_completion, generate_content, \
                 embeddings, rerank, score, classify, tokenize, moderation, transcription, speech, image, realtime, \
                 infer",
                "slo[0].upstreams = gpu: there is none; allowed: 127.0.0.1:8000",
            ],
        ),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\n[[slo]]\nname = 'a'\nttft_seconds = 1\n",
            &["slo[1].name = a: two classes have this name; each needs its own"],
        ),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\nsizes = [{}, {up_to_tokens = 0, tpot_seconds = 1}, \
             {up_to_tokens = 9, tpot_seconds = 1}, {up_to_tokens = 9, tpot_seconds = 2}, 7]\n",
            &[
                "slo[0].sizes[0]: has no target; at least one of ttft_seconds, tpot_seconds, latency_seconds, \
                 max_gap_seconds, normalized_seconds",
                "slo[0].sizes[0].up_to_tokens: required",
                "slo[0].sizes[1].up_to_tokens = 0: not allowed; allowed: a whole number from 1 to 1000000000",
                "slo[0].sizes[3].up_to_tokens = 9: two sizes of the class end there",
                "slo[0].sizes[4]: must be a table",
            ],
        ),
        (
            &(0..9).fold(String::new(), |text, i| {
                text + &format!("[[slo]]\nname = 's{i}'\nlatency_seconds = 1\n")
            }),
            &["slo = 9 tables: too many classes; allowed: at most 8"],
        ),
        (
            &(1..9).fold("[[slo]]\nname = 'a'\nttft_seconds = 9\n".to_owned(), |text, i| {
                text + &format!("[[slo.sizes]]\nup_to_tokens = {i}\nttft_seconds = {i}\n")
            }),
            &[
                "slo[].ttft_seconds = 9: too many different limits in all classes and sizes, since each is a bucket \
               edge; allowed: at most 8",
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&slo(text)), expected, "{text}");
    }
}

#[test]
fn slo_classes_can_be_replaced_and_turned_off() {
    let of = |text: &str| {
        let text = format!("upstream = 'http://127.0.0.1:8000'\n{text}");
        load_file(&text, Vec::new()).unwrap()["slo"].clone()
    };
    let default = of("");
    assert_eq!(default[0]["name"], "interactive");
    assert_eq!(
        (&default[0]["ttft_seconds"], &default[0]["tpot_seconds"]),
        (&5.0.into(), &0.1.into())
    );
    assert_eq!(of("slo = []\n"), serde_json::json!([]));
    let replaced = of("[[slo]]\nname = 'batch'\nlatency_seconds = 600\n");
    assert_eq!((replaced.as_array().unwrap().len(), &replaced[0]["name"]), (1, &"batch".into()));
}

#[test]
fn wrong_labels_are_reported() {
    let top = "upstream = 'http://127.0.0.1:1'\n[labels]\n";
    let many: String = (0..9).map(|i| format!("l{i} = 'x'\n")).collect();
    let cases = [
        ("gpu-count = '2'\n".to_owned(), "\"gpu-count\" is no name of a label"),
        ("2gpu = 'x'\n".into(), "\"2gpu\" is no name of a label"),
        ("__gpu = 'x'\n".into(), "\"__gpu\" is used already"),
        ("upstream = 'x'\n".into(), "\"upstream\" is used already"),
        ("instance = 'x'\n".into(), "\"instance\" is used already"),
        ("gpu = ['x']\n".into(), "gpu is no text"),
        (format!("gpu = '{}'\n", "x".repeat(129)), "gpu has 129 bytes"),
        (many.clone(), "9 labels"),
    ];
    for (text, expected) in cases {
        let found = problems(&(top.to_owned() + &text));
        let expected =
            format!("labels = {{...}}: {expected}; allowed: a table of at most 8 labels");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{text}\n{found:#?}");
    }
    // All proxies share one metric family, so the label names of all of them count.
    let proxy = |name: &str, port: u16, labels: &str| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:{port}'\nupstream = 'http://127.0.0.1:1'\n\
             [proxies.labels]\n{labels}"
        )
    };
    let (few, more) = many.split_at(many.len() / 3);
    let file =
        format!("[labels]\nl0 = 'all'\nzone = 'z'\n{}{}", proxy("a", 3, few), proxy("b", 4, more));
    let found = problems(&file);
    assert_eq!(found, ["proxies[].labels: 10 names; allowed: at most 8 in all"]);
    let file =
        format!("[labels]\nl0 = 'all'\nzone = 'z'\n{}{}", proxy("a", 3, few), proxy("b", 4, ""));
    let shown = load_file(&file, Vec::new()).unwrap();
    let expected = serde_json::json!({"l0": "x", "l1": "x", "l2": "x", "zone": "z"});
    assert_eq!(
        shown["proxies"][0]["labels"], expected,
        "a proxy's own label is the one that counts"
    );
    let expected = serde_json::json!({"l0": "all", "zone": "z"});
    assert_eq!(shown["proxies"][1]["labels"], expected);
    assert_eq!(
        problems("upstream = 'http://127.0.0.1:1'\nttft_by_input_size = 'maybe'\n"),
        ["ttft_by_input_size = \"maybe\": not allowed; allowed: true or false"]
    );
}

#[test]
fn flags_override_environment_file_and_defaults() {
    let file = TemporaryFile::new(
        "toml",
        "upstream = 'http://127.0.0.1:1'\nengine = 'file'\nlog_level = 'warn'\n",
    );
    let environment = [
        ("STREAMGAUGE__ENGINE", "environment"),
        ("STREAMGAUGE__LOG_LEVEL", "error"),
        ("STREAMGAUGE__MODELS", "a, b"),
        ("STREAMGAUGE__TRUST_REQUEST_START", "true"),
    ];
    let sources = Sources {
        file: Some(file.path().into()),
        environment: environment.map(|(name, value)| (name.into(), value.into())).to_vec(),
        flags: vec![("log_level", "debug".into())],
    };
    let config = load(&sources).unwrap();
    assert_eq!(config.proxies[0].tap.engine, "environment");
    assert!(config.proxies[0].tap.trust_request_start);
    assert_eq!(config.log_level, tracing::Level::DEBUG);
    assert_eq!(config.metrics.models, ["a", "b"]);
    assert_eq!(config.shown["shutdown_grace_seconds"], 30.0);
}

#[test]
fn an_unknown_variable_under_the_prefix_is_an_error() {
    let environment = vec![("STREAMGAUGE__LISTN".into(), "x".into())];
    let error =
        load(&Sources { environment, flags: upstream(), ..Sources::default() }).unwrap_err();
    assert!(error.to_string().contains("listn: unknown key"), "{error}");
}

#[test]
fn a_missing_file_and_invalid_toml_are_reported() {
    let missing = Sources { file: Some("/nonexistent.toml".into()), ..Sources::default() };
    assert!(
        load(&missing)
            .unwrap_err()
            .to_string()
            .contains("config = /nonexistent.toml: it cannot be read")
    );
    assert!(problems("listen = \n")[0].contains("TOML parse error"));
}
