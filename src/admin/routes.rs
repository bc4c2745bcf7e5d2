//! The routes of the admin port and their responses.

use super::Admin;
use super::access::{AdminVisitor, ClientCertified};
use super::page;
use crate::metrics::CONTENT_TYPE as METRICS_TEXT;
use crate::proxy::Timers;
use crate::request_log::{MAX_RECENT, RecentLines};
use crate::tap::{StuckEngine, Tap};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time limit for connecting to an upstream in `/readyz?upstream=1`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of requests that `/requests` returns without `last`.
const DEFAULT_LAST: usize = 100;
/// Response header of `/requests`: number of requests that ended since the start of the process.
pub const ENDED_HEADER: &str = "streamgauge-requests-ended";
/// Response header of `/requests`: a number that differs after a restart.
pub const INSTANCE_HEADER: &str = "streamgauge-instance";
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) type AdminBody = Full<Bytes>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminRoute {
    Index,
    /// A file of the page.
    PageFile(usize),
    Login,
    Live,
    SlowRequests,
    Metrics,
    Health,
    Ready,
    Idle,
    Config,
    Requests,
    Reload,
    Unknown,
    WrongMethod(&'static str),
}

impl AdminRoute {
    pub fn of_request<B>(request: &Request<B>) -> Self {
        let (path, method) = (request.uri().path(), request.method());
        if path == "/-/reload" {
            return if method == Method::POST { Self::Reload } else { Self::WrongMethod("POST") };
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Self::WrongMethod("GET, HEAD");
        }
        match path {
            "/" => Self::Index,
            "/login" => Self::Login,
            "/live" => Self::Live,
            "/requests/slow" => Self::SlowRequests,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/idle" => Self::Idle,
            "/config" => Self::Config,
            "/requests" => Self::Requests,
            path => page::file_at(path).map_or(Self::Unknown, Self::PageFile),
        }
    }

    /// Whether the page shows more than metrics, or changes something.
    pub fn is_private(self) -> bool {
        match self {
            Self::Health
            | Self::Ready
            | Self::Idle
            | Self::Metrics
            | Self::Login
            | Self::PageFile(_)
            | Self::Unknown
            | Self::WrongMethod(_) => false,
            Self::Index
            | Self::Live
            | Self::SlowRequests
            | Self::Config
            | Self::Requests
            | Self::Reload => true,
        }
    }

    /// Whether the session of a browser opens it: the live page and its data.
    pub fn is_of_page(self) -> bool {
        matches!(self, Self::Index | Self::Live | Self::SlowRequests | Self::Requests)
    }

    pub async fn respond(self, admin: &Admin, request: &Request<Incoming>) -> Response<AdminBody> {
        // A reload can replace the settings meanwhile.
        let settings = admin.settings.load_full();
        let wants_page = self == Self::Index && page::accepts_html(request.headers());
        let visitor = AdminVisitor {
            headers: request.headers(),
            has_certificate: request.extensions().get::<ClientCertified>().is_some(),
            has_session: admin.login.has_session(request.headers()),
        };
        if let Some(refusal) = settings.access.refuse(self, visitor).await {
            if wants_page && settings.access.has_login() {
                admin.login.renew_link(&admin.url());
                return with_challenge(page::message(refusal.status(), NO_ACCESS), &refusal);
            }
            return refusal;
        }
        match self {
            Self::Index if wants_page => page::document(),
            Self::Index => text_response(StatusCode::OK, INDEX),
            Self::PageFile(at) => page::file(at),
            Self::Login => login(admin, request.uri().query()),
            Self::Live => json(&admin.live.snapshot()),
            Self::SlowRequests => json(&admin.live.slow()),
            Self::Metrics => {
                response(StatusCode::OK, METRICS_TEXT, admin.metrics.gather().to_text())
            }
            Self::Health => text_response(StatusCode::OK, "ok\n"),
            Self::Ready => readiness(admin, request.uri().query()).await,
            Self::Idle => idleness(admin),
            Self::Config => {
                let config = format!("{:#}\n", admin.settings.load().config);
                response(StatusCode::OK, "application/json", config)
            }
            Self::Requests => recent_requests(admin, request.uri().query()),
            Self::Unknown => {
                text_response(StatusCode::NOT_FOUND, "no such page; / lists the pages\n")
            }
            Self::Reload => reload(admin).await,
            Self::WrongMethod(allowed) => {
                let why = format!("this page supports only {allowed}\n");
                let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, why);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                response
            }
        }
    }
}

/// The page for a browser without access.
const NO_ACCESS: &str = "<h1>Streamgauge</h1><p>This page opens with a link that works once. The log of Streamgauge has \
    it: <code>live page: .../login?token=...</code></p><p>If the link was used already, this visit has printed a new one \
    to the log (at most one a minute). SIGHUP does so, too.</p>";

const INDEX: &str = "Streamgauge\n\n\
    /                    the live page, for a browser\n\
    /live                its data as JSON: the last ten minutes and what runs now\n\
    /requests/slow       the slow requests of the last ten minutes and why, as JSON\n\
    /metrics             metrics in the Prometheus text format\n\
    /requests?last=100   the newest requests, one JSON object per line; ?after=ID returns those after this one\n\
    /config              the configuration in force\n\
    /-/reload            POST reloads the configuration\n\
    /healthz             200 while the process runs\n\
    /readyz              200 until shutdown begins; ?upstream=1 also connects to each upstream,\n\
    \x20                    ?engine=1 also checks that the engines generate\n\
    /idle                200 while no request is in flight, else 503\n";

