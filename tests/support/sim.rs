//! The simulated server as an upstream, and a client for it.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use streamgauge_sim::model::EngineSpec;
use streamgauge_sim::{SimServer, TruthLog};

/// Starts a simulated server on its own thread.
pub fn simulate(engine: EngineSpec) -> (SocketAddr, TruthLog) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server =
        runtime.block_on(SimServer::bind("127.0.0.1:0".parse().unwrap(), vec![engine])).unwrap();
    let (address, truth) = (server.local_addr().unwrap(), server.truth());
    std::thread::spawn(move || runtime.block_on(server.run(std::future::pending())));
    (address, truth)
}

/// Sends one request and reads the response to its end.
pub fn send_chat(proxy: SocketAddr, body: &Value) -> String {
    let body = body.to_string();
    let mut socket = TcpStream::connect(proxy).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(
        socket,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    // A response that breaks off can end within a character.
    String::from_utf8_lossy(&answer).into_owned()
}
