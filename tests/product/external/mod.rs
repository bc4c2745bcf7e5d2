//! Tests with other projects' programs: API clients, Envoy, Prometheus. A test whose program is missing is
//! skipped and prints a line. `dev/test --fast` leaves these tests out.

mod grpc;
mod incident;
mod incident_views;
mod mixin;
mod prometheus;
mod rare_events;
mod sdks;
mod websocket;
