//! The message for each rule that a configuration can break: where it was set, what is wrong, what to do.

use super::config::ConfigFile;
use streamgauge::config::{Sources, load};

const UPSTREAM: &str = "upstream = 'http://127.0.0.1:8000'\n";

/// The problems of a file, with FILE for its path.
fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

/// The problems of a file and these variables.
fn problems_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let file = ConfigFile::new(text);
    let environment =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let sources = Sources { file: Some(file.0.path().into()), environment, flags: Vec::new() };
    let error = match load(&sources) {
        Ok(config) => panic!("{text} is valid: {config:?}"),
        Err(error) => error,
    };
    let path = file.0.path();
    error.problems.iter().map(|problem| problem.to_string().replace(path, "FILE")).collect()
}

/// The warnings of a valid file, with FILE for its path.
fn warnings(text: &str) -> Vec<String> {
    let file = ConfigFile::new(text);
    let path = file.0.path();
    let config = file.load().unwrap_or_else(|error| panic!("{text}: {error}"));
    config.warnings.iter().map(|warning| warning.replace(path, "FILE")).collect()
}

#[test]
fn values_from_the_file() {
    let cases = [
        (
            "listen = 'localhost'\n",
            "FILE:2: listen = \"localhost\": expected an IP address and a port, such as 127.0.0.1:8080 or \
             [::1]:8080",
        ),
        ("admin_token = ''\n", "FILE:2: admin_token = (masked): expected a text that is not empty"),
        ("host = 'both'\n", "FILE:2: host = \"both\": expected one of keep, upstream"),
        ("workers = 0\n", "FILE:2: workers = 0: expected a whole number from 1 to 1024"),
        (
            "max_models = 'many'\n",
            "FILE:2: max_models = \"many\": expected a whole number from 0 to 10000",
        ),
        ("stall_seconds = 0\n", "FILE:2: stall_seconds = 0: expected seconds, from 0.1 to 3600"),
        (
            "ttft_by_input_size = 'maybe'\n",
            "FILE:2: ttft_by_input_size = \"maybe\": expected true or false",
        ),
        ("models = [7]\n", "FILE:2: models = [...]: expected a list of strings"),
        (
            "engine = 'a b'\n",
            "FILE:2: engine = \"a b\": expected 1 to 64 letters, digits, or any of . _ - : /",
        ),
        (
            "health_path = 'health'\n",
            "FILE:2: health_path = \"health\": expected a path of printable ASCII characters, such as /health",
        ),
        ("ca_file = ''\n", "FILE:2: ca_file = \"\": expected the path of a file"),
        (
            "request_log = ''\n",
            "FILE:2: request_log = \"\": expected the path of a file, or - for standard output",
        ),
        (
            "[buckets]\nttft = [1]\n",
            "FILE:3: buckets: \"ttft\" is not a set of bucket edges; the sets are first_token, per_token, gap, \
             duration, latency, connect, tokens, characters_per_second, tokens_per_chunk, burst_ratio, own_cost",
        ),
        (
            "[buckets]\ngap = [2, 1]\n",
            "FILE:3: buckets: gap must be a list of 1 to 64 numbers above 0, in ascending order",
        ),
        ("tls_cert = 'c.pem'\n", "FILE:2: tls_key: required, because tls_cert is set"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&format!("{UPSTREAM}{text}")), [expected], "{text}");
    }
}

#[test]
fn the_url_of_the_upstream() {
    let cases = [
        (
            "https://api.example.com/v1",
            "the URL must not have a path, because clients' paths are forwarded unchanged",
        ),
        ("ftp://h", "the URL must begin with http://, https:// or unix:/"),
        ("127.0.0.1:8000", "the URL must begin with http://, https:// or unix:/"),
        ("unix:vllm.sock", "the path of a socket must begin with /"),
        (
            "http://user:secret@h",
            "the URL must not contain a user or password, because clients send their own credentials",
        ),
        ("http://h:99999", "the port is not a number from 0 to 65535"),
    ];
    for (url, expected) in cases {
        let expected = format!(
            "FILE:1: upstream = \"{url}\": {expected}; expected http://HOST[:PORT], https://HOST[:PORT] or \
             unix:/PATH"
        );
        assert_eq!(problems(&format!("upstream = '{url}'\n")), [expected]);
    }
    assert_eq!(
        problems(""),
        [
            "upstream: required: the URL of the inference server, such as --upstream http://127.0.0.1:8000, or \
             [[proxies]] tables in the file"
        ]
    );
}

