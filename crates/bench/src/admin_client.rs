//! Reads the counters of Streamgauge, because the cost counts only if it measured.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::BoxError;

const PATIENCE: Duration = Duration::from_secs(5);

/// Counts of a proxy, from its metrics or from the load generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterCounts {
    /// Completed requests.
    pub requests: u64,
    /// Output tokens.
    pub tokens: u64,
}

impl fmt::Display for MeterCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests and {} output tokens", self.requests, self.tokens)
    }
}

/// Reads the counts from the metrics at `admin`.
pub async fn counts(admin: SocketAddr) -> Result<MeterCounts, BoxError> {
    let exposition = get(admin, "/metrics").await?;
    Ok(MeterCounts {
        requests: sum(&exposition, "streamgauge_requests_total{", "outcome=\"ok\""),
        tokens: sum(&exposition, "streamgauge_tokens_total{", "type=\"output\""),
    })
}

/// Fetches a page of the admin port.
pub async fn get(admin: SocketAddr, path: &str) -> Result<String, BoxError> {
    let mut response = String::new();
    timeout(PATIENCE, async {
        let mut socket = TcpStream::connect(admin).await?;
        // With HTTP/1.0, the end of the connection ends the body.
        let request = format!("GET {path} HTTP/1.0\r\nhost: {admin}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        socket.read_to_string(&mut response).await
    })
    .await
    .map_err(|_| format!("{admin}{path} does not respond"))??;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    if head.split(' ').nth(1) != Some("200") {
        return Err(format!("{admin}{path}: {}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.to_owned())
}

/// Sums the series of the counter `name` with this label.
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
    fn series_with_the_label_are_summed() {
        let text = "# TYPE a_total counter\n\
                    a_total{model=\"a\",type=\"output\"} 12\n\
                    a_total{model=\"b\",type=\"output\"} 3e2\n\
                    a_total{model=\"a\",type=\"input\"} 7\n\
                    a_total_more{type=\"output\"} 9\n";
        assert_eq!(super::sum(text, "a_total{", "type=\"output\""), 312);
    }
}
