//! gRPC through the proxy, with grpcio's client and server and the services of inference servers.

use crate::support::Streamgauge;
use crate::support::external::{assert_log_matches, run_client_script, start_server_script};

/// The server's pause before each response, in seconds.
const PAUSE: f64 = 0.02;

#[test]
fn grpc_calls_are_logged_as_the_client_saw_them() {
    let Some(server) = start_server_script("grpc_server.py", "grpcio") else { return };
    let gauge = Streamgauge::new(server.address);
    let Some(reported) = run_client_script("grpc_client.py", "grpcio", &gauge.proxy.to_string())
    else {
        return;
    };
    for line in assert_log_matches(&gauge, &reported) {
        assert!(line["ttft_s"].as_f64().is_none_or(|ttft| ttft >= PAUSE), "{line}");
    }
}
