//! Looks whether the upstream is ready: at our start, and after a request could not reach it, until it is.
//! Never while it is idle.
//!
//! A probe connects as a client would and closes, or asks the health path that is configured.

use super::get::{get, own_protocol};
use crate::proxy::upstream::{ConnectError, Connector};
use crate::socket;
use crate::tap::Tap;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::cold::ProbeResult;
use tokio::time::{sleep, timeout};

/// How long a connection may take, and how long an answer.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);

/// Probes an upstream whenever its tap wants it; never ends.
pub async fn watch_readiness(connector: Connector, tap: Arc<Tap>) {
    let mut was_odd = false;
    loop {
        let wait = tap.cold_starts().probe_due().map(|due| due.saturating_sub(socket::now()));
        match wait {
            Some(Duration::ZERO) => {
                let asked = socket::now();
                let found = probe(&connector, &mut was_odd).await;
                tap.cold_starts().record_probe(asked, socket::now(), found);
            }
            Some(wait) => tokio::select! {
                () = sleep(wait) => {}
                () = tap.cold_starts().schedule_changed() => {}
            },
            None => tap.cold_starts().schedule_changed().await,
        }
    }
}

/// `was_odd`: that the health path says nothing was told.
async fn probe(connector: &Connector, was_odd: &mut bool) -> ProbeResult {
    let config = connector.config();
    let connected = match timeout(CONNECT, connector.connect(own_protocol(config))).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(ConnectError::Unreachable)) => return ProbeResult::Refused,
        Ok(Err(ConnectError::Tls | ConnectError::NotHttp2)) => return ProbeResult::Unclear,
        Ok(Err(ConnectError::Timeout | ConnectError::Undecided)) | Err(_) => {
            return ProbeResult::TimedOut;
        }
    };
    let Some(path) = &config.health_path else { return ProbeResult::Ready };
    let status = get(connected, path, config, async |response| Some(response.status()));
    match timeout(ANSWER, status).await {
        Ok(Some(status)) if status.is_success() => ProbeResult::Ready,
        Ok(Some(StatusCode::SERVICE_UNAVAILABLE)) => ProbeResult::NotReady,
        Ok(status) => {
            if let Some(status) = status.filter(|_| !std::mem::replace(was_odd, true)) {
                tracing::warn!(path, %status, "neither 2xx nor 503: is health_path right?");
            }
            ProbeResult::Unclear
        }
        Err(_) => ProbeResult::TimedOut,
    }
}
