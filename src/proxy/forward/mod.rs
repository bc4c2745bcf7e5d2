//! Forwarding of one request: headers, upgrades, and the responses that the proxy generates itself.

mod error_response;
pub(crate) mod headers;
mod interim;
mod request;
mod service;
mod upgrade;

pub(crate) use service::ProxyService;
