//! `Upgrade`: asking for another protocol, and what the upstream says to it (RFC 9110, section 7.8).

use super::headers;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::http::{request, response};
use hyper::{StatusCode, Version};

/// The protocols that a client asks for, as it asks for them.
#[derive(Debug, Clone)]
pub(crate) struct UpgradeRequest(Vec<HeaderValue>);

impl UpgradeRequest {
    /// What this request asks for. HTTP/2 is not among it: a client that wants it knows, or does without.
    pub fn asked_for(head: &request::Parts) -> Option<Self> {
        let asks = head.version == Version::HTTP_11
            && headers::names(&head.headers, CONNECTION, b"upgrade")
            && head.headers.contains_key(UPGRADE)
            && !headers::names(&head.headers, UPGRADE, b"h2c");
        asks.then(|| Self(head.headers.get_all(UPGRADE).iter().cloned().collect()))
    }

    /// Asks the upstream for the same.
    pub fn ask(&self, headers: &mut HeaderMap) {
        for protocols in &self.0 {
            headers.append(UPGRADE, protocols.clone());
        }
        headers.append(CONNECTION, HeaderValue::from_static("Upgrade"));
    }

    /// The protocol that the upstream has switched to, if it is one that was asked for.
    fn agreed(&self, head: &response::Parts) -> Option<HeaderValue> {
        let mut chosen = head.headers.get_all(UPGRADE).iter();
        let (Some(protocol), None) = (chosen.next(), chosen.next()) else { return None };
        let name = protocol.as_bytes().trim_ascii();
        let is_it = |asked: &[u8]| asked.trim_ascii().eq_ignore_ascii_case(name);
        let mut asked = self.0.iter();
        asked
            .any(|asked| asked.as_bytes().split(|byte| *byte == b',').any(is_it))
            .then(|| protocol.clone())
    }
}

/// What an answer says of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpgradeOutcome {
    /// There is none: it is an ordinary answer.
    None,
    To(HeaderValue),
    /// Nobody has asked for this one.
    Unasked,
}

impl UpgradeOutcome {
    pub fn of(head: &response::Parts, upgrade: Option<&UpgradeRequest>) -> Self {
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Self::None;
        }
        upgrade.and_then(|upgrade| upgrade.agreed(head)).map_or(Self::Unasked, Self::To)
    }
}

/// Says to the client that the connection has switched.
pub(crate) fn switched(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{Request, Response};

    fn asked(version: Version, connection: &str, upgrade: &str) -> Option<UpgradeRequest> {
        let request = Request::builder()
            .version(version)
            .header(CONNECTION, connection)
            .header(UPGRADE, upgrade)
            .body(())
            .unwrap();
        UpgradeRequest::asked_for(&request.into_parts().0)
    }

    #[test]
    fn what_is_asked_for() {
        assert!(asked(Version::HTTP_11, "keep-alive, Upgrade", "websocket").is_some());
        assert!(asked(Version::HTTP_10, "Upgrade", "websocket").is_none());
        assert!(asked(Version::HTTP_11, "keep-alive", "websocket").is_none());
        assert!(asked(Version::HTTP_11, "Upgrade, HTTP2-Settings", "h2c").is_none());
        assert!(asked(Version::HTTP_11, "Upgrade", "foo/2, H2C").is_none());
    }

    #[test]
    fn only_what_was_asked_for_is_switched_to() {
        let upgrade = asked(Version::HTTP_11, "upgrade", "foo/2, WebSocket").unwrap();
        let switch = |status: u16, protocols: &[&str], upgrade: Option<&UpgradeRequest>| {
            let mut response = Response::builder().status(status);
            for protocol in protocols {
                response = response.header(UPGRADE, *protocol);
            }
            UpgradeOutcome::of(&response.body(()).unwrap().into_parts().0, upgrade)
        };
        let to = |name| UpgradeOutcome::To(HeaderValue::from_static(name));
        assert_eq!(switch(101, &["websocket"], Some(&upgrade)), to("websocket"));
        assert_eq!(switch(101, &["foo/2"], Some(&upgrade)), to("foo/2"));
        assert_eq!(switch(200, &["websocket"], Some(&upgrade)), UpgradeOutcome::None);
        assert_eq!(switch(101, &["other"], Some(&upgrade)), UpgradeOutcome::Unasked);
        assert_eq!(switch(101, &[], Some(&upgrade)), UpgradeOutcome::Unasked);
        assert_eq!(switch(101, &["websocket", "foo/2"], Some(&upgrade)), UpgradeOutcome::Unasked);
        assert_eq!(switch(101, &["websocket"], None), UpgradeOutcome::Unasked);
        assert_eq!(switch(200, &[], None), UpgradeOutcome::None);
    }
}
