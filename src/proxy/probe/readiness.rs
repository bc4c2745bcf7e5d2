//! Readiness probes: at startup, and after a request could not reach the upstream, until it is ready.
//!
//! An idle upstream is not probed. A probe opens a connection and closes it, or requests the configured health path, or else the server's
//! own metrics.

use super::get::{get, probe_protocol};
use crate::proxy::timers::Timers;
use crate::proxy::upstream::{ConnectError, Connector};
use crate::socket;
use crate::tap::Tap;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::cold::ProbeResult;
use tokio::time::{sleep, timeout};

/// Maximum time to connect.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time until the status of the response.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Probes an upstream whenever its tap requires it. Runs until dropped.
pub async fn watch_readiness(connector: Connector, tap: Arc<Tap>) {
    let mut has_warned = false;
    loop {
        let wait = tap.cold_starts().probe_due().map(|due| due.saturating_sub(socket::now()));
        match wait {
            Some(Duration::ZERO) => {
                let start = socket::now();
                let result = probe(&connector, &tap, &mut has_warned).await;
                tap.cold_starts().record_probe(start, socket::now(), result);
            }
            Some(wait) => tokio::select! {
                () = sleep(wait) => {}
                () = tap.cold_starts().schedule_changed() => {}
            },
            None => tap.cold_starts().schedule_changed().await,
        }
    }
}

/// Sends one probe. `has_warned`: an unexpected status was logged before, so it is not logged again.
async fn probe(connector: &Connector, tap: &Tap, has_warned: &mut bool) -> ProbeResult {
    let config = Arc::clone(&connector.config());
    let timers = Timers::current();
    let connect = connector.connect(probe_protocol(&config), &timers);
    let connected = timeout(CONNECT_TIMEOUT, connect).await.unwrap_or(Err(ConnectError::Timeout));
    match &connected {
        Ok(_) => tap.outages().on_connection(socket::now()),
        // The time limit of a probe is shorter than that of a request, which may still get its connection.
        Err(ConnectError::Timeout) => {}
        Err(error) => tap.outages().on_failure(socket::now(), error),
    }
    let connection = match connected {
        Ok(connection) => connection,
        Err(ConnectError::Refused(_)) => return ProbeResult::Refused,
        Err(ConnectError::Tls | ConnectError::NotHttp2) => return ProbeResult::Unclear,
        Err(ConnectError::Timeout | ConnectError::Inconclusive(_)) => return ProbeResult::TimedOut,
    };
    let Some(path) = config.probe_path() else { return ProbeResult::Ready };
    let status = get(connection, path, &config, async |response| Some(response.status()));
    match timeout(STATUS_TIMEOUT, status).await {
        Ok(Some(status)) if status.is_success() => ProbeResult::Ready,
        Ok(Some(StatusCode::SERVICE_UNAVAILABLE)) => ProbeResult::NotReady,
        Ok(status) => {
            if let Some(status) = status.filter(|_| !std::mem::replace(has_warned, true)) {
                tracing::warn!(path, %status, "probe returned neither 2xx nor 503: check health_path or server_metrics_path");
            }
            ProbeResult::Unclear
        }
        Err(_) => ProbeResult::TimedOut,
    }
}
