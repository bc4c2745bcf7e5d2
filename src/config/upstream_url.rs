//! Where the upstream is, from its URL.

use hyper::Uri;

/// Host and port of an upstream's URL.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(url: &str) -> Result<(String, u16), String> {
    let uri: Uri = url.parse().map_err(|error| format!("it is no URL ({error})"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(
                "https is not supported yet: put Streamgauge on the server's side of TLS".into()
            );
        }
        _ => return Err("it must begin with http://".into()),
    }
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
        "" => 80,
        port => port.trim_start_matches(':').parse().map_err(|_| "its port is none")?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let good = [
            ("http://127.0.0.1:8000", "127.0.0.1", 8000),
            ("http://vllm/", "vllm", 80),
            ("http://[::1]:8000", "::1", 8000),
        ];
        for (url, host, port) in good {
            assert_eq!(parse(url), Ok((host.to_owned(), port)), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:8000",
            "https://api.example.com",
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
