//! The recorded streams.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use streamgauge_core::dialect::Dialect;
use streamgauge_core::dialect::route::Route;

/// The files of recorded streams, if this machine has them. Prints a line if not.
pub fn files() -> Vec<PathBuf> {
    let folder = std::env::var_os("STREAMGAUGE_CORPUS").map(PathBuf::from);
    let files = ["streams.jsonl.gz", "streams-2.jsonl.gz"];
    let files = folder.iter().flat_map(|folder| files.map(|file| folder.join(file)));
    let files: Vec<PathBuf> = files.filter(|file| Path::exists(file)).collect();
    if files.is_empty() {
        super::skip("STREAMGAUGE_CORPUS names no folder with streams.jsonl.gz");
    }
    files
}

/// A recorded response.
pub struct RecordedStream {
    pub id: String,
    /// Dialect by the name in the label.
    pub dialect: String,
    /// `A` to `D`; streams of `C` and `D` are hand-made.
    pub tier: String,
    pub path: Option<String>,
    pub content_type: String,
    pub body: Vec<u8>,
    pub label: Value,
}

impl RecordedStream {
    fn new(mut stream: Value) -> Self {
        let text = |key: &str| stream[key].as_str().map(str::to_owned);
        let body = text("body").unwrap();
        let headers = stream["headers"].as_object();
        let content_type = headers.and_then(|headers| {
            let mut types =
                headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            types.next()?.1.as_str().map(str::to_owned)
        });
        Self {
            id: text("id").unwrap(),
            dialect: text("dialect").unwrap(),
            tier: stream["label"]["tier"].as_str().unwrap().to_owned(),
            path: text("url_path"),
            content_type: content_type.unwrap_or_default(),
            body: if stream["body_base64"] == true { base64(&body) } else { body.into_bytes() },
            label: stream["label"].take(),
        }
    }

    /// Whether the stream is as recorded, so that its label counts.
    pub fn is_scored(&self) -> bool {
        matches!(&*self.tier, "A" | "B")
    }

    /// The dialect that the proxy uses for the stream's path, or the label's dialect if the path was not
    /// recorded.
    pub fn route(&self) -> Option<&'static Dialect> {
        let path = self.path.as_ref().map(|path| path.split('?').next().unwrap());
        let by_path = path.and_then(|path| {
            ["POST", "GET"].into_iter().find_map(|method| Route::find(method, path).dialect())
        });
        by_path.or_else(|| Dialect::by_name(&self.dialect))
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

/// The recorded streams, if this machine has them. `STREAMGAUGE_CORPUS_DIALECT` selects those of one dialect.
pub fn streams() -> Option<Vec<RecordedStream>> {
    let files = files();
    let lines = files.iter().flat_map(|file| {
        BufReader::new(GzDecoder::new(File::open(file).unwrap())).lines().map(Result::unwrap)
    });
    let all = lines.map(|line| RecordedStream::new(serde_json::from_str(&line).unwrap()));
    let wanted = std::env::var("STREAMGAUGE_CORPUS_DIALECT").ok();
    let streams: Vec<RecordedStream> =
        all.filter(|stream| wanted.as_ref().is_none_or(|name| *name == stream.dialect)).collect();
    (!files.is_empty()).then_some(streams)
}