#[test]
fn unknown_keys() {
    let cases = [
        ("upstrem = 'x'\n", "FILE:2: upstrem: unknown key; did you mean \"upstream\"?"),
        ("Listen = 'x'\n", "FILE:2: Listen: unknown key; did you mean \"listen\"?"),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\nttft_second = 1\n",
            "FILE:5: slo[0].ttft_second: unknown key; did you mean \"ttft_seconds\"?",
        ),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\nworkers = 1\n",
            "FILE:5: slo[0].workers: not allowed in this table; set it at the top of the file",
        ),
        (
            "slo = [{ name = 'a', ttft_seconds = 1, sizes = [{ up_to_tokens = 9, tpot_seconds = 1, x = 1 }] }]\n",
            "FILE:2: slo[0].sizes[0].x: unknown key; the known keys are up_to_tokens, ttft_seconds, \
             tpot_seconds, latency_seconds, max_gap_seconds, normalized_seconds",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&format!("{UPSTREAM}{text}")), [expected], "{text}");
    }
    let found = problems(&format!("{UPSTREAM}quux = 1\n"));
    let start = "FILE:2: quux: unknown key; the known keys are listen, upstream, name, http2, ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:?}");
}

#[test]
fn values_from_the_environment_and_from_flags() {
    let cases = [
        (
            ("STREAMGAUGE__LISTEN", "1"),
            "STREAMGAUGE__LISTEN = \"1\": expected an IP address and a port, such as 127.0.0.1:8080 or \
             [::1]:8080",
        ),
        (
            ("STREAMGAUGE__UPSTREM", "x"),
            "STREAMGAUGE__UPSTREM: unknown key; did you mean STREAMGAUGE__UPSTREAM?",
        ),
        (
            ("STREAMGAUGE__LABELS__GPU__COUNT", "2"),
            "STREAMGAUGE__LABELS__GPU__COUNT: the value of \"gpu\" is not a text; write it in quotes",
        ),
        (
            ("STREAMGAUGE__BUCKETS__GAP", "fast"),
            "STREAMGAUGE__BUCKETS__GAP: gap must be a list of 1 to 64 numbers above 0, in ascending order",
        ),
        (
            ("STREAMGAUGE__PROXIES", "a"),
            "STREAMGAUGE__PROXIES = \"a\": expected [[proxies]] tables in the file",
        ),
    ];
    for (variable, expected) in cases {
        let file = if variable.0.ends_with("PROXIES") { "" } else { UPSTREAM };
        assert_eq!(problems_with(file, &[variable]), [expected]);
    }
    let flags = vec![("log_level", "loud".into()), ("upstream", "http://h".into())];
    let error = load(&Sources { flags, ..Sources::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration has an error:\n  --log-level = \"loud\": expected one of error, warn, info, debug, \
         trace"
    );
}

#[test]
fn proxies() {
    let proxy = |name: &str, listen: u16, upstream: u16| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:{listen}'\nupstream = 'http://127.0.0.1:{upstream}'\n"
        )
    };
    let cases = [
        (
            format!("listen = '127.0.0.1:1'\n{}", proxy("a", 1, 2)),
            "FILE:1: listen: not allowed beside [[proxies]]; set it in each [[proxies]] table",
        ),
        (
            proxy("a", 1, 2) + &proxy("a", 3, 4),
            "FILE:6: proxies[].name = a: another proxy has this name; each proxy needs its own",
        ),
        (
            proxy("a", 1, 2) + &proxy("b", 1, 4),
            "FILE:7: listen = 127.0.0.1:1: another proxy uses this address already; choose another port",
        ),
        (
            proxy("a", 9464, 2),
            "FILE:3: listen = 127.0.0.1:9464: the admin port uses this address already; choose another port",
        ),
        (
            proxy("a", 1, 2) + &proxy("b", 2, 4),
            "FILE:4: upstream = http://127.0.0.1:2: Streamgauge itself listens on 127.0.0.1:2, so requests \
             would loop. If the server uses this port (llama-server does by default), choose another port for \
             Streamgauge, such as --listen 127.0.0.1:3",
        ),
        (
            "[[proxies]]\nname = 'a'\nlisten = '127.0.0.1:1'\n".into(),
            "FILE:1: proxies[0].upstream: required",
        ),
        (
            proxy("a", 1, 2) + "tls_cert = 'c.pem'\n",
            "FILE:5: proxies[0].tls_key: required, because tls_cert is set",
        ),
        (
            proxy("a", 1, 2) + "http2 = 'yes'\n",
            "FILE:5: proxies[0].http2 = \"yes\": expected one of auto, always, never",
        ),
        (
            proxy("a", 1, 2) + "admin = 'x'\n",
            "FILE:5: proxies[0].admin: not allowed in this table; set it at the top of the file",
        ),
        ("proxies = 7\n".into(), "FILE:1: proxies = 7: expected [[proxies]] tables in the file"),
        ("proxies = []\n".into(), "FILE:1: proxies = []: expected at least one [[proxies]] table"),
        ("proxies = [7]\n".into(), "FILE:1: proxies[0] = 7: expected a table"),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&text), [expected], "{text}");
    }
}

