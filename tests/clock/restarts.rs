//! Restarts that are detected from the server's own metrics page.

use crate::support::cold_start::{
    TTFT, answer_events, assert_one_cold_start, cold_starts, reserve_address, send,
    wait_until_refused, wait_until_up,
};
use crate::support::connection::chunk;
use crate::support::{Disturbance, ScriptedUpstream, Streamgauge, chat, wait_for};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};
use streamgauge::testing::FaultInjection;

/// The start time of a server's process, by a clock one hour ahead.
fn process(started: u64) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(started))
}

/// The current time of that clock, in seconds.
fn server_clock() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    now.as_secs() + 3600
}

/// A server whose metrics page reports when its process started. Also returns the number of requests for that
/// page.
fn serve_with_page(
    address: SocketAddr,
    started: Arc<AtomicU64>,
) -> (ScriptedUpstream, Arc<AtomicU32>) {
    let answer = chat::stream_response(&answer_events());
    let (page_requests, counted) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
    let seen = Arc::clone(&counted);
    let server = ScriptedUpstream::at(address, move |_, connection| {
        while let Some(request) = connection.try_read_message() {
            if !request.head.starts_with(b"GET /metrics HTTP/1.1\r\n") {
                connection.try_send(&answer);
                continue;
            }
            assert!(request.header("accept-encoding").is_empty());
            seen.fetch_add(1, SeqCst);
            let started = started.load(SeqCst) as f64;
            let page = format!(
                "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {started:e}\nup 1\n"
            );
            let now = Duration::from_secs(server_clock());
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + now);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: {date}\r\n");
            // Alternately with a length, and in chunks that split the line.
            let (front, back) = page.split_at(50);
            let is_sized = page_requests.fetch_add(1, SeqCst) % 2 == 0;
            let rest = match is_sized {
                true => format!("Content-Length: {}\r\n\r\n{page}", page.len()).into_bytes(),
                false => {
                    let chunks = [front, back].map(chunk).concat();
                    [b"Transfer-Encoding: chunked\r\n\r\n", &*chunks, chat::LAST_CHUNK.as_bytes()]
                        .concat()
                }
            };
            connection.try_send([head.as_bytes(), &rest].concat());
        }
    });
    (server, counted)
}

/// The start time that Streamgauge exports.
fn start_time(gauge: &Streamgauge) -> Option<f64> {
    let scrape = gauge.scrape();
    let name = "streamgauge_upstream_start_time_seconds";
    scrape.has(name).then(|| scrape.sum(name, &[]))
}

#[test]
fn a_restart_is_detected_from_the_metrics_page_alone() {
    let before = server_clock() - 1000;
    let started = process(before);
    let (server, page_requests) = serve_with_page(reserve_address(), Arc::clone(&started));
    // The page is then read every second.
    let keys = [("server_metrics_path", "/metrics"), ("cold_idle_seconds", "1")];
    let gauge = Streamgauge::with(server.address, &keys, FaultInjection::default());
    wait_for("the first page", || start_time(&gauge));
    assert_eq!(start_time(&gauge), Some(before as f64));
    let use_it = || {
        send(&gauge, &chat::request());
        std::thread::sleep(Duration::from_millis(100));
    };
    (0..15).for_each(|_| use_it());
    assert!(
        page_requests.load(SeqCst) >= 2,
        "the page is read repeatedly while the server is used"
    );
    assert!(!gauge.scrape().has("streamgauge_cold_starts_total"));
    let after = server_clock();
    started.store(after, SeqCst);
    wait_for("the restart", || {
        use_it();
        (cold_starts(&gauge.scrape(), "restarted") == 1.0).then_some(())
    });
    assert_eq!(start_time(&gauge), Some(after as f64));
    (0..15).for_each(|_| use_it());
    let scrape = gauge.scrape();
    assert_eq!(cold_starts(&scrape, "restarted"), 1.0, "counted once");
    assert_eq!(scrape.sum("streamgauge_cold_starts_total", &[]), 1.0);
    assert!(!scrape.has("streamgauge_cold_start_seconds_count"), "nobody knows how long");
    assert_eq!(scrape.sum(TTFT, &["start=\"cold\""]), 0.0);
    // An idle server is not probed, except once after the last request.
    std::thread::sleep(Duration::from_millis(1500));
    let pages = page_requests.load(SeqCst);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(page_requests.load(SeqCst), pages);
    // A restart while idle is not counted: the server may have scaled to zero.
    started.store(server_clock() + 5, SeqCst);
    send(&gauge, &chat::request());
    wait_for("a page", || (page_requests.load(SeqCst) > pages).then_some(()));
    wait_for("the new process", || (start_time(&gauge) > Some(after as f64)).then_some(()));
    assert_eq!(gauge.scrape().sum("streamgauge_cold_starts_total", &[]), 1.0);
}

#[test]
fn a_restart_seen_by_requests_and_by_the_page_counts_once() {
    for (path, reason) in [(Some("/metrics"), "restarted"), (None, "unreachable")] {
        let disturbance = Disturbance::watch();
        let address = reserve_address();
        let started = server_clock() - 1000;
        let (server, page_requests) = serve_with_page(address, process(started));
        let keys = path.map(|path| ("server_metrics_path", path));
        let gauge = Streamgauge::with(address, keys.as_slice(), FaultInjection::default());
        wait_until_up(&gauge, 1.0);
        match path {
            Some(_) => assert_eq!(wait_for("a page", || start_time(&gauge)), started as f64),
            None => std::thread::sleep(Duration::from_millis(600)),
        }
        send(&gauge, &chat::request());
        drop(server);
        wait_for("the listener's end", || std::net::TcpStream::connect(address).err());
        let start = wait_until_refused(&gauge);
        wait_until_up(&gauge, 0.0);
        std::thread::sleep(Duration::from_millis(500));
        let started = server_clock();
        let (_server, again) = serve_with_page(address, process(started));
        let took = start.elapsed();
        wait_until_up(&gauge, 1.0);
        send(&gauge, &chat::request());
        // One cold start, with the right reason: no stream broke.
        assert_one_cold_start(&gauge, reason, "m", took, &disturbance);
        std::thread::sleep(Duration::from_millis(600));
        assert_one_cold_start(&gauge, reason, "m", took, &disturbance);
        let pages = page_requests.load(SeqCst) + again.load(SeqCst);
        assert_eq!((pages > 0, start_time(&gauge).is_some()), (path.is_some(), path.is_some()));
    }
}

#[test]
fn a_page_without_a_start_time_is_ignored() {
    for page in ["up 1\n", "process_start_time_seconds 17\n"] {
        // The second page has no `Date` header.
        let server = ScriptedUpstream::responding_with(chat::response(
            "200 OK",
            "text/plain",
            page.as_bytes(),
        ));
        let keys = [("server_metrics_path", "/stats/prometheus?x=y")];
        let gauge = Streamgauge::with(server.address, &keys, FaultInjection::default());
        wait_until_up(&gauge, 1.0);
        wait_for("the page", || {
            let page_requests = server.received();
            page_requests
                .iter()
                .any(|one| one.starts_with(b"GET /stats/prometheus?x=y HTTP/1.1\r\n"))
                .then_some(())
        });
        let scrape = gauge.scrape();
        assert!(!scrape.has("streamgauge_upstream_start_time_seconds"));
        assert_eq!(scrape.sum("streamgauge_arrivals_total", &[]), 0.0, "it is no request");
    }
}
