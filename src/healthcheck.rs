//! `streamgauge healthcheck` and `streamgauge wait`: read the state of a running instance, for containers without a
//! shell or curl.

use crate::admin::WebConfig;
use crate::admin_client::{
    AdminClient, AdminClientError, AdminResponse, AdminUrl, CertificateTrust,
};
use crate::config::AdminEndpoint;
use hyper::StatusCode;
use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Interval of the requests of [`wait`].
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Requests `/readyz` from this admin port.
///
/// # Errors
/// If the instance is not ready, or does not respond within 3 seconds.
pub fn run(endpoint: &AdminEndpoint) -> io::Result<()> {
    runtime()?.block_on(async {
        let mut page = AdminPage::new(endpoint, "/readyz")?;
        match page.get().await?.status {
            StatusCode::OK => Ok(()),
            status => {
                Err(io::Error::other(format!("not ready: {} returned {status}", page.name())))
            }
        }
    })
}

/// Requests `/idle` from this admin port until no request is in flight. `report` gets what it waits for.
///
/// # Errors
/// If requests are still in flight at the time limit, or nothing listens on the port.
pub fn wait(
    endpoint: &AdminEndpoint,
    limit: Duration,
    report: impl Fn(&dyn Display),
) -> io::Result<()> {
    runtime()?.block_on(async {
        let mut page = AdminPage::new(endpoint, "/idle")?;
        let start = Instant::now();
        let mut reported = String::new();
        loop {
            let state = match page.get().await {
                Ok(response) if response.status == StatusCode::OK => return Ok(()),
                Ok(response) => String::from_utf8_lossy(response.body.trim_ascii()).into_owned(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Err(error);
                }
                Err(error) => error.to_string(),
            };
            if start.elapsed() >= limit {
                let seconds = limit.as_secs_f64();
                return Err(io::Error::other(format!("after {seconds} s: {state}")));
            }
            if state != reported {
                report(&state);
                reported = state;
            }
            sleep(POLL_INTERVAL.min(limit.saturating_sub(start.elapsed()))).await;
        }
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A page of the admin port of a running instance.
struct AdminPage {
    client: AdminClient,
    path: &'static str,
}

impl AdminPage {
    fn new(endpoint: &AdminEndpoint, path: &'static str) -> io::Result<Self> {
        let web_config = endpoint.web_config.as_deref().map(WebConfig::read).transpose();
        let has_tls = web_config.map_err(io::Error::other)?.is_some_and(|web| web.tls.is_some());
        let url = AdminUrl::of_listener(endpoint.address, has_tls);
        // The request has no secret, and only the state is read.
        Ok(Self { client: AdminClient::new(url, &CertificateTrust::Any)?, path })
    }

    fn name(&self) -> String {
        format!("{}{}", self.client.url(), self.path)
    }

    async fn get(&mut self) -> io::Result<AdminResponse> {
        self.client.request(self.path).await.map_err(|error| {
            let kind = match &error {
                AdminClientError::Io(error) => error.kind(),
                _ => io::ErrorKind::Other,
            };
            let message = format!(
                "no response from {}: {error}. Is Streamgauge running, and is {} its admin address (--admin)?",
                self.name(),
                self.client.url().authority()
            );
            io::Error::new(kind, message)
        })
    }
}