#[test]
fn an_upstream_that_is_the_own_listener() {
    let expected = "FILE:1: upstream = http://127.0.0.1:8080: Streamgauge itself listens on 127.0.0.1:8080, so \
                    requests would loop. If the server uses this port (llama-server does by default), choose \
                    another port for Streamgauge, such as --listen 127.0.0.1:8081";
    assert_eq!(problems("upstream = 'http://127.0.0.1:8080'\n"), [expected]);
}

#[test]
fn objectives() {
    let targets =
        "ttft_seconds, tpot_seconds, latency_seconds, max_gap_seconds, normalized_seconds";
    let no_limit = |line: usize, key: &str| {
        format!("FILE:{line}: {key}: the table has no limit; set at least one of {targets}")
    };
    let cases: [(String, Vec<String>); 8] = [
        ("slo = 'off'\n".into(), vec!["FILE:2: slo = \"off\": expected a list of tables".into()]),
        ("slo = [7]\n".into(), vec!["FILE:2: slo[0] = 7: expected a table".into()]),
        ("[[slo]]\n".into(), vec!["FILE:2: slo[0].name: required".into(), no_limit(2, "slo[0]")]),
        (
            "[[slo]]\nname = 'a b'\nttft_seconds = -1\ntpot_seconds = 'fast'\nmodels = 7\n\
             operations = ['chat', 'other']\nupstreams = ['gpu', '127.0.0.1:8000']\n"
                .into(),
            vec![
                "FILE:6: slo[0].models = 7: expected a list of strings".into(),
                "FILE:3: slo[0].name = \"a b\": expected 1 to 64 letters, digits, or any of . _ - : /".into(),
                "FILE:5: slo[0].tpot_seconds = \"fast\": expected seconds, from 0.000001 to 86400".into(),
                "FILE:4: slo[0].ttft_seconds = -1: expected seconds, from 0.000001 to 86400".into(),
                "FILE:7: slo[0].operations = \"other\": expected one of chat, text_completion, generate_content, \
                 embeddings, rerank, score, classify, moderation, transcription, speech, image, \
                 realtime, infer"
                    .into(),
                "FILE:8: slo[0].upstreams = \"gpu\": expected one of 127.0.0.1:8000".into(),
            ],
        ),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\n[[slo]]\nname = 'a'\nttft_seconds = 1\n".into(),
            vec!["FILE:6: slo[1].name = a: another class has this name; each class needs its own".into()],
        ),
        (
            "[[slo]]\nname = 'a'\nttft_seconds = 1\nsizes = [{}, {up_to_tokens = 0, tpot_seconds = 1}, \
             {up_to_tokens = 9, tpot_seconds = 1}, {up_to_tokens = 9, tpot_seconds = 2}, 7]\n"
                .into(),
            vec![
                no_limit(5, "slo[0].sizes[0]"),
                "FILE:5: slo[0].sizes[0].up_to_tokens: required".into(),
                "FILE:5: slo[0].sizes[1].up_to_tokens = 0: expected a whole number from 1 to 1000000000".into(),
                "FILE:5: slo[0].sizes[3].up_to_tokens = 9: another size of this class has the same limit; give \
                 each its own"
                    .into(),
                "FILE:5: slo[0].sizes[4] = 7: expected a table".into(),
            ],
        ),
        (
            (0..9).fold(String::new(), |text, i| {
                text + &format!("[[slo]]\nname = 's{i}'\nlatency_seconds = 1\n")
            }),
            vec!["FILE:2: slo = 9 tables: at most 8 classes are allowed".into()],
        ),
        (
            (1..9).fold("[[slo]]\nname = 'a'\nttft_seconds = 9\n".to_owned(), |text, i| {
                text + &format!("[[slo.sizes]]\nup_to_tokens = {i}\nttft_seconds = {i}\n")
            }),
            vec![
                "FILE:2: slo[].ttft_seconds = 9: at most 8 different limits are allowed over all classes and \
                 sizes, because each is a bucket edge"
                    .into(),
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&format!("{UPSTREAM}{text}")), expected, "{text}");
    }
}

