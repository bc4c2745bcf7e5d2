//! The measurements: dialects, labels and the text of `/metrics`. None of these tests depends on time.

#[path = "../support/mod.rs"]
mod support;

mod capacity;
mod captures;
mod dialects_bedrock;
mod dialects_engines;
mod dialects_openai;
mod dialects_realtime;
mod dialects_simulated;
mod dialects_vendors;
mod edge_wait;
mod exposition;
mod field_reports;
mod hostile_labels;
mod metrics_page;
mod not_inference;
mod provider;
mod recordings;
mod recordings_disguised;
mod request_bodies;
mod unknown_apis;
