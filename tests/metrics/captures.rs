//! Raw responses of real servers, read as the proxy reads them. The files are beside the corpus:
//! `captures/SERVER/CASE.raw` has the bytes from the socket, and `CASE.req` the request as it was sent or as
//! a curl command.

use crate::support::connection::dechunk;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use streamgauge_core::dialect::Dialect;
use streamgauge_core::dialect::route::Route;
use streamgauge_core::meter::{Arrival, RequestRecord, ResponseMeter};

/// A request and its response.
struct CapturedResponse {
    name: String,
    method: String,
    path: String,
    status: u16,
    content_type: String,
    body: Vec<u8>,
    /// Whether the last chunk, or all of the declared length, was received.
    is_whole: bool,
}

impl CapturedResponse {
    fn read(raw: &Path) -> Self {
        let request = fs::read_to_string(raw.with_extension("req")).unwrap();
        let (method, path) = request_line(&request);
        let bytes = fs::read(raw).unwrap();
        let (head, body) = split_response(&bytes);
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(field, _)| field.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let is_chunked = field("transfer-encoding").is_some();
        let length = field("content-length").map(|length| length.parse::<usize>().unwrap());
        Self {
            name: format!(
                "{}/{}",
                raw.parent().unwrap().file_name().unwrap().display(),
                raw.file_stem().unwrap().display()
            ),
            method,
            path,
            status: head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0),
            content_type: field("content-type").unwrap_or_default(),
            is_whole: if is_chunked {
                body.ends_with(b"0\r\n\r\n")
            } else {
                length.is_none_or(|length| length == body.len())
            },
            body: if is_chunked { dechunk(body) } else { body.to_vec() },
        }
    }

    fn dialect(&self) -> Option<&'static Dialect> {
        let dialect = Route::find(&self.method, &self.path).dialect();
        dialect.filter(|_| self.status == 200)
    }

    fn meter(&self, dialect: &'static Dialect) -> ResponseMeter {
        let mut meter = ResponseMeter::new(dialect, self.content_type.as_bytes(), b"").unwrap();
        for (read, piece) in self.body.chunks(900).enumerate() {
            let at = Duration::from_millis(read as u64);
            let arrival = Arrival::on_time(at, read as u64);
            meter.push(arrival, piece, &mut |_| {});
        }
        meter.finish(self.is_whole, &mut |_| {});
        meter
    }

    /// The JSON documents in the body.
    fn documents(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        match serde_json::from_str(&text) {
            Ok(document) => vec![document],
            Err(_) => {
                let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
                data.filter_map(|data| serde_json::from_str(data).ok()).collect()
            }
        }
    }

    /// Number of output tokens that the body reports: the last count, or the sum over choices.
    fn reported(&self) -> Option<u64> {
        let documents = self.documents();
        let places =
            ["/usage/completion_tokens", "/usage/output_tokens", "/response/usage/output_tokens"];
        let counts = |place: &str| {
            let mut found = documents
                .iter()
                .filter_map(|event| event.pointer(place)?.as_u64())
                .collect::<Vec<_>>();
            // llama.cpp reports a count per choice, once; others report the sum, more than once.
            let each = self.name.starts_with("llama.cpp") && self.path.ends_with("/completions");
            if each { Some(found.iter().sum()).filter(|sum| *sum > 0) } else { found.pop() }
        };
        places.iter().find_map(|place| counts(place)).or_else(|| {
            let last =
                |place| documents.iter().rev().find_map(|event| event.pointer(place)?.as_u64());
            let ended = documents.iter().filter(|event| {
                event.pointer("/choices/0/finish_reason").is_some_and(Value::is_string)
            });
            let each = ended.filter_map(|event| event.pointer("/timings/predicted_n")?.as_u64());
            let sum = Some(each.sum()).filter(|sum| *sum > 0);
            last("/tokens_predicted").or(sum).or(last("/timings/predicted_n"))
        })
    }
}

/// The method and path of a request.
fn request_line(request: &str) -> (String, String) {
    let mut words = request.split_whitespace();
    if words.next() != Some("curl") {
        let mut words = request.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        return (word(), word());
    }
    let url = request.split_whitespace().rfind(|word| word.starts_with("http://")).unwrap();
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let method = words.skip_while(|word| *word != "-X").nth(1).unwrap_or("GET");
    (method.to_owned(), format!("/{path}"))
}

/// The headers and the body of the final response.
fn split_response(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.map_or(bytes.len(), |at| at + 4));
    if head.starts_with(b"HTTP/1.1 1") {
        split_response(body)
    } else {
        (String::from_utf8_lossy(head).into_owned(), body)
    }
}

fn captures() -> Option<Vec<CapturedResponse>> {
    let folder: PathBuf = crate::support::corpus::file()?.parent()?.parent()?.join("captures");
    let Ok(servers) = fs::read_dir(&folder) else {
        crate::support::skip(&format!("there is no {}", folder.display()));
        return None;
    };
    let files =
        servers.flatten().filter_map(|server| fs::read_dir(server.path()).ok()).flatten().flatten();
    let mut raw: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|e| e == "raw"))
        .collect();
    raw.sort();
    Some(raw.iter().map(|path| CapturedResponse::read(path)).collect())
}

#[test]
fn captured_responses_are_read_completely() {
    let Some(captures) = captures() else { return };
    let mut read = 0;
    for capture in &captures {
        let name = &capture.name;
        let Some(dialect) = capture.dialect() else {
            println!("{name}: {} {}, not read", capture.status, capture.path);
            continue;
        };
        read += 1;
        let meter = capture.meter(dialect);
        let tally = meter.tally();
        let mut record = RequestRecord::default();
        record.fill_from_response(tally, meter.is_stream(), Duration::ZERO);
        println!(
            "{name}: {}, first output {:?} of {:?}, {:?} + {:?} tokens, {:?}",
            meter.dialect(),
            record.first_output_event,
            record.events,
            record.input_tokens,
            record.output_tokens,
            record.finish_reasons,
        );
        assert_eq!(record.unparsed, 0, "{name}");
        assert!(!tally.has_error, "{name}");
        if meter.is_stream() {
            assert!(!capture.is_whole || tally.is_complete(), "{name} was cut off");
        }
        if meter.is_stream() && capture.is_whole {
            assert!(tally.first_output.is_some(), "{name} has no output");
        }
        if let Some(reported) = capture.reported() {
            assert_eq!(record.output_tokens, Some(reported), "{name}");
        }
    }
    println!("{read} of {} captures were read", captures.len());
    assert!(read > 50, "only {read} captures were read");
}