#[test]
fn apis() {
    let labels = "chat, text_completion, generate_content, embeddings, rerank, score, classify, \
                  moderation, transcription, speech, image, realtime, infer";
    let start = "[[api]]\nname = 'a'\npath = '/a'\n";
    let cases: [(String, Vec<String>); 21] = [
        ("api = 'x'\n".into(), vec!["FILE:2: api = \"x\": expected a list of tables".into()]),
        ("api = [7]\n".into(), vec!["FILE:2: api[0] = 7: expected a table".into()]),
        (
            "[[api]]\n".into(),
            vec![
                "FILE:2: api[0].name: required".into(),
                "FILE:2: api[0].path: required".into(),
                "FILE:2: api[0]: the table does not describe the responses; set like to the name of an API, or \
                 the places of the values: text, reasoning, tool_arguments, tool_name, input_tokens, \
                 output_tokens, cached_tokens, reasoning_tokens, model, finish_reason, error, end"
                    .into(),
            ],
        ),
        // Everything that is wrong with a table is reported at once.
        (
            "[[api]]\nname = 'openai-chat'\npath = '/a/'\nmethod = 'post'\noperation = 'talk'\n\
             text = ['choices', '/b~c']\nmodel = 7\n"
                .into(),
            vec![
                "FILE:5: api[0].method = \"post\": expected one of POST, GET, PUT".into(),
                "FILE:8: api[0].model = 7: expected a JSON pointer, such as /choices/0/text, or a list of them"
                    .into(),
                "FILE:3: api[0].name = \"openai-chat\": Streamgauge has an API of this name already; choose \
                 another"
                    .into(),
                format!("FILE:6: api[0].operation = \"talk\": expected one of {labels}"),
                "FILE:7: api[0].text = \"choices\": a JSON pointer begins with /, such as \
                 /choices/0/delta/content"
                    .into(),
                "FILE:7: api[0].text = \"/b~c\": in a JSON pointer, ~ must be written ~0, and / within a name ~1"
                    .into(),
                "FILE:4: api[0].path = \"/a/\": remove the / at the end; it also matches paths with a / at the \
                 end"
                    .into(),
            ],
        ),
        (
            format!("{start}text = '/a'\nlike = 'openai-chat'\n"),
            vec![
                "FILE:5: api[0].text: not allowed beside like, which names an API with all its places; remove \
                 one of them"
                    .into(),
            ],
        ),
        (
            format!("{start}cumulative = true\nlike = 'openai-chat'\n"),
            vec![
                "FILE:5: api[0].cumulative: not allowed beside like, whose API decides it; remove one of them"
                    .into(),
            ],
        ),
        (
            format!("{start}like = 'openai-cht'\n"),
            vec![
                "FILE:5: api[0].like = \"openai-cht\": unknown API; did you mean \"openai-chat\"?".into(),
            ],
        ),
        (
            format!("{start}text = '/a'\nmodel = '/a'\n"),
            vec![
                "FILE:6: api[0].model = \"/a\": this place is already used for text; each place can have one \
                 meaning"
                    .into(),
            ],
        ),
        (
            format!("{start}text = '/a/b'\ntool_arguments = '/a'\n"),
            vec![
                "FILE:6: api[0].tool_arguments = \"/a\": tool_arguments takes the whole value of its place, so \
                 no other place can be inside of it"
                    .into(),
            ],
        ),
        (
            format!("{start}text = '/1/2/3/4/5/6/7/8/9/10/11/12'\n"),
            vec![
                "FILE:5: api[0].text = \"/1/2/3/4/5/6/7/8/9/10/11/12\": the pointer has 12 steps; at most 11 are \
                 allowed"
                    .into(),
            ],
        ),
        (
            format!("{start}model = '/a[b=c]'\ntext = ['/a[b]', '/t[b=c]', '/u[b=c]']\n"),
            vec![
                "FILE:6: api[0].text = \"/a[b]\": a condition is written [NAME=TEXT] after a name, such as \
                 /content[type=message]"
                    .into(),
                "FILE:6: api[0].text = \"/u[b=c]\": all places with a condition in one object must have the \
                 same name and test the same member"
                    .into(),
                "FILE:5: api[0].model = \"/a[b=c]\": only the places of text and reasoning can have a condition"
                    .into(),
            ],
        ),
        (
            format!("{start}txt = '/a'\nlike = 'tgi'\n"),
            vec!["FILE:5: api[0].txt: unknown key; did you mean \"text\"?".into()],
        ),
        (
            format!("{start}workers = 1\nlike = 'tgi'\n"),
            vec![
                "FILE:5: api[0].workers: not allowed in this table; set it at the top of the file".into(),
            ],
        ),
        (
            format!("{start}like = 'tgi'\n[[api]]\nname = 'a'\npath = '/b'\nlike = 'tgi'\n"),
            vec!["FILE:7: api[1].name = \"a\": another API has this name; each API needs its own".into()],
        ),
        (
            format!("{start}like = 'tgi'\n[[api]]\nname = 'b'\npath = '/a'\nlike = 'tgi'\n"),
            vec!["FILE:8: api[1].path = \"/a\": another API has this path; a request can have only one".into()],
        ),
        (
            format!("{start}operation = 'realtime'\ntext = '/a'\n"),
            vec![
                "FILE:5: api[0].operation = \"realtime\": sessions over a WebSocket need like = \
                 \"openai-realtime\""
                    .into(),
            ],
        ),
        path_case("/*", "the path needs a part without wildcards; otherwise it matches every request"),
        path_case("/a?b", "the path must not contain ? or #; only the path of a URL is compared"),
        path_case("/a-*", "* and {model} must be at the start of a segment, such as /models/{model}:run"),
        path_case("/{id}/x", "the only word in braces is {model}; use * for any other text"),
        (
            "[[api]]\nname = 'a'\npath = 'a'\nlike = 'tgi'\n".into(),
            vec![
                "FILE:4: api[0].path = \"a\": expected a path of printable ASCII characters, such as /health"
                    .into(),
            ],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&format!("{UPSTREAM}{text}")), expected, "{text}");
    }
}

