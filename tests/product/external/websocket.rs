//! WebSockets through the proxy, with the client and server of `websockets`: an echo and a realtime API.

use crate::support::Streamgauge;
use crate::support::external::{assert_log_matches, run_client_script, start_server_script};

/// The server's pause before each part of a response, in seconds.
const PAUSE: f64 = 0.02;

#[test]
fn websocket_sessions_are_logged_as_the_client_saw_them() {
    let Some(server) = start_server_script("websocket_server.py", "websockets") else { return };
    let gauge = Streamgauge::new(server.address);
    let proxy = gauge.proxy.to_string();
    let Some(reported) = run_client_script("websocket_client.py", "websockets", &proxy) else {
        return;
    };
    assert_log_matches(&gauge, &reported);
    // Each response of a session is timed from its own request. The pause before it does not count.
    let turns = reported.iter().filter_map(|reported| reported["turns_s"].as_array()).flatten();
    let turns: Vec<f64> = turns.map(|first| first.as_f64().unwrap()).collect();
    let (least, most) = (PAUSE * turns.len() as f64, turns.iter().sum::<f64>());
    let measured = gauge.scrape().sum("gen_ai_server_time_to_first_token_seconds_sum", &[]);
    assert!(least <= measured && measured <= most, "{least} <= {measured} <= {most}");
}
