//! `streamgauge tail`: the requests of a running process, compared with the simulated server's own record.

use crate::support::process::{StreamgaugeProcess, command};
use crate::support::sim::{send_chat, simulate};
use crate::support::tls::{TestCertificate, ca_params};
use crate::support::upstream::unused_address;
use crate::support::{
    RawConnection, ScriptedUpstream, Streamgauge, TemporaryFile, chat, scrape, wait_for,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use streamgauge::testing::FaultInjection;
use streamgauge_sim::EngineSpec;

/// A running `streamgauge tail`; it is killed when dropped.
struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(&["tail"]), arguments)
    }

    fn spawn(command: &mut std::process::Command, arguments: &[&str]) -> Self {
        let piped = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let lines = collect(child.stdout.take().unwrap());
        let notices = collect(child.stderr.take().unwrap());
        Self { child, lines, notices }
    }

    /// Waits for this many lines of standard output.
    fn lines(&self, count: usize) -> Vec<String> {
        wait_for("lines of tail", || {
            let lines = self.lines.lock().unwrap().clone();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits for a line of standard error with these words.
    fn notice(&self, words: &str) -> String {
        wait_for(words, || {
            let notices = self.notices.lock().unwrap();
            notices.iter().find(|notice| notice.contains(words)).cloned()
        })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(output: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let ours = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            ours.lock().unwrap().push(line);
        }
    });
    lines
}

fn chat_body(output_tokens: u64) -> Value {
    json!({
        "model": "sim", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Hi"}], "sim": {"output_tokens": output_tokens}
    })
}

fn send_plain(proxy: SocketAddr) {
    let mut client = RawConnection::connect(proxy);
    client.send(chat::request());
    client.read_message();
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn json_lines_equal_the_simulated_servers_record() {
    let (server, truth) = simulate(EngineSpec::new("sim"));
    let process = StreamgaugeProcess::start(server, &[]);
    send_chat(process.proxy, &chat_body(2));
    let tail = Tail::start(&["--json", &process.admin.to_string()]);
    assert_eq!(tail.lines(1).len(), 1, "a request that ended before");
    for tokens in 3..=7 {
        send_chat(process.proxy, &chat_body(tokens));
        // Each line arrives before the next request: they are printed as the requests end.
        tail.lines(usize::try_from(tokens).unwrap() - 1);
    }
    send_chat(process.proxy, &json!({"model": "absent", "messages": []}));
    let lines = tail.lines(7);
    let truth = truth.take();
    assert_eq!((lines.len(), truth.len()), (7, 7), "{lines:#?}");
    for (line, truth) in lines.iter().zip(&truth) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["model"], json!(truth.model));
        assert_eq!(line["output_tokens"], json!(truth.reported.output_tokens));
        assert_eq!(line["input_tokens"], json!(truth.reported.input_tokens));
        let is_known = truth.model == "sim";
        assert_eq!(line["outcome"], json!(if is_known { "ok" } else { "client_error" }), "{line}");
        let (measured, ttft) = (line["ttft_s"].as_f64(), truth.ttft_s);
        assert_eq!(measured.is_some(), ttft.is_some(), "{line}");
        if let Some((measured, ttft)) = measured.zip(ttft) {
            assert!(measured >= ttft - 0.001, "{measured} is below the true {ttft}");
        }
    }
    assert_eq!(*tail.notices.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn the_table_has_one_line_per_selected_request() {
    let upstream = ScriptedUpstream::with_script(|number, connection| {
        connection.read_message();
        let status = ["200 OK", "503 Service Unavailable"][number % 2];
        connection
            .send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
    });
    let gauge = Streamgauge::new(upstream.address);
    (0..4).for_each(|_| send_plain(gauge.proxy));
    gauge.requests_when(4);
    let admin = format!("http://{}", gauge.admin);
    let all = Tail::start(&[&admin]).lines(5);
    assert!(all[0].starts_with("time UTC model"), "{all:#?}");
    let failed = Tail::start(&[&admin, "--failed"]).lines(3);
    assert!(failed[1..].iter().all(|line| line.contains(" 503 ") && line.ends_with("rejected")));
    assert_eq!(failed[1..], [all[2].clone(), all[4].clone()]);
    let last = Tail::start(&[&admin, "--last", "1"]).lines(2);
    assert_eq!(last[1..], all[4..]);
}

#[test]
fn tail_goes_on_after_a_restart_and_counts_missed_requests() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let process = StreamgaugeProcess::start(upstream.address, &[]);
    let admin = process.admin.to_string();
    send_plain(process.proxy);
    let tail = Tail::start(&["--json", &admin]);
    tail.lines(1);
    drop(process);
    tail.notice(&format!("lost http://{admin}"));
    let process = StreamgaugeProcess::start_with_admin(upstream.address, &admin, &[]);
    tail.notice("has restarted");
    // A stopped reader misses requests: 1000 are kept.
    let stop = |signal: &str| {
        let id = tail.child.id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    };
    stop("STOP");
    let mut client = RawConnection::connect(process.proxy);
    for _ in 0..1100 {
        client.send(chat::request());
        assert_eq!(client.read_message().status(), 200);
    }
    wait_for("the requests", || {
        let lines = scrape::get(process.admin, "/requests?last=1000");
        (lines.lines().count() == 1000).then_some(())
    });
    stop("CONT");
    let lines = tail.lines(1001).len() as u64 - 1;
    let missed: u64 =
        match tail.notices.lock().unwrap().iter().find(|line| line.contains("missing here")) {
            Some(notice) => notice.split(' ').nth(1).unwrap().parse().unwrap(),
            None => 0,
        };
    assert_eq!((lines + missed, lines), (1100, 1000));
}

#[test]
fn only_newer_requests_are_returned_after_an_id() {
    let upstream = ScriptedUpstream::responding_with(OK);
    let gauge = Streamgauge::new(upstream.address);
    (0..3).for_each(|_| send_plain(gauge.proxy));
    let lines = gauge.requests_when(3);
    let id = |at: usize| lines[at]["id"].as_str().unwrap();
    let after = |query: String| scrape::get(gauge.admin, &format!("/requests?{query}"));
    assert_eq!(after(format!("after={}", id(0))).lines().count(), 2);
    assert_eq!(after(format!("after={}", id(2))), "");
    assert_eq!(after(format!("after={}&last=1", id(0))).lines().count(), 1);
    assert_eq!(after("after=0".into()).lines().count(), 3, "an id that is not kept");
    let mut client = RawConnection::connect(gauge.admin);
    client.send("GET /requests?after=x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_message().status(), 400);
    client.send("GET /requests?last=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = client.read_message();
    assert_eq!(response.header("streamgauge-requests-ended"), ["3"]);
}

#[test]
fn https_and_the_admin_token_are_used() {
    let certificate = TestCertificate::self_signed("tail", ca_params(&["localhost"]));
    let web = TemporaryFile::new(
        "yml",
        &format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
            certificate.cert, certificate.key
        ),
    );
    let upstream = ScriptedUpstream::responding_with(OK);
    let keys = [
        ("admin_web_config", web.path()),
        ("admin_token", "open sesame"),
        ("admin_metrics", "guarded"),
    ];
    let gauge = Streamgauge::with(upstream.address, &keys, FaultInjection::default());
    send_plain(gauge.proxy);
    let url = format!("https://localhost:{}", gauge.admin.port());
    let by_ip = format!("https://{}", gauge.admin);
    let token = TemporaryFile::new("token", "open sesame\n");
    let trusted = ["--ca-file", certificate.cert.as_str()];
    let with_variable = |value: &str, arguments: &[&str]| {
        let mut command = command(&["tail", "--json"]);
        Tail::spawn(command.env("STREAMGAUGE__ADMIN_TOKEN", value), arguments)
    };
    let line = with_variable("open sesame", &[&url, trusted[0], trusted[1]]).lines(1);
    for tail in [
        Tail::start(&["--json", &url, trusted[0], trusted[1], "--token-file", token.path()]),
        with_variable("open sesame", &[&by_ip, "--insecure"]),
    ] {
        assert_eq!(tail.lines(1), line);
    }
    for (tail, words) in [
        (
            with_variable("open", &[&url, trusted[0], trusted[1]]),
            "returned 401 Unauthorized: unauthorized: send",
        ),
        (with_variable("open sesame", &[&url]), "certificate"),
        (with_variable("open sesame", &[&by_ip, trusted[0], trusted[1]]), "certificate"),
        (Tail::start(&[&unused_address().to_string()]), "Connection refused"),
    ] {
        tail.notice(words);
        let mut tail = tail;
        assert_eq!(tail.child.wait().unwrap().code(), Some(1), "{words}");
    }
}
