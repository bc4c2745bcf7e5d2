//! Scrapes of `/metrics`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends a GET request and returns the body.
pub fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&tail[..size]);
        rest = &tail[size..][2..];
    }
    whole
}

/// The samples of one scrape, by `name{labels}` with the labels sorted.
#[derive(Debug, Clone, Default)]
pub struct MetricsScrape(pub BTreeMap<String, f64>);

impl MetricsScrape {
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        Self(
            samples
                .map(|line| {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    (series.to_owned(), value.parse().unwrap_or(f64::NAN))
                })
                .collect(),
        )
    }

    /// Sum of the series with this name whose labels contain all of these (`outcome="ok"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let has = |series: &str| {
            let (series_name, rest) = series.split_once('{').unwrap_or((series, ""));
            series_name == name && labels.iter().all(|label| rest.contains(label))
        };
        self.0.iter().filter(|(series, _)| has(series)).map(|(_, value)| value).sum()
    }

    /// Whether any series has this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.keys().any(|series| series.split('{').next() == Some(name))
    }

    /// Fails if a counter or a part of a histogram is lower than in an earlier scrape.
    pub fn assert_not_below(&self, earlier: &Self) {
        for (series, before) in &earlier.0 {
            let name = series.split('{').next().unwrap_or_default();
            let counts =
                ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
            if counts && !name.starts_with("process_") {
                let now = self.0.get(series).copied().unwrap_or(f64::NAN);
                assert!(now >= *before, "{series} fell from {before} to {now}");
            }
        }
    }
}
