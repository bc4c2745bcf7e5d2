//! The program as a process: signals, exit codes, and messages about a wrong configuration.

use crate::support::connection::chunk;
use crate::support::process::{StreamgaugeProcess, command};
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, Streamgauge, TemporaryFile, TemporaryLog, chat,
    scrape, wait_for,
};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn send_request(proxy: SocketAddr) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::request());
    assert_eq!(client.read_message().status(), 200);
}

#[test]
fn the_request_log_is_reopened_after_a_rename() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let (log, moved) = (TemporaryLog::default(), TemporaryLog::default());
    let process = StreamgaugeProcess::start(upstream.address, &["--request-log", log.path()]);
    send_request(process.proxy);
    wait_for("the first line", || (log.records().len() == 1).then_some(()));
    std::fs::rename(log.path(), moved.path()).unwrap();
    send_request(process.proxy);
    wait_for("the second line", || (moved.records().len() == 2).then_some(()));
    process.signal("HUP");
    wait_for("the new file", || std::path::Path::new(log.path()).exists().then_some(()));
    send_request(process.proxy);
    wait_for("the third line", || (log.records().len() == 1).then_some(()));
    assert_eq!(moved.records().len(), 2);
}

#[test]
fn a_full_disk_costs_log_lines_only() {
    if !std::path::Path::new("/dev/full").exists() {
        crate::support::skip("there is no /dev/full");
        return;
    }
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::with(
        upstream.address,
        &[("request_log", "/dev/full")],
        FaultInjection::default(),
    );
    for _ in 0..50 {
        send_request(gauge.proxy);
    }
    wait_for("the drops to be counted", || {
        let dropped = gauge.scrape().sum("streamgauge_request_log_dropped_total", &[]);
        (dropped == 50.0).then_some(())
    });
    assert_eq!(gauge.requests().len(), 50, "all lines are kept in memory");
}

#[test]
fn the_first_signal_drains_and_the_second_exits() {
    let upstream = ScriptedUpstream::with_script(|_, connection| {
        connection.read_message();
        connection.send([chat::STREAM_HEAD.as_bytes(), &chunk(chat::content_event("Hi"))].concat());
        connection.wait_for_close();
    });
    let mut process = StreamgaugeProcess::start(upstream.address, &[]);
    let mut client = RawConnection::connect(process.proxy);
    client.send(chat::request());
    client.read_head().unwrap();
    process.signal("TERM");
    let draining = || RawConnection::connect(process.admin);
    wait_for("the drain", || {
        let mut asking = draining();
        asking.send("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n");
        (asking.read_message().status() == 503).then_some(())
    });
    let metrics = MetricsScrape::parse(&scrape::get(process.admin, "/metrics"));
    assert_eq!(metrics.in_phase("streaming"), 1.0, "metrics are served until the end");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(1));
    // Without open requests it exits at once.
    let mut process = StreamgaugeProcess::start(upstream.address, &[]);
    let start = Instant::now();
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Runs `check-config` with this file and environment. The result is the exit code and standard error, where
/// FILE replaces the path of the file.
fn check(file: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let file = TemporaryFile::new("toml", file);
    let mut command = command(&["check-config", "--config", file.path()]);
    let Output { status, stderr, .. } = command.envs(environment.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap().replace(file.path(), "FILE"))
}

