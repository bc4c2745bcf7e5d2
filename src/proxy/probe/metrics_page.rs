//! Requests for the server's own Prometheus metrics, to detect restarts by the start time of its process.
//!
//! They are sent only if `server_metrics_path` is configured, and only while the upstream is in use.

use super::get::{get, probe_protocol};
use super::readiness::CONNECT_TIMEOUT;
use super::start_time::StartTimeScanner;
use crate::proxy::timers::Timers;
use crate::proxy::upstream::Connector;
use crate::socket;
use crate::tap::Tap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::DATE;
use hyper::{Response, StatusCode};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use streamgauge_core::meter::cold::ProcessTimes;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Interval of the check whether a request is due.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum time for a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Requests the server's metrics whenever the tap requires it. Runs until dropped. Returns `None` if no path is
/// configured.
pub fn watch_start_time(
    connector: &Connector,
    tap: &Arc<Tap>,
) -> Option<impl Future<Output = ()> + use<>> {
    let path = connector.config().metrics_path.clone()?;
    let (connector, tap) = (connector.clone(), Arc::clone(tap));
    Some(async move {
        let mut has_warned = false;
        let mut timer = interval(CHECK_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let start = socket::now();
            if tap.cold_starts().metrics_page_due().is_some_and(|due| due <= start) {
                let request = fetch_times(&connector, &path, &mut has_warned);
                let times = timeout(REQUEST_TIMEOUT, request).await.ok().flatten();
                tap.cold_starts().record_metrics_page(start, socket::now(), times);
            }
        }
    })
}

/// Requests the metrics and returns the times in the response. `has_warned`: a useless response was logged before, so
/// it is not logged again.
async fn fetch_times(
    connector: &Connector,
    path: &str,
    has_warned: &mut bool,
) -> Option<ProcessTimes> {
    let config = Arc::clone(&connector.config());
    let timers = Timers::current();
    let connect = connector.connect(probe_protocol(&config), &timers);
    let connection = timeout(CONNECT_TIMEOUT, connect).await.ok()?.ok()?;
    let response = get(connection, path, &config, async |response| {
        let status = response.status();
        Some((status, read_times(response).await))
    });
    let (status, times) = response.await?;
    // A server that is still loading has no metrics yet.
    let is_useless = times.is_none() && status != StatusCode::SERVICE_UNAVAILABLE;
    if is_useless && !std::mem::replace(has_warned, true) {
        tracing::warn!(path, %status, "response without process_start_time_seconds or Date: check server_metrics_path");
    }
    times
}

async fn read_times(response: Response<Incoming>) -> Option<ProcessTimes> {
    if !response.status().is_success() {
        return None;
    }
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let now = httpdate::parse_http_date(date).ok()?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let (mut body, mut scanner, mut length) =
        (response.into_body(), StartTimeScanner::default(), 0);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.ok()?.data_ref() {
            length += data.len();
            scanner.push(data);
        }
        if length > MAX_BODY {
            return None;
        }
    }
    Some(ProcessTimes { started: scanner.finish()?, now })
}
