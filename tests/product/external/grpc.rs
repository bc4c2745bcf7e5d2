//! gRPC through the proxy: grpcio's client and server, with the services of inference servers.

use crate::support::Streamgauge;
use crate::support::external::{assert_log_matches, run_client_script, start_server_script};

/// The server's, before each response.
const PAUSE: f64 = 0.02;

#[test]
fn grpc() {
    let Some(server) = start_server_script("grpc_server.py", "grpcio") else { return };
    let gauge = Streamgauge::new(server.address);
    let Some(told) = run_client_script("grpc_client.py", "grpcio", &gauge.proxy.to_string()) else {
        return;
    };
    for line in assert_log_matches(&gauge, &told) {
        assert!(line["ttft_s"].as_f64().is_none_or(|ttft| ttft >= PAUSE), "{line}");
    }
}
