//! Nothing that is written can stop traffic: standard error and the request log, each with outputs that accept nothing.

use crate::support::process::command;
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, TemporaryLog, chat, scrape, wait_for,
};
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

const REQUESTS: usize = 1000;
/// Preface and empty SETTINGS frame of an HTTP/2 client.
const HTTP2_START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A writer that blocks traffic makes a request late without end. A busy test machine does not make it this late.
const LATE: Duration = Duration::from_secs(5);
/// Limit of open files, so that a test can reach it.
const OPEN_FILES: usize = 256;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LOADING: &str =
    "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}";

/// A log of Streamgauge.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Log {
    StandardError,
    Requests,
}

impl Log {
    fn label(self) -> &'static str {
        match self {
            Self::StandardError => "log=\"log\"",
            Self::Requests => "log=\"requests\"",
        }
    }
}

/// An address for a listener that no other socket takes. A process without a readable log cannot report a port that the
/// system chose. The sockets of other tests are at 127.0.0.1.
fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(20_000);
    let [_, first, second, third] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 64 | (first & 0x3f), second, third);
    SocketAddr::from((address, PORT.fetch_add(1, Relaxed)))
}

/// Streamgauge as a process whose logs are set up by the test. It is killed when dropped.
struct LoggingProcess {
    child: Child,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl LoggingProcess {
    /// Starts Streamgauge by a shell that runs `setup` first. `redirection` is the one of the program.
    fn start(
        upstream: SocketAddr,
        setup: &str,
        redirection: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Self {
        let (proxy, admin) = (own_address(), own_address());
        let program = command(&[]);
        let mut shell = Command::new("sh");
        for (name, _) in program.get_envs() {
            shell.env_remove(name);
        }
        shell.args(["-c", &format!("{setup}; exec \"$0\" \"$@\" {redirection}")]);
        shell.arg(program.get_program());
        shell.args(["--listen", &proxy.to_string(), "--admin", &admin.to_string()]);
        shell.args(["--upstream", &format!("http://{upstream}"), "--log-level", "debug"]);
        // More than there are descriptors, so that they can be exhausted.
        shell.env("STREAMGAUGE__MAX_CONNECTIONS", "1000");
        shell.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        prepare(&mut shell);
        let process = Self { child: shell.spawn().unwrap(), proxy, admin };
        wait_for("the listener", || TcpStream::connect(process.admin).ok());
        process
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }

    fn dropped(&self, log: Log) -> f64 {
        let page = MetricsScrape::parse(&scrape::get(self.admin, "/metrics"));
        page.sum("streamgauge_log_dropped_total", &[log.label()])
    }
}

impl Drop for LoggingProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Responds to requests with the header `x-loading` like a server that loads its model. The first other request after
/// them ends a cold start.
fn loading_upstream() -> ScriptedUpstream {
    ScriptedUpstream::with_script(move |_, connection| {
        while let Some(message) = connection.try_read_message() {
            let answer = if message.header("x-loading").is_empty() {
                let choice = "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}";
                chat::response("200 OK", "application/json", choice.as_bytes())
            } else {
                chat::response("503 Service Unavailable", "application/json", LOADING.as_bytes())
            };
            if !connection.try_send(answer) {
                return;
            }
        }
    })
}

/// Sends a request, and returns its time.
fn request(client: &mut RawConnection) -> Duration {
    request_with(client, "", 200)
}

/// Sends a request that makes the upstream respond like a server that loads its model.
fn request_while_loading(client: &mut RawConnection) -> Duration {
    request_with(client, "X-Loading: 1\r\n", 503)
}

fn request_with(client: &mut RawConnection, headers: &str, status: u16) -> Duration {
    let start = Instant::now();
    client.send(chat::post("/v1/chat/completions", headers, b"{\"model\":\"m\"}"));
    assert_eq!(client.read_message().status(), status);
    client.received.clear();
    start.elapsed()
}

/// Sends requests under all conditions that write to the logs, and requires that none is late: cold starts, lines of the
/// level `debug` (more than the queue takes), and no free descriptor.
fn send_requests(process: &LoggingProcess) {
    let mut slowest = Duration::ZERO;
    let mut client = RawConnection::connect(process.proxy);
    for number in 0..REQUESTS {
        // Each HTTP/2 connection makes several lines.
        if let Ok(mut client) = TcpStream::connect(process.proxy) {
            let _ = client.write_all(HTTP2_START);
        }
        if number.is_multiple_of(2) {
            slowest = slowest.max(request_while_loading(&mut client));
        } else {
            slowest = slowest.max(request(&mut client));
        }
    }
    // These connections take all descriptors. For further ones, `accept` fails.
    let idle: Vec<_> =
        (0..OPEN_FILES).filter_map(|_| TcpStream::connect(process.proxy).ok()).collect();
    for _ in 0..REQUESTS {
        slowest = slowest.max(request(&mut client));
    }
    drop(idle);
    if std::env::var_os("STREAMGAUGE_PRINT").is_some() {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "{name}: slowest request {slowest:?}");
    }
    assert!(slowest < LATE, "a request took {slowest:?}");
}

/// Requires that SIGTERM ends the process in time.
fn stop(mut process: LoggingProcess) {
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

/// A pipe that accepts no more bytes, and its reading end.
fn full_pipe() -> (PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    fill(&format!("/proc/self/fd/{}", writer.as_raw_fd()));
    (reader, writer)
}

/// Fills a pipe or a FIFO that has a reader.
fn fill(path: &str) {
    let mut pipe = open_fifo(path, true, false).unwrap();
    while pipe.write(&[b'\n'; 512]).is_ok() {}
}

fn open_fifo(path: &str, writes: bool, reads: bool) -> std::io::Result<File> {
    let nonblocking = nix::libc::O_NONBLOCK;
    OpenOptions::new().write(writes).read(reads).custom_flags(nonblocking).open(path)
}

fn make_fifo() -> TemporaryLog {
    let fifo = TemporaryLog::default();
    assert!(Command::new("mkfifo").arg(fifo.path()).status().unwrap().success());
    fifo
}

/// Serves requests while a log has this output, and checks whether lines were dropped.
fn survive(log: Log, drops: bool, redirection: &str, arguments: &[&str], output: Option<Stdio>) {
    let upstream = loading_upstream();
    let setup = format!("ulimit -n {OPEN_FILES}");
    let process =
        LoggingProcess::start(upstream.address, &setup, redirection, arguments, |shell| {
            match (log, output) {
                (_, None) => {}
                (Log::StandardError, Some(output)) => drop(shell.stderr(output)),
                (Log::Requests, Some(output)) => drop(shell.stdout(output)),
            }
        });
    send_requests(&process);
    if drops {
        wait_for("dropped lines", || (process.dropped(log) > 0.0).then_some(()));
    } else {
        assert_eq!(process.dropped(log), 0.0);
    }
    stop(process);
}

#[test]
fn standard_error_may_be_a_pipe_that_nobody_reads() {
    let (_reader, writer) = full_pipe();
    survive(Log::StandardError, true, "", &[], Some(writer.into()));
}

#[test]
fn standard_error_may_be_a_closed_pipe() {
    let (reader, writer) = full_pipe();
    drop(reader);
    survive(Log::StandardError, true, "", &[], Some(writer.into()));
}

#[test]
fn standard_error_may_be_closed() {
    // The runtime of Rust opens /dev/null instead, so no line is lost where one could arrive.
    survive(Log::StandardError, false, "2>&-", &[], None);
}

#[test]
fn standard_error_may_be_a_full_disk() {
    survive(Log::StandardError, true, "2>/dev/full", &[], None);
}

#[test]
fn standard_error_may_be_a_fifo_without_a_reader() {
    let fifo = make_fifo();
    let reader = open_fifo(fifo.path(), false, true).unwrap();
    let writer = OpenOptions::new().write(true).open(fifo.path()).unwrap();
    drop(reader);
    survive(Log::StandardError, true, "", &[], Some(writer.into()));
}

#[test]
fn standard_error_may_be_a_fifo_that_is_read() {
    let fifo = make_fifo();
    let mut reader = open_fifo(fifo.path(), true, true).unwrap();
    let writer = OpenOptions::new().write(true).open(fifo.path()).unwrap();
    let reading = std::thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), [0; 65536]);
        while !text.ends_with(b"end\n") {
            match reader.read(&mut piece) {
                Ok(count) => text.extend_from_slice(&piece[..count]),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        String::from_utf8(text).unwrap()
    });
    survive(Log::StandardError, false, "", &[], Some(writer.into()));
    OpenOptions::new().append(true).open(fifo.path()).unwrap().write_all(b"end\n").unwrap();
    let text = reading.join().unwrap();
    assert!(text.matches("DEBUG").count() >= REQUESTS);
    // Repeated lines are limited: not one for each failed accept and each cold start.
    let count = text.matches("cannot accept clients").count();
    assert!((1..=4).contains(&count), "{count} lines: {text}");
    let count = text.matches("cold start ended").count();
    assert!((1..=10).contains(&count), "{count} lines");
    assert!(text.contains("stopping: "), "{text}");
}

