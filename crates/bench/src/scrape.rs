//! What Streamgauge counted: a measurement of a meter that did not measure would be worth nothing.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

const PATIENCE: Duration = Duration::from_secs(5);

/// What went through a proxy: as its own metrics tell it, or as the load clients saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that ended well.
    pub requests: u64,
    /// Output tokens.
    pub tokens: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests and {} output tokens", self.requests, self.tokens)
    }
}

/// What the metrics at `admin` tell.
pub async fn counts(admin: SocketAddr) -> Result<Counts, Error> {
    let exposition = get(admin, "/metrics").await?;
    Ok(Counts {
        requests: sum(&exposition, "streamgauge_requests_total{", "outcome=\"ok\""),
        tokens: sum(&exposition, "streamgauge_tokens_total{", "type=\"output\""),
    })
}

/// A page of the admin port.
pub async fn get(admin: SocketAddr, path: &str) -> Result<String, Error> {
    let mut response = String::new();
    timeout(PATIENCE, async {
        let mut socket = TcpStream::connect(admin).await?;
        // HTTP/1.0, so that the end of the connection is the end of the body.
        let request = format!("GET {path} HTTP/1.0\r\nhost: {admin}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        socket.read_to_string(&mut response).await
    })
    .await
    .map_err(|_| format!("{admin}{path} does not answer"))??;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    if head.split(' ').nth(1) != Some("200") {
        return Err(format!("{admin}{path}: {}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.to_owned())
}

/// The sum over all label sets of the counter `name` with this label.
fn sum(exposition: &str, name: &str, label: &str) -> u64 {
    let series = exposition.lines().filter(|line| line.starts_with(name));
    let values = series
        .filter(|line| line.contains(label))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn adds_up_the_series_with_the_label() {
        let text = "# TYPE a_total counter\n\
                    a_total{model=\"a\",type=\"output\"} 12\n\
                    a_total{model=\"b\",type=\"output\"} 3e2\n\
                    a_total{model=\"a\",type=\"input\"} 7\n\
                    a_total_more{type=\"output\"} 9\n";
        assert_eq!(super::sum(text, "a_total{", "type=\"output\""), 312);
    }
}
