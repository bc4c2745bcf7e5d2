//! The proxy: it forwards every byte unchanged, over HTTP/1.1, HTTP/2 and TLS, however a request ends.

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod client_disconnects;
mod connections;
mod departures;
mod drain;
mod early_answers;
mod endings;
mod fault_rounds;
mod harmless;
mod http2;
mod http2_streams;
mod http2_upstream;
mod interim_responses;
mod limits;
mod limits_connections;
mod limits_http2;
mod limits_server;
mod rejected_requests;
mod tls;
mod tls_certificates;
mod transparency_bodies;
mod transparency_framing;
mod transparency_headers;
mod transparency_recordings;
mod upgrade;
mod websocket;