#[test]
fn the_request_log_may_be_a_pipe_that_nobody_reads() {
    let (_reader, writer) = full_pipe();
    // 2,000 lines fit into the queue, so they are dropped at the end.
    survive(Log::Requests, false, "", &["--request-log", "-"], Some(writer.into()));
}

#[test]
fn the_request_log_may_be_a_closed_pipe() {
    let (reader, writer) = full_pipe();
    drop(reader);
    survive(Log::Requests, true, "", &["--request-log", "-"], Some(writer.into()));
}

#[test]
fn the_request_log_may_be_closed() {
    survive(Log::Requests, false, ">&-", &["--request-log", "-"], None);
}

#[test]
fn the_request_log_may_be_a_full_disk() {
    survive(Log::Requests, true, "", &["--request-log", "/dev/full"], None);
}

#[test]
fn the_request_log_may_be_a_fifo_without_a_reader() {
    let fifo = make_fifo();
    survive(Log::Requests, true, "", &["--request-log", fifo.path()], None);
}

#[test]
fn the_request_log_may_be_a_fifo_that_nobody_reads() {
    let fifo = make_fifo();
    let _reader = open_fifo(fifo.path(), false, true).unwrap();
    fill(fifo.path());
    survive(Log::Requests, false, "", &["--request-log", fifo.path()], None);
}

