//! gRPC through the proxy: grpcio's client and server, with the services of inference servers.

use crate::support::Gauge;
use crate::support::client::{ask, hold, serve};

/// The server's, before each response.
const PAUSE: f64 = 0.02;

#[test]
fn grpc() {
    let Some(server) = serve("grpc_server.py", "grpcio") else { return };
    let gauge = Gauge::new(server.address);
    let Some(told) = ask("grpc_client.py", "grpcio", &gauge.proxy.to_string()) else { return };
    for line in hold(&gauge, &told) {
        assert!(line["ttft_s"].as_f64().is_none_or(|ttft| ttft >= PAUSE), "{line}");
    }
}
