//! The limit of open files: it is raised at start, and clients cannot use all descriptors.

use crate::support::process::StreamgaugeProcess;
use crate::support::{MetricsScrape, RawConnection, ScriptedUpstream, chat, scrape, wait_for};
use std::time::{Duration, Instant};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn metrics(process: &StreamgaugeProcess) -> MetricsScrape {
    MetricsScrape::parse(&scrape::get(process.admin, "/metrics"))
}

fn exceeded(process: &StreamgaugeProcess, limit: &str) -> f64 {
    let label = format!("limit=\"{limit}\"");
    metrics(process).sum("streamgauge_limit_exceeded_total", &[&label])
}

fn send_request(client: &mut RawConnection) {
    client.send(chat::request());
    assert_eq!(client.read_message().status(), 200);
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let process = StreamgaugeProcess::start_limited(upstream.address, "ulimit -Sn 64", &[]);
    let max = metrics(&process).sum("process_max_fds", &[]);
    assert!(max > 64.0, "{max}");
    let log = process.log();
    assert!(log.contains(&format!("open_files={max}")), "{log}");
}

/// Hundreds of connections of clients that send nothing, or half a request.
#[test]
fn clients_cannot_use_all_descriptors() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let process =
        StreamgaugeProcess::start_limited(upstream.address, "ulimit -n 200", &["--workers", "2"]);
    let mut regular = RawConnection::connect(process.proxy);
    send_request(&mut regular);
    let mut slow = Vec::new();
    for i in 0..400 {
        let mut client = RawConnection::connect(process.proxy);
        if i % 2 == 0 {
            client.try_send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n");
        }
        slow.push(client);
    }
    wait_for("the refusals", || (exceeded(&process, "connections") >= 300.0).then_some(()));
    for _ in 0..20 {
        assert_eq!(scrape::get(process.admin, "/readyz?upstream=1"), "ready\n");
        // The pool drops its connection after 3 s at the latest, so this also opens new ones.
        send_request(&mut regular);
    }
    assert_eq!(exceeded(&process, "descriptors"), 0.0);
    drop(slow);
    wait_for("a new client to be served", || {
        let mut client = RawConnection::connect(process.proxy);
        client.send(chat::request());
        (client.read_message().status() == 200).then_some(())
    });
    wait_for("the books", || {
        let scrape = metrics(&process);
        (scrape.sum("streamgauge_in_flight_requests", &[]) == 0.0).then(|| scrape.assert_balanced())
    });
}

/// With a wrong `max_connections`, descriptors run out. Accepting then pauses, and continues when there are some again.
#[cfg(target_os = "linux")]
#[test]
fn accepting_pauses_without_descriptors() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let file = crate::support::TemporaryFile::new("toml", "max_connections = 1000\n");
    let arguments = ["--config", file.path()];
    let process = StreamgaugeProcess::start_limited(upstream.address, "ulimit -n 100", &arguments);
    let clients: Vec<_> = (0..200).map(|_| RawConnection::connect(process.proxy)).collect();
    // Connections to the admin port cannot be accepted either.
    let start = (Instant::now(), process.cpu_time());
    std::thread::sleep(Duration::from_secs(2));
    let used = process.cpu_time() - start.1;
    assert!(used < start.0.elapsed() / 4, "a busy loop: {used:?}");
    drop(clients);
    let mut client = RawConnection::connect(process.proxy);
    send_request(&mut client);
    assert!(exceeded(&process, "descriptors") > 0.0);
}
