//! The routes of the admin port and their responses.

use super::Admin;
use super::access::ClientCertified;
use crate::metrics::CONTENT_TYPE as METRICS_TEXT;
use crate::proxy::Timers;
use crate::request_log::MAX_RECENT;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;

/// Time limit for connecting to an upstream in `/readyz?upstream=1`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of requests that `/requests` returns without `last`.
const DEFAULT_LAST: usize = 100;
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) type AdminBody = Full<Bytes>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminRoute {
    Index,
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
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/idle" => Self::Idle,
            "/config" => Self::Config,
            "/requests" => Self::Requests,
            _ => Self::Unknown,
        }
    }

    pub async fn respond(self, admin: &Admin, request: &Request<Incoming>) -> Response<AdminBody> {
        let has_certificate = request.extensions().get::<ClientCertified>().is_some();
        // A reload can replace the settings meanwhile.
        let settings = admin.settings.load_full();
        let refusal = settings.access.refuse(self, request.headers(), has_certificate).await;
        if let Some(refusal) = refusal {
            return refusal;
        }
        match self {
            Self::Index => text_response(StatusCode::OK, INDEX),
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

const INDEX: &str = "Streamgauge\n\n\
    /metrics             metrics in the Prometheus text format\n\
    /requests?last=100   the newest requests, one JSON object per line\n\
    /config              the configuration in force\n\
    /-/reload            POST reloads the configuration\n\
    /healthz             200 while the process runs\n\
    /readyz              200 until shutdown begins; ?upstream=1 also connects to each upstream\n\
    /idle                200 while no request is in flight, else 503\n";

fn response(
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

fn recent_requests(admin: &Admin, query: Option<&str>) -> Response<AdminBody> {
    let last = match query_parameter(query, "last").map(str::parse) {
        None => DEFAULT_LAST,
        Some(Ok(last)) => last,
        Some(Err(_)) => {
            let why =
                format!("last must be a whole number; at most {MAX_RECENT} requests are kept\n");
            return response(StatusCode::BAD_REQUEST, PLAIN, why);
        }
    };
    response(StatusCode::OK, "application/x-ndjson", admin.log.last(last))
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
