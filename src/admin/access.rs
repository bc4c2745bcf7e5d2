//! Access to the pages of the admin port.

use super::AdminConfigError;
use super::routes::{AdminBody, AdminRoute, text_response};
use super::web_config::WebConfig;
use crate::config::{AccessConfig, MetricsAccess};
use base64::prelude::{BASE64_STANDARD, Engine};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::uri::Authority;
use hyper::{Response, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Marks a request whose connection has a valid client certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientCertified;

/// The client that sent a request, as its connection and headers identify it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdminVisitor<'a> {
    pub headers: &'a HeaderMap,
    /// Its connection has a valid client certificate.
    pub has_certificate: bool,
    /// It has the cookie of an open session.
    pub has_session: bool,
}

/// Decides which requests are allowed.
#[derive(Debug)]
pub struct Access {
    token: Option<String>,
    users: BTreeMap<String, String>,
    requires_client_certificate: bool,
    guards_metrics: bool,
    /// The port is on loopback.
    is_local: bool,
    /// Credentials that were right, by user: bcrypt takes a tenth of a second by design, too much for each scrape.
    verified: Mutex<HashMap<String, Vec<u8>>>,
    /// At most one password is checked at a time, so that guesses cost one CPU at most.
    checking: Arc<Semaphore>,
}

impl Access {
    /// Reads the token file. `web`: the content of the web configuration file. `is_local`: the port is on loopback.
    ///
    /// # Errors
    /// If the token file cannot be used, or `/metrics` is guarded and nobody can have access.
    pub fn new(
        config: &AccessConfig,
        web: &WebConfig,
        is_local: bool,
    ) -> Result<Self, AdminConfigError> {
        let token = match &config.token_file {
            Some(path) => Some(read_token(path)?),
            None => config.token.clone(),
        };
        let requires_client_certificate = web.requires_client_certificate;
        let guards_metrics = match config.metrics {
            Some(access) => access == MetricsAccess::Guarded,
            None => !web.users.is_empty() || requires_client_certificate,
        };
        if guards_metrics && token.is_none() && web.users.is_empty() && !requires_client_certificate
        {
            let why = "nobody could read the metrics: set admin_token, admin_token_file, or users or client \
                       certificates in admin_web_config";
            return Err(AdminConfigError::new("admin_metrics", "guarded", why));
        }
        Ok(Self {
            token,
            users: web.users.clone(),
            requires_client_certificate,
            guards_metrics,
            is_local,
            verified: Mutex::default(),
            checking: Arc::new(Semaphore::new(1)),
        })
    }

    /// Returns the response to a request that is not allowed.
    pub(super) async fn refuse(
        &self,
        route: AdminRoute,
        visitor: AdminVisitor<'_>,
    ) -> Option<Response<AdminBody>> {
        let AdminVisitor { headers, has_certificate, has_session } = visitor;
        if !self.is_guarded(route) {
            return (route.is_private() && !is_local_visitor(headers)).then(wrong_host);
        }
        if has_session && self.has_login() && route.is_of_page() {
            return None;
        }
        if self.requires_client_certificate && !has_certificate {
            let why = "forbidden: this page requires a client certificate\n";
            return Some(text_response(StatusCode::FORBIDDEN, why));
        }
        if self.token.is_none() && self.users.is_empty() {
            // Without credentials, a certificate is enough.
            return (!self.requires_client_certificate).then(forbidden);
        }
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        match authorization {
            Some(given) if self.is_authorized(given).await => None,
            _ => Some(self.unauthorized()),
        }
    }

    /// Whether the page needs credentials, and a link in the log replaces them. A client certificate has no replacement.
    pub fn has_login(&self) -> bool {
        self.is_guarded(AdminRoute::Index) && !self.requires_client_certificate
    }

    fn is_guarded(&self, route: AdminRoute) -> bool {
        match route {
            AdminRoute::Metrics => self.guards_metrics,
            route => {
                route.is_private()
                    && (self.guards_metrics || self.requires_client_certificate || !self.is_local)
            }
        }
    }

