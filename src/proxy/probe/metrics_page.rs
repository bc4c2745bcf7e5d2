//! Asks for the upstream's own page of metrics, now and then while the upstream is used, if that is configured:
//! since when its process runs shows a restart.

use super::get::{get, own_protocol};
use super::readiness::CONNECT;
use super::start_time::StartTimeScanner;
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

/// How often it is looked whether a page is due.
const LOOK: Duration = Duration::from_millis(250);
/// How long a page may take, and how long it may be, in bytes.
const ANSWER: Duration = Duration::from_secs(5);
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// Asks for pages whenever the tap wants one; never ends. `None` if no page is configured.
pub fn watch_start_time(
    connector: &Connector,
    tap: &Arc<Tap>,
) -> Option<impl Future<Output = ()> + use<>> {
    let path = connector.config().metrics_path.clone()?;
    let (connector, tap) = (connector.clone(), Arc::clone(tap));
    Some(async move {
        let mut was_odd = false;
        let mut timer = interval(LOOK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let asked = socket::now();
            if tap.cold_starts().metrics_page_due().is_some_and(|due| due <= asked) {
                let page = timeout(ANSWER, page(&connector, &path, &mut was_odd)).await;
                tap.cold_starts().record_metrics_page(asked, socket::now(), page.ok().flatten());
            }
        }
    })
}

/// What the page tells. `was_odd`: that it tells nothing was told.
async fn page(connector: &Connector, path: &str, was_odd: &mut bool) -> Option<ProcessTimes> {
    let config = connector.config();
    let connected = timeout(CONNECT, connector.connect(own_protocol(config))).await.ok()?.ok()?;
    let answer = get(connected, path, config, async |response| {
        let status = response.status();
        Some((status, read(response).await))
    });
    let (status, page) = answer.await?;
    // A server that loads has no page yet.
    let is_odd = page.is_none() && status != StatusCode::SERVICE_UNAVAILABLE;
    if is_odd && !std::mem::replace(was_odd, true) {
        tracing::warn!(path, %status, "no process_start_time_seconds, or no Date: is server_metrics_path right?");
    }
    page
}

async fn read(response: Response<Incoming>) -> Option<ProcessTimes> {
    if !response.status().is_success() {
        return None;
    }
    let date = response.headers().get(DATE)?.to_str().ok()?;
    let now = httpdate::parse_http_date(date).ok()?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let (mut body, mut start, mut length) = (response.into_body(), StartTimeScanner::default(), 0);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.ok()?.data_ref() {
            length += data.len();
            start.push(data);
        }
        if length > MAX_PAGE {
            return None;
        }
    }
    Some(ProcessTimes { started: start.end()?, now })
}
