//! Address of an admin port.

use hyper::Uri;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Port of an address that has none: the default of the key `admin`.
const DEFAULT_PORT: u16 = 9464;

/// Address of an admin port: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUrl {
    has_tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl AdminUrl {
    /// Address of the port that listens on `listener`. An unspecified IP address (0.0.0.0 or ::) becomes loopback.
    pub fn of_listener(listener: SocketAddr, has_tls: bool) -> Self {
        let ip = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self { has_tls, host: ip.to_string(), port: listener.port() }
    }

    /// Whether the scheme is `https`.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// Name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as in the header `Host`.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.has_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected http://HOST:PORT, https://HOST:PORT or HOST:PORT";
        let (has_tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("unknown scheme {scheme}: {expected}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let uri: Uri = rest.parse().map_err(|error| format!("{error}: {expected}"))?;
        let authority = uri.authority().filter(|authority| authority.as_str() == rest);
        let authority = authority.ok_or(expected)?;
        if rest.contains('@') {
            return Err("user names are not supported: use the admin token".to_owned());
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            // `127.0.0.1:` and `127.0.0.1:99999` have no valid port.
            None if authority.as_str() == authority.host() => DEFAULT_PORT,
            None => return Err(format!("invalid port: {expected}")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // The variable STREAMGAUGE__ADMIN of a container is the address of the listener.
        match host.parse() {
            Ok(ip) => Ok(Self::of_listener(SocketAddr::new(ip, port), has_tls)),
            Err(_) => Ok(Self { has_tls, host: host.to_owned(), port }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        for (text, expected) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("0.0.0.0:9464", "http://127.0.0.1:9464"),
            ("[::]:1", "http://[::1]:1"),
            ("http://gpu-1", "http://gpu-1:9464"),
            ("https://gpu-1.example:443/", "https://gpu-1.example:443"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]:9464"),
            ("localhost", "http://localhost:9464"),
        ] {
            assert_eq!(text.parse::<AdminUrl>().map(|url| url.to_string()), Ok(expected.into()));
        }
        for text in
            ["", "ftp://a", "http://", "a/metrics", "http://a/b", "a:99999", "a:", "u:p@a", "a b"]
        {
            assert!(text.parse::<AdminUrl>().is_err(), "{text}");
        }
    }
}
