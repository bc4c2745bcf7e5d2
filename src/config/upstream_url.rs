//! Parser of the upstream's URL.

use crate::proxy::UpstreamAddress;
use hyper::Uri;
use std::fmt;

/// The parts of an upstream's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    pub address: UpstreamAddress,
    /// Whether the scheme is `https`.
    pub tls: bool,
}

/// The URL, without a port that is the scheme's default.
impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default_port) = if self.tls { ("https", 443) } else { ("http", 80) };
        match &self.address {
            UpstreamAddress::Tcp { host, port } if *port == default_port && !host.contains(':') => {
                write!(f, "{scheme}://{host}")
            }
            UpstreamAddress::Tcp { .. } => write!(f, "{scheme}://{}", self.address),
            UpstreamAddress::Unix(_) => write!(f, "{}", self.address),
        }
    }
}

/// Parses an upstream's URL.
///
/// # Errors
/// What is wrong with the URL.
pub(super) fn parse(url: &str) -> Result<UpstreamUrl, String> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err("the path of a socket must begin with /".into());
        }
        return Ok(UpstreamUrl { address: UpstreamAddress::Unix(path.into()), tls: false });
    }
    let uri: Uri = url.parse().map_err(|error| format!("not a URL ({error})"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("the URL must begin with http://, https:// or unix:/".into()),
    };
    let Some(authority) = uri.authority() else { return Err("the URL has no host".into()) };
    if authority.as_str().contains('@') {
        return Err(
            "the URL must not contain a user or password, because clients send their own credentials".into()
        );
    }
    let query = uri.query().is_some();
    if query || !matches!(uri.path(), "" | "/") {
        return Err(
            "the URL must not have a path, because clients' paths are forwarded unchanged".into()
        );
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("the URL has no host".into());
    }
    // `Uri::port_u16` ignores a port that is out of range, as if the URL had none.
    let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
        "" if tls => 443,
        "" => 80,
        port => port
            .trim_start_matches(':')
            .parse()
            .map_err(|_| "the port is not a number from 0 to 65535")?,
    };
    Ok(UpstreamUrl { address: UpstreamAddress::Tcp { host: host.to_owned(), port }, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let good = [
            ("http://127.0.0.1:8000", "127.0.0.1", 8000, false),
            ("http://vllm/", "vllm", 80, false),
            ("http://[::1]:8000", "::1", 8000, false),
            ("https://api.example.com", "api.example.com", 443, true),
            ("https://h:8443/", "h", 8443, true),
        ];
        for (url, host, port, tls) in good {
            let address = UpstreamAddress::Tcp { host: host.to_owned(), port };
            assert_eq!(parse(url), Ok(UpstreamUrl { address, tls }), "{url}");
        }
        for url in ["unix:/run/vllm.sock", "unix:///run/vllm.sock"] {
            let address = UpstreamAddress::Unix("/run/vllm.sock".into());
            assert_eq!(parse(url), Ok(UpstreamUrl { address, tls: false }), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:8000",
            "https://api.example.com/v1",
            "unix:vllm.sock",
            "unix:",
            "ftp://h",
            "http://",
            "http://h/v1",
            "http://h?x=1",
            "http://user:secret@h",
            "http://h:99999",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