#[test]
fn both_logs_may_be_one_pipe_that_nobody_reads() {
    let (_reader, writer) = full_pipe();
    survive(Log::Requests, false, "2>&1", &["--request-log", "-"], Some(writer.into()));
}

#[test]
fn a_reader_of_the_fifo_gets_the_lines_after_it_came() {
    let fifo = make_fifo();
    let upstream = ScriptedUpstream::responding_with(OK);
    let arguments = ["--request-log", fifo.path()];
    let process = LoggingProcess::start(upstream.address, ":", "", &arguments, |_| {});
    let mut client = RawConnection::connect(process.proxy);
    request(&mut client);
    wait_for("the dropped line", || (process.dropped(Log::Requests) == 1.0).then_some(()));
    let mut reader = open_fifo(fifo.path(), false, true).unwrap();
    request(&mut client);
    let mut text = Vec::new();
    wait_for("the line", || {
        let mut piece = [0; 65536];
        let count = reader.read(&mut piece).unwrap_or(0);
        text.extend_from_slice(&piece[..count]);
        text.ends_with(b"\n").then_some(())
    });
    let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(record["status"], 200);
    assert_eq!(process.dropped(Log::Requests), 1.0);
    stop(process);
}

#[test]
fn the_request_log_is_reopened_while_its_writer_is_stuck() {
    let fifo = make_fifo();
    let _reader = open_fifo(fifo.path(), false, true).unwrap();
    fill(fifo.path());
    let upstream = ScriptedUpstream::responding_with(OK);
    let arguments = ["--request-log", fifo.path()];
    let process = LoggingProcess::start(upstream.address, ":", "", &arguments, |_| {});
    let mut client = RawConnection::connect(process.proxy);
    request(&mut client);
    std::fs::remove_file(fifo.path()).unwrap();
    process.signal("HUP");
    wait_for("the new file", || std::path::Path::new(fifo.path()).exists().then_some(()));
    request(&mut client);
    wait_for("the line", || (!fifo.records().is_empty()).then_some(()));
    stop(process);
}

