//! Responses that users reported because a meter, gateway or SDK read them wrongly.
//!
//! Each file in `tests/field_reports` is a list of cases. The bodies are written anew from the reports that `source`
//! names. A case has a request (`method`, `path`, `request`), the response (`ct` is its content type, null if it has none)
//! and the fields of the request log that are certain (`want`). `why` says what went wrong.
//!
//! `taught` describes an API that only its users know: the keys of its `[[api]]` table, and the fields of the request log
//! with this table. Without the table, the `want` of the case holds.

use crate::support::connection::chunk;
use crate::support::{RawConnection, RawMessage, ScriptedUpstream, Streamgauge, chat};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Defines one test for each file.
macro_rules! replayed {
    ($($file:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(stringify!($file)),*];
        $(
            #[test]
            fn $file() {
                replay(stringify!($file));
            }
        )*
    };
}

replayed!(
    compressed_requests,
    content_types,
    failures_that_look_like_successes,
    new_apis,
    new_content,
    paths,
    repeats,
    taught_apis,
    unknown_streams,
    usage,
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "post")]
    method: String,
    path: String,
    /// Content type of the response.
    ct: Option<String>,
    /// Other headers of the response.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "success")]
    status: u16,
    /// Body of the request. The default asks for a stream.
    request: Option<Value>,
    /// Body of the request, if it is not JSON.
    request_b64: Option<String>,
    #[serde(default)]
    request_headers: BTreeMap<String, String>,
    body: Option<String>,
    /// Body of the response, if it is not text.
    body_b64: Option<String>,
    /// Expected values of the request log, under the short names of [`log_field`].
    want: BTreeMap<String, Value>,
    taught: Option<TaughtApi>,
    why: String,
    source: String,
}

/// An API that the configuration describes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaughtApi {
    /// Keys of the `[[api]]` table, besides its name and path.
    api: BTreeMap<String, Value>,
    want: BTreeMap<String, Value>,
}

fn post() -> String {
    "POST".into()
}

fn success() -> u16 {
    200
}

fn header_lines(headers: &BTreeMap<String, String>) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

impl Case {
    fn request(&self, number: usize, piece_size: usize) -> Vec<u8> {
        let body = match (&self.request, &self.request_b64) {
            _ if self.method == "GET" => Vec::new(),
            (_, Some(body)) => BASE64.decode(body).unwrap(),
            (Some(body), None) => body.to_string().into_bytes(),
            (None, None) => json!({"model": "m", "stream": true}).to_string().into_bytes(),
        };
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nX-Case: {number}\r\n\
             X-Piece: {piece_size}\r\ntraceparent: 00-{}-00f067aa0ba902b7-01\r\n{}Content-Length: {}\r\n\r\n",
            self.method,
            self.path,
            trace_id(number, piece_size),
            header_lines(&self.request_headers),
            body.len(),
        );
        [head.into_bytes(), body].concat()
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_b64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(body)) => BASE64.decode(body).unwrap(),
            _ => panic!("{} needs one of body and body_b64", self.name),
        }
    }

    fn response(&self, piece_size: usize) -> Vec<u8> {
        let content_type = self.ct.iter().map(|ct| format!("Content-Type: {ct}\r\n"));
        let head = format!(
            "HTTP/1.1 {} Reported\r\n{}{}Transfer-Encoding: chunked\r\n\r\n",
            self.status,
            content_type.collect::<String>(),
            header_lines(&self.headers),
        );
        let chunks: Vec<u8> = self.body().chunks(piece_size).flat_map(chunk).collect();
        [head.as_bytes(), &chunks, chat::LAST_CHUNK.as_bytes()].concat()
    }

    /// The values of this line of the request log that differ from these.
    fn differences(&self, want: &BTreeMap<String, Value>, record: &Value) -> Vec<String> {
        let differences = want.iter().filter_map(|(key, wanted)| {
            let field = log_field(key).unwrap_or_else(|| panic!("{}: no key {key}", self.name));
            let found = &record[field];
            let is_same = match (key.as_str(), wanted) {
                ("unparsed", wanted) => (found.as_u64() > Some(0)) == (*wanted == true),
                _ => found == wanted,
            };
            (!is_same).then(|| format!("{field} {found}, wanted {wanted}"))
        });
        differences.collect()
    }
}

