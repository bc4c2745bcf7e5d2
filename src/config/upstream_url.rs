//! Where the upstream is, from its URL.

use crate::proxy::UpstreamAddress;
use hyper::Uri;

/// What an upstream's URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UpstreamUrl {
    pub address: UpstreamAddress,
    pub tls: bool,
}

/// Reads an upstream's URL.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(url: &str) -> Result<UpstreamUrl, String> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err("a socket's path must be absolute".into());
        }
        return Ok(UpstreamUrl { address: UpstreamAddress::Unix(path.into()), tls: false });
    }
    let uri: Uri = url.parse().map_err(|error| format!("it is no URL ({error})"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err("it must begin with http://, https:// or unix:/".into()),
    };
    let Some(authority) = uri.authority() else { return Err("it has no host".into()) };
    if authority.as_str().contains('@') {
        return Err(
            "it must not hold a user or password: clients send their own credentials".into()
        );
    }
    let query = uri.query().is_some();
    if query || !matches!(uri.path(), "" | "/") {
        return Err("it must not have a path: clients' paths are forwarded as they are".into());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("it has no host".into());
    }
    // What `port_u16` cannot read it leaves out, as if no port were given.
    let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default() {
        "" if tls => 443,
        "" => 80,
        port => port.trim_start_matches(':').parse().map_err(|_| "its port is none")?,
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