#[test]
fn a_limit_of_file_sizes_costs_log_lines_only() {
    let log = TemporaryLog::default();
    let errors = TemporaryLog::default();
    let upstream = loading_upstream();
    let redirection = format!("2>{}", errors.path());
    let arguments = ["--request-log", log.path()];
    let setup = format!("ulimit -n {OPEN_FILES}; ulimit -f 8");
    let process = LoggingProcess::start(upstream.address, &setup, &redirection, &arguments, |_| {});
    send_requests(&process);
    for log in [Log::Requests, Log::StandardError] {
        wait_for("dropped lines", || (process.dropped(log) > 0.0).then_some(()));
    }
    stop(process);
}

#[test]
fn repeated_lines_are_reported_with_their_number() {
    let errors = TemporaryLog::default();
    let upstream = loading_upstream();
    let redirection = format!("2>{}", errors.path());
    let process = LoggingProcess::start(upstream.address, ":", &redirection, &[], |_| {});
    let mut client = RawConnection::connect(process.proxy);
    // Each pair of requests is a cold start.
    for _ in 0..50 {
        request_while_loading(&mut client);
        request(&mut client);
    }
    let text = || std::fs::read_to_string(errors.path()).unwrap();
    wait_for("the report", || text().contains(" more in the last ").then_some(()));
    let text = text();
    assert!(text.contains("cold start ended (49 more in the last 1"), "{text}");
    assert_eq!(text.matches("cold start ended").count(), 2, "{text}");
}

#[test]
fn lines_that_a_stuck_request_log_loses_at_the_end_are_reported() {
    let (errors, fifo) = (TemporaryLog::default(), make_fifo());
    let _reader = open_fifo(fifo.path(), false, true).unwrap();
    fill(fifo.path());
    let upstream = ScriptedUpstream::responding_with(OK);
    let redirection = format!("2>{}", errors.path());
    let arguments = ["--request-log", fifo.path()];
    let process = LoggingProcess::start(upstream.address, ":", &redirection, &arguments, |_| {});
    let mut client = RawConnection::connect(process.proxy);
    for _ in 0..300 {
        request(&mut client);
    }
    drop(client);
    stop(process);
    let text = std::fs::read_to_string(errors.path()).unwrap();
    let expected =
        "the last lines of the request log were dropped: its output accepts no more lines=300";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_second_signal_ends_the_process_while_the_request_log_is_stuck() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let (_reader, writer) = full_pipe();
    let mut process =
        LoggingProcess::start(upstream.address, ":", "2>&1", &["--request-log", "-"], |shell| {
            shell.stdout(writer);
        });
    let mut client = RawConnection::connect(process.proxy);
    request(&mut client);
    drop(client);
    process.signal("TERM");
    // Then only the request log is left, which gets 5 s.
    wait_for("the end of the admin port", || TcpStream::connect(process.admin).err());
    let start = Instant::now();
    process.signal("TERM");
    process.wait();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_failed_start_ends_while_standard_error_is_stuck() {
    let (_reader, writer) = full_pipe();
    let start = Instant::now();
    let status = command(&["--upstream", "ftp://x"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(64));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
