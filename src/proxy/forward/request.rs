//! Request head: validation, and the changes that forwarding needs.

use super::error_response::ErrorResponse;
use super::headers::{self, RequestOptions};
use super::upgrade::UpgradeRequest;
use crate::proxy::upstream::{Http2Mode, UpstreamConfig, UpstreamProtocol};
use hyper::header::{
    CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::{request, uri};
use hyper::{Method, Uri, Version};
use streamgauge_core::wire::reject_reason::RejectReason;

/// How a request is sent to the upstream.
#[derive(Debug)]
pub(super) struct ForwardPlan {
    pub protocol: UpstreamProtocol,
    /// Protocols that the client wants to switch to.
    pub upgrade: Option<UpgradeRequest>,
}

/// Validates the client's request head and changes it to the one that is forwarded over HTTP/1.1.
pub(super) fn prepare_head(
    head: &mut request::Parts,
    options: RequestOptions,
    has_body: bool,
    config: &UpstreamConfig,
) -> Result<ForwardPlan, ErrorResponse> {
    if head.method == Method::CONNECT {
        return Err(ErrorResponse::Rejected(RejectReason::Connect));
    }
    let is_http2 = head.version == Version::HTTP_2;
    if is_http2 {
        check_http2(head)?;
    }
    let host = host(head, config)?;
    let is_grpc = is_http2 && is_grpc(&head.headers);
    let protocol = match (config.http2, config.tls) {
        (Http2Mode::Never, _) => UpstreamProtocol::Http1,
        (Http2Mode::Always, _) => UpstreamProtocol::Http2,
        (Http2Mode::Auto, true) => UpstreamProtocol::Negotiated,
        (Http2Mode::Auto, false) if is_grpc => UpstreamProtocol::Http2,
        (Http2Mode::Auto, false) => UpstreamProtocol::Http1,
    };
    // HTTP/2 has no Upgrade header. With `always`, the server gets an ordinary request.
    let upgrade = match config.http2 {
        Http2Mode::Always => None,
        _ => UpgradeRequest::from_head(head, options),
    };
    head.headers = headers::remove_hop_by_hop(std::mem::take(&mut head.headers));
    if is_http2 {
        join_cookies(&mut head.headers);
        if has_body && !head.headers.contains_key(CONTENT_LENGTH) {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if options.trailers {
        headers::set_accepts_trailers(&mut head.headers);
    }
    if let Some(upgrade) = &upgrade {
        upgrade.add_to(&mut head.headers);
    }
    if let Some(host) = host {
        head.headers.insert(HOST, host);
    }
    if head.uri.authority().is_some() {
        head.uri = origin_form(&head.uri);
    }
    head.version = Version::HTTP_11;
    // The proxy handles the upgrade itself, not hyper.
    head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let protocol = if upgrade.is_some() { UpstreamProtocol::Http1 } else { protocol };
    Ok(ForwardPlan { protocol, upgrade })
}

/// Changes a head for HTTP/1.1 to one for HTTP/2 (RFC 9113, sections 8.2.2 and 8.3.1).
pub(super) fn to_http2_head(
    head: &mut request::Parts,
    config: &UpstreamConfig,
) -> Result<(), ErrorResponse> {
    let authority = match head.headers.get(HOST) {
        Some(host) if !host.is_empty() => host.clone(),
        _ => HeaderValue::from_str(&config.authority()).map_err(|_| BAD_TARGET)?,
    };
    let mut parts = uri::Parts::default();
    parts.scheme = uri::Scheme::try_from(config.scheme()).ok();
    parts.authority = uri::Authority::try_from(authority.as_bytes()).ok();
    parts.path_and_query = head.uri.path_and_query().cloned();
    head.uri = Uri::from_parts(parts).map_err(|_| BAD_TARGET)?;
    let fields = headers::remove_http1_framing(std::mem::take(&mut head.headers));
    head.headers = headers::remove_headers(fields, |name| *name == HOST);
    head.version = Version::HTTP_2;
    Ok(())
}

const BAD_TARGET: ErrorResponse = ErrorResponse::Rejected(RejectReason::Target);
const BAD_HOST: ErrorResponse = ErrorResponse::Rejected(RejectReason::Host);

/// Rejects what hyper does not check in HTTP/2, where frames delimit the body. The gate has checked HTTP/1.1.
fn check_http2(head: &request::Parts) -> Result<(), ErrorResponse> {
    let scheme = head.uri.scheme();
    if scheme.is_some_and(|scheme| ![uri::Scheme::HTTP, uri::Scheme::HTTPS].contains(scheme)) {
        return Err(BAD_TARGET);
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let is_number = |length: &HeaderValue| {
        !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
    };
    if !lengths.next().is_none_or(is_number) || lengths.next().is_some() {
        return Err(ErrorResponse::Rejected(RejectReason::ContentLength));
    }
    Ok(())
}

/// Returns the `Host` to send, if it differs from the client's.
fn host(
    head: &request::Parts,
    config: &UpstreamConfig,
) -> Result<Option<HeaderValue>, ErrorResponse> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (given, further) = (hosts.next(), hosts.next());
    // The authority in the target takes precedence over the header (RFC 9112, 3.2.2; RFC 9113, 8.3.1). User and
    // password in it are not forwarded (RFC 9110, 4.2.4).
    let authority =
        head.uri.authority().and_then(|authority| authority.as_str().rsplit('@').next());
    let may_omit_host = match head.version {
        Version::HTTP_2 => authority.is_some(),
        version => version == Version::HTTP_10,
    };
    if further.is_some() || given.is_none() && !may_omit_host {
        return Err(BAD_HOST);
    }
    if !given.is_none_or(is_host) {
        return Err(BAD_HOST);
    }
    if head.version == Version::HTTP_2
        && let (Some(given), Some(authority)) = (given, authority)
        && !given.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
    {
        return Err(BAD_HOST);
    }
    let host = match authority {
        _ if config.rewrite_host => config.authority(),
        Some(authority) => authority.into(),
        None if given.is_none() => config.authority(),
        None => return Ok(None),
    };
    HeaderValue::from_str(&host).map(Some).map_err(|_| BAD_TARGET)
}

/// Whether the value is empty, or a host with an optional port.
fn is_host(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.is_empty()
        || is_plain_host(value)
        || !value.contains(&b'@') && uri::Authority::try_from(value).is_ok()
}

/// Whether the value is a name or an IPv4 address, with an optional port. Most are, and a complete parse costs more.
fn is_plain_host(value: &[u8]) -> bool {
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let (name, port) = value.split_at(value.iter().take_while(|byte| is_in_name(byte)).count());
    let is_port = |port: &[u8]| {
        port.split_first().is_none_or(|(colon, digits)| {
            *colon == b':'
                && (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
        })
    };
    !name.is_empty() && is_port(port)
}

/// Returns the path and query of a target in absolute form.
fn origin_form(target: &Uri) -> Uri {
    let path = target.path_and_query().cloned();
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

/// Whether the request is gRPC. gRPC-Web is designed for HTTP/1.1 and is not included.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Joins split cookie headers, which only HTTP/2 allows (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
