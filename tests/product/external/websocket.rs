//! WebSockets through the proxy: the `websockets` client and server, with an echo and a realtime API.

use crate::support::Streamgauge;
use crate::support::external::{assert_log_matches, run_client_script, start_server_script};

/// The server's, before each piece of an answer.
const PAUSE: f64 = 0.02;

#[test]
fn websocket() {
    let Some(server) = start_server_script("websocket_server.py", "websockets") else { return };
    let gauge = Streamgauge::new(server.address);
    let proxy = gauge.proxy.to_string();
    let Some(told) = run_client_script("websocket_client.py", "websockets", &proxy) else { return };
    assert_log_matches(&gauge, &told);
    // Each response of a session is timed from when it was asked for: the pause before it is no part of it.
    let turns = told.iter().filter_map(|told| told["turns_s"].as_array()).flatten();
    let turns: Vec<f64> = turns.map(|first| first.as_f64().unwrap()).collect();
    let (least, most) = (PAUSE * turns.len() as f64, turns.iter().sum::<f64>());
    let measured = gauge.scrape().sum("gen_ai_server_time_to_first_token_seconds_sum", &[]);
    assert!(least <= measured && measured <= most, "{least} <= {measured} <= {most}");
}