#[test]
fn check_config_reports_all_errors_at_once_and_exits_with_64() {
    let file =
        "upstream = 'ftp://x'\nworkers = 0\nlisten = 'here'\nlisen = 'x'\nadmin_token = ''\n";
    let (code, stderr) =
        check(file, &[("STREAMGAUGE__MAX_MODELZ", "1"), ("STREAMGAUGE__LOG_LEVEL", "loud")]);
    assert_eq!(code, Some(64), "{stderr}");
    for start in [
        "FILE:1: upstream = ",
        "FILE:2: workers = ",
        "FILE:3: listen = ",
        "FILE:4: lisen: ",
        "FILE:5: admin_token = (masked)",
        "STREAMGAUGE__MAX_MODELZ: ",
        "STREAMGAUGE__LOG_LEVEL = ",
    ] {
        assert_eq!(stderr.matches(&format!("\n  {start}")).count(), 1, "{start}: {stderr}");
    }
    let (code, stderr) = check("upstream = 'http://127.0.0.1:8000'\n", &[]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_variable_with_one_underscore_gets_a_warning() {
    let environment = [
        ("STREAMGAUGE_LISTEN", "127.0.0.1:1"),
        ("STREAMGAUGE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("STREAMGAUGE__WORKERS", "1"),
    ];
    let (code, stderr) = check("upstream = 'http://127.0.0.1:8000'\n", &environment);
    assert_eq!(code, Some(0));
    let warning = "streamgauge: warning: the environment variable STREAMGAUGE_LISTEN is ignored; did you mean \
                   STREAMGAUGE__LISTEN?";
    assert_eq!(stderr.lines().next(), Some(warning));
    assert_eq!(stderr.matches("warning").count(), 1, "{stderr}");
}

#[test]
fn wrong_arguments_and_used_addresses_are_reported() {
    for arguments in [&["--lisen", "x"][..], &[], &["--upstream", "http://127.0.0.1:8000/v1"]] {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments =
        ["--upstream", "http://127.0.0.1:8000", "--listen", &address, "--admin", "127.0.0.1:0"];
    let output = command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));
}

#[test]
fn an_upstream_that_does_not_accept_is_a_timeout() {
    // A listener with a full queue does not respond to new connections.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = full.local_addr().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting: Vec<_> = (0..4200).map_while(connect).collect();
    if waiting.len() == 4200 {
        crate::support::skip("the queue of a listener does not fill up");
        return;
    }
    let keys = [("connect_timeout_seconds", "0.1")];
    let gauge = Streamgauge::with(address, &keys, FaultInjection::default());
    let mut client = RawConnection::connect(gauge.proxy);
    client.send(chat::request());
    let answer = client.read_message();
    let kind = vec!["upstream_connect_timeout".to_owned()];
    assert_eq!((answer.status(), answer.header("x-streamgauge-error")), (504, kind));
    let record = gauge.assert_single_request("timeout");
    assert!(record["duration_s"].as_f64().unwrap() >= 0.1);
}

/// Exit code and standard error of the program with these arguments.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn files_that_cannot_be_opened_are_configuration_errors() {
    let log = "request_log = \"/nonexistent/x.jsonl\": cannot open the file: No such file or directory (os error \
               2). The directory must exist, and Streamgauge must be allowed to write there";
    let free = [
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:8000",
    ];
    let arguments = [&free[..], &["--request-log", "/nonexistent/x.jsonl"]].concat();
    let expected = (Some(64), format!("streamgauge: {log}\n"));
    assert_eq!(failure(&arguments), expected);
    assert_eq!(failure(&[&["check-config"], &arguments[..]].concat()), expected);
    let file = TemporaryFile::new("toml", "tls_cert = '/none.crt'\ntls_key = '/none.key'\n");
    let arguments = [&free[..], &["--config", file.path()]].concat();
    let message = "streamgauge: tls_cert = \"/none.crt\": cannot read the file: No such file or directory (os \
                   error 2)\n";
    assert_eq!(failure(&arguments), (Some(64), message.into()));
    assert_eq!(failure(&[&["check-config"], &arguments[..]].concat()), (Some(64), message.into()));
}

#[test]
fn check_config_does_not_create_the_request_log() {
    let path = crate::support::temporary::unique_path("jsonl");
    let path = path.to_str().unwrap();
    let arguments = ["check-config", "--upstream", "http://127.0.0.1:8000", "--request-log", path];
    assert_eq!(command(&arguments).output().unwrap().status.code(), Some(0));
    assert!(!std::path::Path::new(path).exists());
}

#[test]
fn an_address_in_use_names_the_listener_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listener, flag, other) in [
        ("the proxy for upstream 127.0.0.1:8000", "--listen", "--admin"),
        ("the admin port", "--admin", "--listen"),
    ] {
        let arguments =
            ["--upstream", "http://127.0.0.1:8000", flag, &address, other, "127.0.0.1:0"];
        let expected = format!(
            "streamgauge: {listener} cannot listen on {address}: Address already in use (os error 98). Another \
             program uses this address: stop it, or choose another port with {flag}\n"
        );
        assert_eq!(failure(&arguments), (Some(1), expected));
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let check = ["check-config", "--upstream", "http://127.0.0.1:8000"];
    let help: [&[&str]; 4] = [&["--help"], &["help"], &["help", "--help"], &["compare", "--help"]];
    for arguments in help.into_iter().chain([&check[..]]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(arguments).stdout(writer).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    // The same for standard error.
    for arguments in [&check[..], &["healthcheck", "--upstream", "x"], &["compare", "a", "b"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command(arguments).stdout(std::process::Stdio::null()).stderr(writer).status();
        assert_ne!(status.unwrap().code(), Some(101), "{arguments:?}");
    }
}

#[test]
fn the_help_of_each_flag_names_its_variable() {
    let Output { stdout, status, .. } = command(&["help", "check-config"]).output().unwrap();
    assert_eq!(status.code(), Some(0));
    let help = String::from_utf8(stdout).unwrap();
    for name in ["LISTEN", "UPSTREAM", "ADMIN", "REQUEST_LOG", "WORKERS", "LOG_LEVEL", "LOG_FORMAT"]
    {
        assert!(help.contains(&format!("[env: STREAMGAUGE__{name}]")), "{name}: {help}");
    }
    assert!(help.contains("[env: STREAMGAUGE_CONFIG]"), "{help}");
    let (code, stderr) = failure(&["help", "nothing"]);
    assert_eq!(code, Some(64));
    assert!(stderr.contains("unrecognized subcommand 'nothing'"), "{stderr}");
}

#[test]
fn check_config_prints_the_number_of_series_to_standard_error() {
    let output =
        command(&["check-config", "--upstream", "http://127.0.0.1:8000"]).output().unwrap();
    let stdout: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(stdout["max_models"], 50);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = stderr.lines().collect();
    let [likely, worst] = lines.as_slice() else { panic!("{stderr}") };
    let start = "streamgauge: the configuration is valid; /metrics will likely have about ";
    assert!(likely.starts_with(start) && likely.ends_with(" series"), "{stderr}");
    let start = "streamgauge: worst case: ";
    assert!(worst.starts_with(start), "{stderr}");
    let end = "A lower max_models reduces the worst case";
    assert!(worst.contains("gen_ai_request_model") && worst.ends_with(end), "{stderr}");
}
