//! Which path is which API.

use hyper::{Method, Uri};

use super::Api;
use crate::sim::request::Ask;

/// A request's API, and what its path says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Route {
    pub(in crate::sim) api: Api,
    /// The model, where it stands in the path.
    pub(in crate::sim) model: Option<String>,
    /// Whether it is a stream, where the path decides.
    pub(in crate::sim) stream: Option<bool>,
    /// The query, without its question mark.
    pub(in crate::sim) query: String,
}

impl Route {
    /// The route of an inference request; `None` if it is none.
    pub(in crate::sim) fn of(method: &Method, uri: &Uri) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        let api = match uri.path() {
            "/v1/chat/completions" => Api::Chat,
            "/v1/completions" => Api::Completions,
            _ => return None,
        };
        let query = uri.query().unwrap_or_default().to_owned();
        Some(Self { api, model: None, stream: None, query })
    }

    /// Decides what only the body can tell.
    pub(in crate::sim) fn settle(&mut self, _ask: &Ask) {}
}
