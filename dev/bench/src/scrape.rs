//! What Streamgauge counted: a measurement of a meter that did not measure would be worth nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

/// The counter of tokens, over all its label sets with this label.
const COUNTER: &str = "streamgauge_tokens_total{";
const OUTPUT: &str = "type=\"output\"";
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of output tokens that the metrics at `admin` tell.
pub async fn output_tokens(admin: SocketAddr) -> Result<u64, Error> {
    Ok(sum(&get(admin, "/metrics").await?))
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

fn sum(exposition: &str) -> u64 {
    let series = exposition.lines().filter(|line| line.starts_with(COUNTER));
    let values = series
        .filter(|line| line.contains(OUTPUT))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn adds_up_the_series_of_output() {
        let text = "# TYPE streamgauge_tokens_total counter\n\
                    streamgauge_tokens_total{model=\"a\",type=\"output\"} 12\n\
                    streamgauge_tokens_total{model=\"b\",type=\"output\"} 3e2\n\
                    streamgauge_tokens_total{model=\"a\",type=\"input\"} 7\n";
        assert_eq!(super::sum(text), 312);
    }
}
