//! The pages of the admin port.

use super::Admin;
use crate::metrics::CONTENT_TYPE as METRICS_TEXT;
use crate::request_log::KEPT;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::timeout;

/// How long an upstream may take to accept a connection when `/readyz` asks.
const CONNECT: Duration = Duration::from_secs(1);
/// How many requests `/requests` gives when it is not told.
const LAST: usize = 100;
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) type Text = Full<Bytes>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Index,
    Metrics,
    Health,
    Ready,
    Config,
    Requests,
    Unknown,
    NotGet,
}

impl Page {
    pub fn of<B>(request: &Request<B>) -> Self {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Self::NotGet;
        }
        match request.uri().path() {
            "/" => Self::Index,
            "/metrics" => Self::Metrics,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/config" => Self::Config,
            "/requests" => Self::Requests,
            _ => Self::Unknown,
        }
    }

    /// Whether the page is open to all who reach the port.
    fn is_open(self) -> bool {
        !matches!(self, Self::Index | Self::Config | Self::Requests)
    }

    pub async fn answer(self, admin: &Admin, request: &Request<Incoming>) -> Response<Text> {
        if !self.is_open() && !admin.is_local && !is_allowed(admin, request) {
            return unauthorized(admin);
        }
        match self {
            Self::Index => text(StatusCode::OK, INDEX),
            Self::Metrics => page(StatusCode::OK, METRICS_TEXT, admin.metrics.gather().to_text()),
            Self::Health => text(StatusCode::OK, "ok\n"),
            Self::Ready => ready(admin, request.uri().query()).await,
            Self::Config => {
                let config = format!("{:#}\n", admin.config);
                page(StatusCode::OK, "application/json", config)
            }
            Self::Requests => requests(admin, request.uri().query()),
            Self::Unknown => text(StatusCode::NOT_FOUND, "no such page; see /\n"),
            Self::NotGet => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        }
    }
}

const INDEX: &str = "Streamgauge\n\n\
    /metrics             Prometheus' text format\n\
    /requests?last=100   the newest requests, one JSON object a line\n\
    /config              the configuration in force\n\
    /healthz             alive\n\
    /readyz              listening and not draining; ?upstream=1 asks for the server too\n";

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Text> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Text> {
    page(status, PLAIN, body)
}

/// The value of a parameter of a query.
fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

async fn ready(admin: &Admin, query: Option<&str>) -> Response<Text> {
    if admin.draining.load(Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if parameter(query, "upstream") == Some("1") {
        for (name, address) in &admin.upstreams {
            let connected = timeout(CONNECT, address.connect()).await;
            if !matches!(connected, Ok(Ok(_))) {
                let why = format!("upstream {name} does not accept connections\n");
                return page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why);
            }
        }
    }
    text(StatusCode::OK, "ready\n")
}

fn requests(admin: &Admin, query: Option<&str>) -> Response<Text> {
    let last = match parameter(query, "last").map(str::parse) {
        None => LAST,
        Some(Ok(last)) => last,
        Some(Err(_)) => {
            let why = format!("last must be a whole number; at most {KEPT} requests are kept\n");
            return page(StatusCode::BAD_REQUEST, PLAIN, why);
        }
    };
    page(StatusCode::OK, "application/x-ndjson", admin.log.last(last))
}

fn is_allowed(admin: &Admin, request: &Request<Incoming>) -> bool {
    let Some(token) = &admin.token else { return false };
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    // Every byte is looked at, so the time taken does not tell how many were right.
    let same = given.iter().zip(token.as_bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0;
    same && given.len() == token.len()
}

fn unauthorized(admin: &Admin) -> Response<Text> {
    if admin.token.is_none() {
        let why = "closed: on an address other than loopback this page needs admin_token in the configuration\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    let mut response =
        text(StatusCode::UNAUTHORIZED, "give admin_token as Authorization: Bearer TOKEN\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        assert_eq!(parameter(Some("last=5&x=1"), "last"), Some("5"));
        assert_eq!(parameter(Some("x=1&last="), "last"), Some(""));
        assert_eq!(parameter(Some("lastly=5"), "last"), None);
        assert_eq!(parameter(None, "last"), None);
    }
}