    /// Whether the value of an `Authorization` header is right.
    async fn is_authorized(&self, given: &[u8]) -> bool {
        let Some(space) = given.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, credentials) = given.split_at(space);
        let credentials = credentials.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"Bearer") {
            self.token.as_ref().is_some_and(|token| is_same(token.as_bytes(), credentials))
        } else if scheme.eq_ignore_ascii_case(b"Basic") && !self.users.is_empty() {
            match decode_basic(credentials) {
                Some((user, password)) => self.is_password(user, password).await,
                None => false,
            }
        } else {
            false
        }
    }

    async fn is_password(&self, user: String, password: Vec<u8>) -> bool {
        if self.verified().get(&user).is_some_and(|verified| is_same(verified, &password)) {
            return true;
        }
        let hash = self.users.get(&user);
        // A user that does not exist takes as long, so that the time does not reveal which users exist.
        let Some(checked) = hash.or_else(|| self.users.values().next()).cloned() else {
            return false;
        };
        let Ok(permit) = Arc::clone(&self.checking).acquire_owned().await else { return false };
        let given = password.clone();
        let is_right = spawn_blocking(move || {
            // The check goes on if the client leaves.
            let _permit = permit;
            bcrypt::verify(given, &checked).unwrap_or(false)
        });
        let is_right = is_right.await.unwrap_or(false) && hash.is_some();
        if is_right {
            self.verified().insert(user, password);
        }
        is_right
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unauthorized(&self) -> Response<AdminBody> {
        let why = "unauthorized: send the admin token (Authorization: Bearer TOKEN), or a user and a password of \
                   admin_web_config (Authorization: Basic ...), whichever is configured\n";
        let mut response = text_response(StatusCode::UNAUTHORIZED, why);
        let schemes = [
            (self.token.is_some(), "Bearer"),
            (!self.users.is_empty(), "Basic realm=\"streamgauge\", charset=\"UTF-8\""),
        ];
        for (_, scheme) in schemes.into_iter().filter(|(is_configured, _)| *is_configured) {
            response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}

/// Whether a request to a page without credentials comes from this host. Another web site in a browser on this host can
/// give its own name the address of loopback (DNS rebinding), but cannot change the header `Host`.
fn is_local_visitor(headers: &HeaderMap) -> bool {
    let is_cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    // A link on another site may open the page; the script of another site may not read it.
    let is_navigation = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    // Browsers always send it.
    let Some(host) = headers.get(HOST) else { return true };
    host.to_str().is_ok_and(is_loopback_host) && (!is_cross_site || is_navigation)
}

/// Whether the value of a `Host` header names loopback.
fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

fn wrong_host() -> Response<AdminBody> {
    let why = "forbidden: without credentials, this page is for this host only; open it at localhost or 127.0.0.1\n";
    text_response(StatusCode::FORBIDDEN, why)
}

fn forbidden() -> Response<AdminBody> {
    let why = "forbidden: on an address other than loopback, this page requires the key admin_token, \
               admin_token_file or admin_web_config in the configuration; a browser can open the live page by the link \
               in the log\n";
    text_response(StatusCode::FORBIDDEN, why)
}

/// Compares in a time that does not reveal how many bytes are right.
fn is_same(expected: &[u8], given: &[u8]) -> bool {
    expected.ct_eq(given).into()
}

/// Returns user and password of the `Basic` scheme.
fn decode_basic(credentials: &[u8]) -> Option<(String, Vec<u8>)> {
    let decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

fn read_token(path: &Path) -> Result<String, AdminConfigError> {
    let error =
        |message: String| AdminConfigError::new("admin_token_file", path.display(), message);
    let text = std::fs::read_to_string(path)
        .map_err(|cause| error(format!("cannot read the file: {cause}")))?;
    let token = text.trim();
    if token.is_empty() { Err(error("the file is empty".into())) } else { Ok(token.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_local() {
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1:9464", "127.1.2.3", "[::1]:9464", "[::1]"]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:9464",
            "localhost.evil.example",
            "a b",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn scripts_of_other_sites_are_not_local() {
        let is_local = |fields: &[(&'static str, &'static str)]| {
            let field = |(name, value): &(&'static str, &'static str)| {
                (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            is_local_visitor(&fields.iter().map(field).collect())
        };
        let host = ("host", "localhost:9464");
        assert!(
            is_local(&[]) && is_local(&[host]) && is_local(&[host, ("sec-fetch-site", "none")])
        );
        let other = ("sec-fetch-site", "cross-site");
        assert!(!is_local(&[host, other, ("sec-fetch-mode", "no-cors")]));
        assert!(is_local(&[host, other, ("sec-fetch-mode", "navigate")]), "a link to the page");
    }
}
