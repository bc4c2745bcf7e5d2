//! Tests with programs that other people wrote: SDKs, nginx, Envoy, Prometheus. Each is skipped, with a line that
//! says so, where its program is missing. `dev/test --fast` leaves them out.

mod grpc;
mod prometheus;
mod sdks;
mod websocket;
