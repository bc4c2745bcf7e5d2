//! Access to the pages of the admin port.

use super::AdminConfigError;
use super::routes::{AdminBody, AdminRoute, text_response};
use super::web_config::WebConfig;
use crate::config::{AccessConfig, MetricsAccess};
use base64::prelude::{BASE64_STANDARD, Engine};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Marks a request whose connection has a valid client certificate.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientCertified;

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
        headers: &HeaderMap,
        has_client_certificate: bool,
    ) -> Option<Response<AdminBody>> {
        if !self.is_guarded(route) {
            return None;
        }
        if self.requires_client_certificate && !has_client_certificate {
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

    fn is_guarded(&self, route: AdminRoute) -> bool {
        match route {
            AdminRoute::Health
            | AdminRoute::Ready
            | AdminRoute::Idle
            | AdminRoute::Unknown
            | AdminRoute::WrongMethod(_) => false,
            AdminRoute::Metrics => self.guards_metrics,
            AdminRoute::Index | AdminRoute::Config | AdminRoute::Requests | AdminRoute::Reload => {
                self.guards_metrics || self.requires_client_certificate || !self.is_local
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

fn forbidden() -> Response<AdminBody> {
    let why = "forbidden: on an address other than loopback, this page requires the key admin_token, \
               admin_token_file or admin_web_config in the configuration\n";
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
