//! The shutdown of the program: signals, the lame-duck time, the grace time, and exit codes.

use crate::support::drain::{KeepAliveClients, SHORT_REQUEST, StreamingUpstream};
use crate::support::process::StreamgaugeProcess;
use crate::support::{
    ConnectionEnd, MetricsScrape, RawConnection, TemporaryFile, TemporaryLog, chat, scrape,
    wait_for,
};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Starts Streamgauge with these lines as its file.
fn start(
    upstream: SocketAddr,
    file: &str,
    log: &TemporaryLog,
) -> (StreamgaugeProcess, TemporaryFile) {
    let file = TemporaryFile::new("toml", file);
    let arguments = ["--config", file.path(), "--request-log", log.path()];
    (StreamgaugeProcess::start(upstream, &arguments), file)
}

fn is_draining(admin: SocketAddr) -> bool {
    let mut client = RawConnection::connect(admin);
    client.send("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_message().status() == 503
}

/// Number of log lines with this outcome.
fn count(records: &[Value], outcome: &str) -> usize {
    records.iter().filter(|record| record["outcome"] == outcome).count()
}

#[test]
fn a_drain_loses_no_request_and_cuts_no_stream() {
    const STREAMS: usize = 100;
    let upstream = StreamingUpstream::default();
    let log = TemporaryLog::default();
    let file = "lame_duck_seconds = 6.0\nshutdown_grace_seconds = 60.0\n";
    let (mut process, _file) = start(upstream.server.address, file, &log);
    let mut streams: Vec<_> =
        (0..STREAMS).map(|_| StreamingUpstream::open_stream(process.proxy)).collect();
    let mut idle = RawConnection::connect(process.proxy);
    idle.send(SHORT_REQUEST);
    assert_eq!(idle.read_message().header("connection"), Vec::<String>::new());
    let clients = KeepAliveClients::start(24, process.proxy);
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    process.signal("TERM");
    wait_for("the drain", || is_draining(process.admin).then_some(()));
    std::thread::sleep(Duration::from_millis(700));
    // The idle connection is still open. Its next response is the last one.
    idle.send(SHORT_REQUEST);
    assert_eq!(idle.read_message().header("connection"), ["close"]);
    assert_eq!(idle.read_to_end(), (Vec::new(), ConnectionEnd::Closed));
    let counts = clients.stop();
    assert!(start.elapsed() < Duration::from_secs(6), "the clients stopped in the lame-duck time");
    println!("{counts:?}");
    assert_eq!((counts.refused, counts.lost), (0, 0), "{counts:?}");
    assert!(counts.closing > 24 && counts.complete > counts.closing, "{counts:?}");
    let late = StreamingUpstream::open_stream(process.proxy);
    assert!(String::from_utf8_lossy(&late.received).contains("connection: close\r\n"));
    streams.push(late);
    wait_for("the end of the lame-duck time", || TcpStream::connect(process.proxy).err());
    let metrics = MetricsScrape::parse(&scrape::get(process.admin, "/metrics"));
    assert_eq!(metrics.in_phase("streaming"), (STREAMS + 1) as f64);
    upstream.end_streams();
    for mut stream in streams {
        let (rest, ending) = stream.read_to_end();
        assert!(rest.ends_with(chat::LAST_CHUNK.as_bytes()), "a stream was cut");
        assert_eq!(ending, ConnectionEnd::Closed);
    }
    assert_eq!(process.wait().code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(6), "the lame-duck time");
    let records = log.records();
    assert_eq!(count(&records, "ok"), records.len());
    assert_eq!(records.len(), STREAMS + 1 + 2 + counts.complete);
}

#[test]
fn the_end_of_the_grace_time_resets_what_is_open() {
    let upstream = StreamingUpstream::default();
    let log = TemporaryLog::default();
    let file = "lame_duck_seconds = 0.0\nshutdown_grace_seconds = 0.5\n";
    let (mut process, _file) = start(upstream.server.address, file, &log);
    let streams: Vec<_> = (0..20).map(|_| StreamingUpstream::open_stream(process.proxy)).collect();
    // A request whose body is incomplete.
    let mut uploading = RawConnection::connect(process.proxy);
    uploading.send("POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{");
    wait_for("the request", || {
        let metrics = MetricsScrape::parse(&scrape::get(process.admin, "/metrics"));
        (metrics.in_phase("sending") == 1.0).then_some(())
    });
    process.signal("TERM");
    for mut stream in streams.into_iter().chain([uploading]) {
        let (rest, ending) = stream.read_to_end();
        assert!(!rest.ends_with(chat::LAST_CHUNK.as_bytes()));
        assert_eq!(ending, ConnectionEnd::Reset);
    }
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(count(&log.records(), "proxy_shutdown"), 21);
}

#[test]
fn connections_without_a_request_do_not_hold_the_exit() {
    let upstream = StreamingUpstream::default();
    let log = TemporaryLog::default();
    let file = "lame_duck_seconds = 0.2\nshutdown_grace_seconds = 60.0\n";
    let (mut process, _file) = start(upstream.server.address, file, &log);
    let mut clients: Vec<_> = (0..6).map(|_| RawConnection::connect(process.proxy)).collect();
    // Nothing, a partial request head, a partial HTTP/2 preface, and a complete one without a request.
    clients[1].send("GET / HTTP/1.1\r\nHost: h\r\nX-Half: ");
    clients[2].send("PRI * HTTP/2.0\r\n");
    clients[3].send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    clients[3].read_exactly(9).unwrap();
    // An idle connection after a request, and a partial head after a request.
    for client in &mut clients[4..] {
        client.send(SHORT_REQUEST);
        assert_eq!(client.read_message().status(), 200);
    }
    clients[5].send("GET / HTTP/1.1\r\nHost: h\r\n");
    let start = Instant::now();
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(count(&log.records(), "ok"), 2);
}

/// SIGTERM and SIGINT twice, both together, and SIGQUIT.
#[test]
fn a_second_signal_and_sigquit_abort_at_once_and_flush_the_log() {
    for signals in [&["TERM", "TERM"][..], &["INT", "INT"], &["TERM", "INT"], &["QUIT"]] {
        let upstream = StreamingUpstream::default();
        let log = TemporaryLog::default();
        let file = "lame_duck_seconds = 60.0\nshutdown_grace_seconds = 60.0\n";
        let (mut process, _file) = start(upstream.server.address, file, &log);
        let mut stream = StreamingUpstream::open_stream(process.proxy);
        let start = Instant::now();
        for (index, name) in signals.iter().enumerate() {
            process.signal(name);
            if index + 1 < signals.len() {
                wait_for("the drain", || is_draining(process.admin).then_some(()));
            }
        }
        assert_eq!(stream.read_to_end().1, ConnectionEnd::Reset, "{signals:?}");
        assert_eq!(process.wait().code(), Some(1), "{signals:?}");
        assert!(start.elapsed() < Duration::from_secs(15), "{signals:?}: {:?}", start.elapsed());
        assert_eq!(count(&log.records(), "proxy_shutdown"), 1, "{signals:?}");
    }
}

/// At a terminal, nobody waits for load balancers.
#[test]
fn sigint_has_no_lame_duck_time() {
    let upstream = StreamingUpstream::default();
    let log = TemporaryLog::default();
    let (mut process, _file) = start(upstream.server.address, "lame_duck_seconds = 60.0\n", &log);
    let start = Instant::now();
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}
