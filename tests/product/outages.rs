//! A server that goes away and comes back: one line in the log for each, and the cause in the error response.

use crate::support::process::StreamgaugeProcess;
use crate::support::{RawConnection, ScriptedUpstream, chat, wait_for};
use std::net::SocketAddr;

/// Closes its connection, so that no pooled connection outlives the server.
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

/// Sends a chat request on a new connection. Returns the status and the body.
fn send(proxy: SocketAddr) -> (u16, String) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::request());
    let response = client.read_message();
    (response.status(), String::from_utf8(response.data()).unwrap())
}

/// The lines of the log with this text.
fn lines(process: &StreamgaugeProcess, text: &str) -> Vec<String> {
    process.log().lines().filter(|line| line.contains(text)).map(Into::into).collect()
}

#[test]
fn an_outage_is_logged_once_with_its_cause_and_its_length() {
    // A separate IP address: no other test binds its port meanwhile.
    let answer = |_, connection: &mut RawConnection| {
        connection.read_message();
        connection.send(OK);
    };
    let server = ScriptedUpstream::at("127.0.0.79:0".parse().unwrap(), answer);
    let address = server.address;
    let process = StreamgaugeProcess::start(address, &["--name", "gpu"]);
    assert_eq!(send(process.proxy).0, 200);
    assert_eq!(lines(&process, "cannot connect"), Vec::<String>::new());

    server.stop();
    for _ in 0..3 {
        let (status, body) = send(process.proxy);
        assert_eq!(status, 503);
        assert!(body.contains("Connection refused (os error 111)"), "{body}");
    }
    let gone = wait_for("the warning", || lines(&process, "cannot connect").pop());
    for part in ["WARN", "upstream=\"gpu\"", "cause=Connection refused (os error 111)"] {
        assert!(gone.contains(part), "{part}: {gone}");
    }

    let server = ScriptedUpstream::at(address, answer);
    let back =
        wait_for("the end of the outage", || lines(&process, "accepts connections again").pop());
    for part in ["INFO", "upstream=\"gpu\"", "seconds="] {
        assert!(back.contains(part), "{part}: {back}");
    }
    assert_eq!(send(process.proxy).0, 200);
    assert_eq!(lines(&process, "cannot connect").len(), 1, "{}", process.log());
    assert_eq!(lines(&process, "accepts connections again").len(), 1, "{}", process.log());
    drop(server);
}