/// Field of the request log with this short name. `unparsed` is expected as true or false.
fn log_field(key: &str) -> Option<&'static str> {
    Some(match key {
        "first" => "first_output_event",
        "last" => "last_output_event",
        "n" => "output_events",
        "inp" => "input_tokens",
        "out" => "output_tokens",
        "text" => "answer_chars",
        "reason" => "reasoning_chars",
        "tool" => "tool_chars",
        "finish" => "finish_reasons",
        "outcome" => "outcome",
        "model" => "model",
        "unparsed" => "unparsed",
        _ => return None,
    })
}

/// Trace id of a case whose body arrives in pieces of this size.
fn trace_id(number: usize, piece_size: usize) -> String {
    format!("{:032x}", (number + 1) * 2 + usize::from(piece_size == 1))
}

fn number_in(request: &RawMessage, header: &str) -> usize {
    request.header(header)[0].parse().unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/field_reports")
}

/// Sends each case of a file through the proxy: the body at once, and again byte by byte.
fn replay(file: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{file}.json"))).unwrap();
    let cases: Arc<Vec<Case>> = Arc::new(serde_json::from_str(&text).unwrap());
    let scripted = Arc::clone(&cases);
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            let case = &scripted[number_in(&request, "X-Case")];
            if !connection.try_send(case.response(number_in(&request, "X-Piece"))) {
                return;
            }
        }
    });
    let gauge = Streamgauge::new(upstream.address);
    let sizes = [1 << 20, 1];
    for (number, case) in cases.iter().enumerate() {
        for size in sizes {
            let mut client = RawConnection::connect(gauge.proxy);
            client.send(case.request(number, size));
            assert_eq!(client.read_message().data(), case.body(), "bytes of {}", case.name);
        }
    }
    let records = gauge.requests_when(cases.len() * sizes.len());
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for (size, pieces) in sizes.into_iter().zip(["", " byte by byte"]) {
            let id = trace_id(number, size);
            let record = records.iter().find(|record| record["trace_id"] == *id).unwrap();
            let differences = case.differences(&case.want, record).join("; ");
            if !differences.is_empty() {
                let Case { name, why, source, .. } = case;
                failures.push(format!("{name}{pieces}: {differences}. {why} ({source})"));
            }
        }
    }
    let count = failures.len();
    assert!(failures.is_empty(), "{count} of {file} differ:\n{}", failures.join("\n"));
}

/// Each API that only its users know, with its `[[api]]` table.
#[test]
fn a_table_makes_an_api_readable() {
    let text = std::fs::read_to_string(folder().join("taught_apis.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    for case in &cases {
        let TaughtApi { api, want } = case.taught.as_ref().unwrap();
        for size in [1 << 20, 1] {
            let upstream = ScriptedUpstream::responding_with(case.response(size));
            let path = case.path.split('?').next().unwrap();
            let keys = api.iter().map(|(key, value)| format!("{key} = {value}\n"));
            let gauge = Streamgauge::with_file(&format!(
                "listen = '127.0.0.1:0'\nupstream = 'http://{}'\n[[api]]\nname = 'taught'\npath = '{path}'\n{}",
                upstream.address,
                keys.collect::<String>(),
            ));
            let mut client = RawConnection::connect(gauge.proxy);
            client.send(case.request(0, size));
            assert_eq!(client.read_message().data(), case.body(), "bytes of {}", case.name);
            let record = gauge.requests_when(1).remove(0);
            let differences = case.differences(want, &record);
            assert!(differences.is_empty(), "{}: {differences:?} ({})", case.name, case.source);
            assert_eq!(record["dialect"], "taught", "{}", case.name);
        }
    }
}

#[test]
fn every_file_is_replayed() {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}
