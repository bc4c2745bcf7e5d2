//! `Upgrade` header: requests to switch to another protocol, and the upstream's response (RFC 9110, section 7.8).

use super::headers::{self, RequestOptions};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::http::{request, response};
use hyper::{StatusCode, Version};

/// Protocols that a client wants to switch to, as written in its `Upgrade` headers.
#[derive(Debug, Clone)]
pub(super) struct UpgradeRequest(Vec<HeaderValue>);

impl UpgradeRequest {
    /// Returns the upgrade in a request's headers. An upgrade to HTTP/2 (`h2c`) is ignored: such a client continues with
    /// HTTP/1.1.
    pub fn from_head(head: &request::Parts, options: RequestOptions) -> Option<Self> {
        let has_upgrade = head.version == Version::HTTP_11
            && options.upgrade
            && head.headers.contains_key(UPGRADE)
            && !headers::list_contains(&head.headers, UPGRADE, b"h2c");
        has_upgrade.then(|| Self(head.headers.get_all(UPGRADE).iter().cloned().collect()))
    }

    /// Adds the upgrade to the headers of the forwarded request.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for protocols in &self.0 {
            headers.append(UPGRADE, protocols.clone());
        }
        headers.append(CONNECTION, HeaderValue::from_static("Upgrade"));
    }

    /// Returns the protocol in a 101 response, if it is one of the requested protocols.
    fn accepted_protocol(&self, head: &response::Parts) -> Option<HeaderValue> {
        let mut chosen = head.headers.get_all(UPGRADE).iter();
        let (Some(protocol), None) = (chosen.next(), chosen.next()) else { return None };
        let name = protocol.as_bytes().trim_ascii();
        let is_chosen = |requested: &[u8]| requested.trim_ascii().eq_ignore_ascii_case(name);
        let mut requested = self.0.iter();
        requested
            .any(|list| list.as_bytes().split(|byte| *byte == b',').any(is_chosen))
            .then(|| protocol.clone())
    }
}

/// Result of an upgrade request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UpgradeOutcome {
    /// An ordinary response.
    NotSwitched,
    SwitchedTo(HeaderValue),
    /// A 101 that the client did not request.
    Unrequested,
}

impl UpgradeOutcome {
    pub fn new(head: &response::Parts, upgrade: Option<&UpgradeRequest>) -> Self {
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Self::NotSwitched;
        }
        let accepted = upgrade.and_then(|upgrade| upgrade.accepted_protocol(head));
        accepted.map_or(Self::Unrequested, Self::SwitchedTo)
    }
}

/// Sets the headers of a 101 response to the client.
pub(super) fn set_upgrade_headers(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{Request, Response};

    fn requested(version: Version, connection: &str, upgrade: &str) -> Option<UpgradeRequest> {
        let request = Request::builder()
            .version(version)
            .header(CONNECTION, connection)
            .header(UPGRADE, upgrade)
            .body(())
            .unwrap();
        let options = RequestOptions::read(request.headers());
        UpgradeRequest::from_head(&request.into_parts().0, options)
    }

    #[test]
    fn upgrade_needs_both_headers_and_http_1_1() {
        assert!(requested(Version::HTTP_11, "keep-alive, Upgrade", "websocket").is_some());
        assert!(requested(Version::HTTP_10, "Upgrade", "websocket").is_none());
        assert!(requested(Version::HTTP_11, "keep-alive", "websocket").is_none());
        assert!(requested(Version::HTTP_11, "Upgrade, HTTP2-Settings", "h2c").is_none());
        assert!(requested(Version::HTTP_11, "Upgrade", "foo/2, H2C").is_none());
    }

    #[test]
    fn only_requested_protocols_are_accepted() {
        let upgrade = requested(Version::HTTP_11, "upgrade", "foo/2, WebSocket").unwrap();
        let switch = |status: u16, protocols: &[&str], upgrade: Option<&UpgradeRequest>| {
            let mut response = Response::builder().status(status);
            for protocol in protocols {
                response = response.header(UPGRADE, *protocol);
            }
            UpgradeOutcome::new(&response.body(()).unwrap().into_parts().0, upgrade)
        };
        let to = |name| UpgradeOutcome::SwitchedTo(HeaderValue::from_static(name));
        assert_eq!(switch(101, &["websocket"], Some(&upgrade)), to("websocket"));
        assert_eq!(switch(101, &["foo/2"], Some(&upgrade)), to("foo/2"));
        assert_eq!(switch(200, &["websocket"], Some(&upgrade)), UpgradeOutcome::NotSwitched);
        assert_eq!(switch(101, &["other"], Some(&upgrade)), UpgradeOutcome::Unrequested);
        assert_eq!(switch(101, &[], Some(&upgrade)), UpgradeOutcome::Unrequested);
        assert_eq!(
            switch(101, &["websocket", "foo/2"], Some(&upgrade)),
            UpgradeOutcome::Unrequested
        );
        assert_eq!(switch(101, &["websocket"], None), UpgradeOutcome::Unrequested);
        assert_eq!(switch(200, &[], None), UpgradeOutcome::NotSwitched);
    }
}
