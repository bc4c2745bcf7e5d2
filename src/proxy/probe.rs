//! Looks whether the upstream is ready: at our start, and after a request could not reach it, until it is.
//! Never while it is idle.
//!
//! A probe connects as a client would and closes, or asks the health path that is configured.

use super::connector::{ConnectError, Connected, Connector, Http2, Protocol};
use crate::meter::cold::Probe;
use crate::socket;
use crate::tap::Tap;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioExecutor;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a connection may take, and how long an answer.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);

/// Probes an upstream whenever its tap wants it; never ends.
pub async fn watch(connector: Connector, tap: Arc<Tap>) {
    let mut was_odd = false;
    loop {
        let wait = tap.cold().probe_due().map(|due| due.saturating_sub(socket::now()));
        match wait {
            Some(Duration::ZERO) => {
                let asked = socket::now();
                let found = probe(&connector, &mut was_odd).await;
                tap.cold().probed(asked, socket::now(), found);
            }
            Some(wait) => tokio::select! {
                () = sleep(wait) => {}
                () = tap.cold().woken() => {}
            },
            None => tap.cold().woken().await,
        }
    }
}

/// `was_odd`: that the health path says nothing was told.
async fn probe(connector: &Connector, was_odd: &mut bool) -> Probe {
    let config = connector.config();
    let protocol = if config.http2 == Http2::Always { Protocol::Http2 } else { Protocol::Http1 };
    let connected = match timeout(CONNECT, connector.connect(protocol)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(ConnectError::Unreachable)) => return Probe::Refused,
        Ok(Err(ConnectError::Tls | ConnectError::NotHttp2)) => return Probe::Unclear,
        Ok(Err(ConnectError::Timeout | ConnectError::Undecided)) | Err(_) => return Probe::Silent,
    };
    let Some(path) = &config.health_path else { return Probe::Ready };
    match timeout(ANSWER, ask(connected, path, &config.authority(), config.scheme())).await {
        Ok(Some(status)) if status.is_success() => Probe::Ready,
        Ok(Some(StatusCode::SERVICE_UNAVAILABLE)) => Probe::Open,
        Ok(status) => {
            if let Some(status) = status.filter(|_| !std::mem::replace(was_odd, true)) {
                tracing::warn!(path, %status, "neither 2xx nor 503: is health_path right?");
            }
            Probe::Unclear
        }
        Err(_) => Probe::Silent,
    }
}

/// The status of this path; `None` if there is no answer, or none that is HTTP.
async fn ask(
    connected: Connected,
    path: &str,
    authority: &str,
    scheme: &str,
) -> Option<StatusCode> {
    let Connected { io, is_http2 } = connected;
    let request = Request::get(if is_http2 {
        format!("{scheme}://{authority}{path}")
    } else {
        path.to_owned()
    });
    let answer = if is_http2 {
        let request = request.version(Version::HTTP_2).body(Empty::<Bytes>::new()).ok()?;
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(io);
        let (mut sender, driver) = handshake.await.ok()?;
        driven(sender.send_request(request), driver).await
    } else {
        let request = request.header(HOST, authority).body(Empty::<Bytes>::new()).ok()?;
        let (mut sender, driver) = http1::handshake(io).await.ok()?;
        driven(sender.send_request(request), driver).await
    };
    Some(answer.ok()?.status())
}

/// Waits for an answer, and drives its connection meanwhile.
async fn driven<T>(answer: impl Future<Output = T>, driver: impl Future) -> T {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A connection may end with its answer.
        _ = driver => answer.await,
    }
}
