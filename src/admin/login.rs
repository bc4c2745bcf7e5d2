//! Access to the page by a browser: one-time links and the sessions that they open.
//!
//! A browser cannot send the admin token by itself. So Streamgauge prints a link with a random token to its log. The
//! first visit exchanges the token for a cookie. The cookie opens the page and its data, nothing else.

use crate::log::UNLIMITED;
use hyper::header::{COOKIE, HeaderMap, HeaderValue};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Time for which a link can be used.
const LINK_VALID: Duration = Duration::from_secs(3600);
/// Shortest time between two links that visits cause, so that visits cannot fill the log.
const LINK_PAUSE: Duration = Duration::from_secs(60);
/// Time for which a session lasts.
const SESSION_VALID: Duration = Duration::from_secs(12 * 3600);
/// Most sessions at a time. A further one ends the oldest.
const MAX_SESSIONS: usize = 32;
/// Name of the cookie.
const COOKIE_NAME: &str = "streamgauge_session";

/// The current link and the open sessions.
#[derive(Debug, Default)]
pub struct Login(Mutex<LoginState>);

#[derive(Debug, Default)]
struct LoginState {
    link: Option<Secret>,
    /// When a link was last printed.
    printed: Option<Instant>,
    /// Oldest first.
    sessions: Vec<Secret>,
}

/// A random text that is valid for a limited time.
struct Secret {
    text: String,
    valid_until: Instant,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("valid_until", &self.valid_until).finish_non_exhaustive()
    }
}

impl Secret {
    /// `None` if the system has no random numbers.
    fn new(valid_for: Duration, now: Instant) -> Option<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok()?;
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Some(Self { text, valid_until: now + valid_for })
    }

    /// Compares in a time that does not reveal how many characters are right.
    fn is(&self, given: &str, now: Instant) -> bool {
        bool::from(self.text.as_bytes().ct_eq(given.as_bytes())) && now < self.valid_until
    }
}

impl Login {
    /// Prints a new link to the log. An earlier one is no longer valid. `url` is that of the admin port.
    pub fn print_link(&self, url: &str) {
        self.print_link_at(url, Instant::now());
    }

    fn print_link_at(&self, url: &str, now: Instant) {
        let mut state = self.state();
        state.link = Secret::new(LINK_VALID, now);
        state.printed = Some(now);
        match &state.link {
            Some(link) => tracing::info!(
                target: UNLIMITED,
                "live page: {url}/login?token={} (valid once, for one hour)", link.text
            ),
            None => tracing::error!("cannot make a link to the live page: no random numbers"),
        }
    }

    /// Prints a new link if the last one was used or is too old, at most once a minute.
    pub fn renew_link(&self, url: &str) {
        let now = Instant::now();
        if self.needs_link(now) {
            self.print_link_at(url, now);
        }
    }

    fn needs_link(&self, now: Instant) -> bool {
        let state = self.state();
        let is_valid = state.link.as_ref().is_some_and(|link| now < link.valid_until);
        let is_recent = state.printed.is_some_and(|printed| now < printed + LINK_PAUSE);
        !is_valid && !is_recent
    }

    /// Exchanges the token of a link for a session. Returns the value of `Set-Cookie`; `None` if the token is wrong, used
    /// or too old.
    pub fn exchange(&self, token: &str, is_tls: bool) -> Option<HeaderValue> {
        self.exchange_at(token, is_tls, Instant::now())
    }

    fn exchange_at(&self, token: &str, is_tls: bool, now: Instant) -> Option<HeaderValue> {
        let mut state = self.state();
        state.link.take_if(|link| link.is(token, now))?;
        let session = Secret::new(SESSION_VALID, now)?;
        let attributes = format!(
            "{COOKIE_NAME}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{}",
            session.text,
            SESSION_VALID.as_secs(),
            if is_tls { "; Secure" } else { "" }
        );
        state.sessions.retain(|session| now < session.valid_until);
        if state.sessions.len() == MAX_SESSIONS {
            state.sessions.remove(0);
        }
        state.sessions.push(session);
        HeaderValue::from_str(&attributes).ok()
    }

    /// Whether the cookies of a request belong to an open session.
    pub fn has_session(&self, headers: &HeaderMap) -> bool {
        self.has_session_at(headers, Instant::now())
    }

    fn has_session_at(&self, headers: &HeaderMap, now: Instant) -> bool {
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = values.flat_map(|value| value.split(';'));
        let own =
            cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
        own.is_some_and(|given| self.state().sessions.iter().any(|session| session.is(given, now)))
    }

    fn state(&self) -> MutexGuard<'_, LoginState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(login: &Login) -> String {
        login.state().link.as_ref().unwrap().text.clone()
    }

    fn cookies(set_cookie: &HeaderValue) -> HeaderMap {
        let pair = set_cookie.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, format!("other=1; {pair}").parse().unwrap())])
    }

    #[test]
    fn a_link_opens_one_session_and_both_end() {
        let (login, now) = (Login::default(), Instant::now());
        assert!(login.needs_link(now));
        login.print_link_at("http://h", now);
        let token = link(&login);
        assert_eq!(token.len(), 64);
        assert!(!login.needs_link(now), "the link is valid");
        assert!(login.exchange_at("", false, now).is_none());
        assert!(login.exchange_at(&token[1..], false, now).is_none());
        let cookie = login.exchange_at(&token, true, now).unwrap();
        let text = cookie.to_str().unwrap();
        assert!(
            text.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"),
            "{text}"
        );
        assert!(login.exchange_at(&token, true, now).is_none(), "it is valid once");
        let headers = cookies(&cookie);
        assert!(login.has_session_at(&headers, now));
        assert!(!login.has_session_at(&headers, now + SESSION_VALID));
        assert!(!login.has_session_at(&HeaderMap::new(), now));
        assert!(!login.needs_link(now), "one was printed within the last minute");
        assert!(login.needs_link(now + LINK_PAUSE));
    }

    #[test]
    fn links_and_sessions_are_limited() {
        let (login, now) = (Login::default(), Instant::now());
        login.print_link_at("http://h", now);
        let late = link(&login);
        assert!(login.exchange_at(&late, false, now + LINK_VALID).is_none(), "too late");
        let session = |login: &Login| {
            login.print_link_at("http://h", now);
            cookies(&login.exchange_at(&link(login), false, now).unwrap())
        };
        let first = session(&login);
        assert!(login.has_session_at(&first, now));
        let last = (0..MAX_SESSIONS).map(|_| session(&login)).last().unwrap();
        assert!(login.has_session_at(&last, now));
        assert!(!login.has_session_at(&first, now), "the oldest session has ended");
    }
}
