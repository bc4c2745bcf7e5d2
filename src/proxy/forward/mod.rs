//! Forwarding of one request: headers, upgrades, and the responses that the proxy generates itself.

mod error_response;
pub(crate) mod headers;
mod interim;
mod request;
mod request_deadline;
mod service;
mod upgrade;

pub(crate) use error_response::request_header_timeout;
pub(crate) use service::ProxyService;