/// A response with a value as JSON.
fn json(value: &impl Serialize) -> Response<AdminBody> {
    match serde_json::to_vec(value) {
        Ok(body) => page::protected(response(StatusCode::OK, "application/json", body)),
        Err(_) => text_response(StatusCode::INTERNAL_SERVER_ERROR, "cannot write JSON\n"),
    }
}

/// Exchanges the token of a one-time link for a cookie.
fn login(admin: &Admin, query: Option<&str>) -> Response<AdminBody> {
    let is_tls = admin.settings.load().tls.is_some();
    let token = query_parameter(query, "token").unwrap_or_default();
    match admin.login.exchange(token, is_tls) {
        Some(cookie) => page::logged_in(cookie),
        None => {
            admin.login.renew_link(&admin.url());
            page::message(StatusCode::FORBIDDEN, NO_ACCESS)
        }
    }
}

/// Copies the way to authenticate from `refusal`, so that browsers still ask for a user and a password.
fn with_challenge(
    mut page: Response<AdminBody>,
    refusal: &Response<AdminBody>,
) -> Response<AdminBody> {
    for challenge in refusal.headers().get_all(WWW_AUTHENTICATE) {
        page.headers_mut().append(WWW_AUTHENTICATE, challenge.clone());
    }
    page
}

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<AdminBody> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn text_response(status: StatusCode, body: &'static str) -> Response<AdminBody> {
    response(status, PLAIN, body)
}

/// The value of a query parameter.
fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

async fn readiness(admin: &Admin, query: Option<&str>) -> Response<AdminBody> {
    if admin.draining.load(Relaxed) {
        return text_response(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if query_parameter(query, "upstream") == Some("1") {
        for (name, connector) in &admin.upstreams {
            let connected = connector.check(CONNECT_TIMEOUT, &Timers::current()).await;
            if connected.is_err() {
                let why = format!("upstream {name} does not accept connections\n");
                return response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why);
            }
        }
    }
    if query_parameter(query, "engine") == Some("1") {
        let stuck = |tap: &Arc<Tap>| Some((Arc::clone(tap.upstream()), tap.stuck_engine()?));
        if let Some((name, StuckEngine { silence, limit })) = admin.taps.iter().find_map(stuck) {
            let (silence, limit) = (silence.as_secs_f64(), limit.as_secs_f64());
            let why = format!(
                "the engine of upstream {name} generates nothing: output is due for {silence:.1} s, and the limit is \
                 {limit:.1} s\n"
            );
            return response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why);
        }
    }
    text_response(StatusCode::OK, "ready\n")
}

/// Whether no request is in flight: for hooks that wait before they stop the server.
fn idleness(admin: &Admin) -> Response<AdminBody> {
    match admin.metrics.requests_in_flight() {
        0 => text_response(StatusCode::OK, "idle\n"),
        1 => text_response(StatusCode::SERVICE_UNAVAILABLE, "1 request in flight\n"),
        count => {
            let why = format!("{count} requests in flight\n");
            response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why)
        }
    }
}

/// Reloads the configuration. As in Prometheus, the status of a failure is 500.
async fn reload(admin: &Admin) -> Response<AdminBody> {
    let (reply, result) = oneshot::channel();
    if admin.reloads.send(reply).await.is_err() {
        return text_response(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match result.await {
        Ok(Ok(text)) => response(StatusCode::OK, PLAIN, text + "\n"),
        Ok(Err(why)) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, why + "\n"),
        Err(_) => text_response(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

/// The newest requests: at most `last`, and with `after` only those that ended after this request.
fn recent_requests(admin: &Admin, query: Option<&str>) -> Response<AdminBody> {
    let after = query_parameter(query, "after");
    let Ok(after) = after.map(|id| u64::from_str_radix(id, 16)).transpose() else {
        let why = "after must be the id of a request: 16 hexadecimal digits\n";
        return text_response(StatusCode::BAD_REQUEST, why);
    };
    let last = match query_parameter(query, "last").map(str::parse) {
        None if after.is_some() => MAX_RECENT,
        None => DEFAULT_LAST,
        Some(Ok(last)) => last,
        Some(Err(_)) => {
            let why =
                format!("last must be a whole number; at most {MAX_RECENT} requests are kept\n");
            return response(StatusCode::BAD_REQUEST, PLAIN, why);
        }
    };
    let RecentLines { lines, ended, instance } = admin.log.newest(last, after);
    let mut response = response(StatusCode::OK, "application/x-ndjson", lines);
    let headers = response.headers_mut();
    headers.insert(ENDED_HEADER, HeaderValue::from(ended));
    headers.insert(INSTANCE_HEADER, HeaderValue::from(instance));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_query() {
        assert_eq!(query_parameter(Some("last=5&x=1"), "last"), Some("5"));
        assert_eq!(query_parameter(Some("x=1&last="), "last"), Some(""));
        assert_eq!(query_parameter(Some("lastly=5"), "last"), None);
        assert_eq!(query_parameter(None, "last"), None);
    }
}