/// A table with this path, and its only problem.
fn path_case(path: &str, message: &str) -> (String, Vec<String>) {
    (
        format!("[[api]]\nname = 'a'\npath = '{path}'\nlike = 'tgi'\n"),
        vec![format!("FILE:4: api[0].path = {path:?}: {message}")],
    )
}

#[test]
fn labels() {
    let many: String = (0..9).map(|i| format!("l{i} = 'x'\n")).collect();
    let cases = [
        (
            "gpu-count = '2'\n".to_owned(),
            "FILE:3: labels: \"gpu-count\" is not a label name; use letters, digits and _, and no digit at the \
             beginning",
        ),
        (
            "2gpu = 'x'\n".into(),
            "FILE:3: labels: \"2gpu\" is not a label name; use letters, digits and _, and no digit at the \
             beginning",
        ),
        (
            "__gpu = 'x'\n".into(),
            "FILE:3: labels: \"__gpu\" is a label that Prometheus or Streamgauge sets itself; choose another \
             name",
        ),
        (
            "instance = 'x'\n".into(),
            "FILE:3: labels: \"instance\" is a label that Prometheus or Streamgauge sets itself; choose another \
             name",
        ),
        (
            "gpu = \"a\\u0085b\"\n".into(),
            "FILE:3: labels: the value of \"gpu\" has a control character or an invisible one: \"a\\u{85}b\"",
        ),
        (
            "gpu = ['x']\n".into(),
            "FILE:3: labels: the value of \"gpu\" is not a text; write it in quotes",
        ),
        (
            format!("gpu = '{}'\n", "x".repeat(129)),
            "FILE:3: labels: the value of \"gpu\" has 129 bytes; at most 128 are allowed",
        ),
        (
            many.clone(),
            "FILE:2: labels = {...}: the table has 9 labels; expected a table of at most 8 labels",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(problems(&format!("{UPSTREAM}[labels]\n{text}")), [expected], "{text}");
    }
    // The label names of all proxies share a metric family.
    let proxy = |name: &str, port: u16, labels: &str| {
        format!(
            "[[proxies]]\nname = '{name}'\nlisten = '127.0.0.1:{port}'\nupstream = 'http://127.0.0.1:1'\n\
             [proxies.labels]\n{labels}"
        )
    };
    let (few, more) = many.split_at(many.len() / 3);
    let file = format!("[labels]\nzone = 'z'\n{}{}", proxy("a", 3, few), proxy("b", 4, more));
    assert_eq!(
        problems(&file),
        [
            "proxies[].labels: the proxies use 10 different label names; at most 8 are allowed in total"
        ]
    );
}

#[test]
fn a_key_after_the_labels_table_gets_a_warning() {
    assert_eq!(
        warnings(&format!("{UPSTREAM}[labels]\ngpu = 'L4'\nworkers = 4\n")),
        [
            "FILE:4: the label \"workers\" has the name of a configuration key. If you meant the key, move the line \
          above [labels]: TOML adds every line after it to the labels"
        ]
    );
    assert_eq!(warnings(&format!("{UPSTREAM}[labels]\ngpu = 'L4'\n")), [""; 0]);
    // A label that metrics also use is an error, with the same warning.
    let file = ConfigFile::new("[labels]\nupstream = 'http://127.0.0.1:8000'\n");
    let error = file.load().unwrap_err();
    assert_eq!(error.warnings.len(), 1, "{error:?}");
    assert!(
        error.warnings[0].contains("the label \"upstream\" has the name of a configuration key")
    );
}

#[test]
fn an_unknown_engine_gets_a_warning() {
    assert_eq!(
        warnings(&format!("{UPSTREAM}engine = 'vlm'\n")),
        [
            "FILE:2: engine = \"vlm\" is not an engine or vendor that Streamgauge knows; did you mean \"vllm\"? It \
          is used as the label gen_ai_provider_name unchanged"
        ]
    );
    for engine in ["auto", "unknown", "vllm", "llama.cpp"] {
        assert_eq!(warnings(&format!("{UPSTREAM}engine = '{engine}'\n")), [""; 0]);
    }
}

#[test]
fn a_file_that_cannot_be_used() {
    let missing = Sources { file: Some("/nonexistent.toml".into()), ..Sources::default() };
    assert_eq!(
        load(&missing).unwrap_err().to_string(),
        "the configuration has an error:\n  config = /nonexistent.toml: cannot read the file (No such file or \
         directory (os error 2)); check the path in --config or STREAMGAUGE_CONFIG"
    );
    let found = problems("listen = \n");
    assert!(
        found[0].starts_with("config = FILE: TOML parse error at line 1, column 10\n"),
        "{found:?}"
    );
}
