//! An engine that hangs while its server accepts connections.

use crate::support::connection::chunk;
use crate::support::upstream::EventReceiver;
use crate::support::{Bracket, RawConnection, ScriptedUpstream, Streamgauge, chat, wait_for};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Instant;

const PROGRESS: &str = "streamgauge_engine_progress_seconds";
const LIMIT: &str = "streamgauge_engine_progress_limit_seconds";

/// Body of a page of the admin port, whatever its status.
fn get(admin: SocketAddr, path: &str) -> String {
    let mut client = RawConnection::connect(admin);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    String::from_utf8(client.read_message().body).unwrap()
}

#[test]
fn a_stream_without_output_makes_the_engine_stuck_until_it_has_output() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let (report, sent) = EventReceiver::channel();
    let upstream = ScriptedUpstream::with_script(move |_, connection| {
        connection.read_message();
        let start = [chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("a"))].concat();
        report(Bracket::around(|| connection.send(start)).1);
        wait.lock().unwrap().recv().unwrap();
        connection.send(chunk(chat::content_event("b")));
        wait.lock().unwrap().recv().unwrap();
        connection.send([chunk(chat::DONE), chat::LAST_CHUNK.into()].concat());
        connection.wait_for_close();
    });
    let gauge = Streamgauge::new(upstream.address);
    let ready = || get(gauge.admin, "/readyz?engine=1");
    assert_eq!(ready(), "ready\n", "nobody asks");
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let start = sent.wait();
    assert_eq!(gauge.scrape().sum(LIMIT, &[]), 10.0);
    let stuck = wait_for("a stuck engine", || Some(ready()).filter(|page| page != "ready\n"));
    let (_, after) = Bracket::at(Instant::now()).since(start);
    assert!(after >= 10.0, "after {after} s");
    assert!(stuck.contains("generates nothing: output is due for 10."), "{stuck}");
    assert!(gauge.scrape().sum(PROGRESS, &[]) >= 10.0);
    assert_eq!(get(gauge.admin, "/readyz"), "ready\n", "without the parameter");
    go.send(()).unwrap();
    wait_for("progress", || (ready() == "ready\n").then_some(()));
    go.send(()).unwrap();
    client.read_message();
    gauge.requests_when(1);
    assert_eq!(gauge.scrape().sum(PROGRESS, &[]), 0.0, "nobody asks");
}
