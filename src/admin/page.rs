//! The live page: one HTML document with its style and script, and the headers that protect it.

use super::routes::{AdminBody, response};
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file that the page loads. They have no secrets, so everybody may read them.
const FILES: [(&str, &str, &str); 8] = [
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/main.js", JAVASCRIPT, include_str!("page/main.js")),
    ("/page/charts.js", JAVASCRIPT, include_str!("page/charts.js")),
    ("/page/dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("/page/format.js", JAVASCRIPT, include_str!("page/format.js")),
    ("/page/incidents.js", JAVASCRIPT, include_str!("page/incidents.js")),
    ("/page/promql.js", JAVASCRIPT, include_str!("page/promql.js")),
    ("/page/slow.js", JAVASCRIPT, include_str!("page/slow.js")),
];

/// Headers of every response to a browser. The policy allows what this server sends, and nothing inline.
const SECURITY: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// Index in the list of files of the file with this path.
pub(super) fn file_at(path: &str) -> Option<usize> {
    FILES.iter().position(|(one, _, _)| *one == path)
}

/// A file of the page.
pub(super) fn file(at: usize) -> Response<AdminBody> {
    let (_, content_type, content) = FILES.get(at).copied().unwrap_or(("", CSS, ""));
    protected(response(StatusCode::OK, content_type, content))
}

/// The page.
pub(super) fn document() -> Response<AdminBody> {
    protected(response(StatusCode::OK, HTML, include_str!("page/index.html")))
}

/// A short HTML page. `text` must not contain markup of others.
pub(super) fn message(status: StatusCode, text: &str) -> Response<AdminBody> {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Streamgauge</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/page/style.css\">\
         <body class=\"message\"><main>{text}</main>"
    );
    protected(response(status, HTML, page))
}

/// The response to a successful login. The browser itself goes on to the page: after a redirect from another site, it
/// would not send the cookie.
pub(super) fn logged_in(cookie: HeaderValue) -> Response<AdminBody> {
    let text = "<meta http-equiv=\"refresh\" content=\"0; url=/\"><p><a href=\"/\">Open the live page</a></p>";
    let mut response = message(StatusCode::OK, text);
    response.headers_mut().insert(hyper::header::SET_COOKIE, cookie);
    response
}

/// Adds the security headers.
pub(super) fn protected(mut response: Response<AdminBody>) -> Response<AdminBody> {
    for (name, value) in SECURITY {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the client is a browser that wants a page: curl accepts everything, but does not name HTML.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(','));
    types.any(|one| one.split(';').next().is_some_and(|kind| kind.trim() == "text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::{ALL, Metric, MetricKind};

    #[test]
    fn browsers_get_the_page_and_tools_the_text() {
        let accepts = |value: &'static str| {
            accepts_html(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]))
        };
        assert!(accepts("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(!accepts("*/*"));
        assert!(!accepts("application/json"));
        assert!(!accepts_html(&HeaderMap::new()));
    }

    #[test]
    fn the_page_loads_only_its_own_files() {
        let html = include_str!("page/index.html");
        let all = FILES.iter().map(|(_, _, content)| *content).chain([html]);
        for text in all {
            // The namespace of SVG is a name, not a place.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"));
            assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"));
        }
        for (path, _, _) in FILES.iter().filter(|(path, _, _)| !path.ends_with(".js")) {
            assert!(html.contains(path), "{path}");
        }
        assert!(!html.contains("<style") && !html.contains("style="), "the policy forbids it");
    }

    /// Every name in the page's PromQL is a series that exists.
    #[test]
    fn the_promql_of_the_page_names_existing_metrics() {
        let text = include_str!("page/promql.js");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = text.split(|c| !is_name(c));
        let names: Vec<&str> = names
            .filter(|word| word.starts_with("streamgauge_") || word.starts_with("gen_ai_server"))
            .collect();
        assert!(names.len() > 10, "{names:?}");
        let exists = |name: &str| {
            ALL.iter().any(|Metric { name: known, kind, .. }| match kind {
                MetricKind::Histogram(_) => ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| name.strip_suffix(end) == Some(known)),
                _ => name == *known,
            })
        };
        for name in names {
            assert!(exists(name), "{name}");
        }
    }
}
