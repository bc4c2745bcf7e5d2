//! Reloads of the configuration and of the certificates: what is applied, what is refused, and what traffic notices.

use crate::support::drain::{KeepAliveClients, StreamingUpstream};
use crate::support::process::StreamgaugeProcess;
use crate::support::tls::TestCertificate;
use crate::support::{
    MetricsScrape, RawConnection, ScriptedUpstream, TemporaryFile, TemporaryLog, chat, scrape,
    wait_for,
};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A process with a configuration file.
struct ReloadedProcess {
    process: StreamgaugeProcess,
    file: TemporaryFile,
}

impl ReloadedProcess {
    fn start(upstream: SocketAddr, text: &str) -> Self {
        let file = TemporaryFile::new("toml", text);
        let process = StreamgaugeProcess::start(upstream, &["--config", file.path()]);
        Self { process, file }
    }

    /// Replaces the file.
    fn write(&self, text: &str) {
        std::fs::write(self.file.path(), text).unwrap();
    }

    /// Reloads. Returns the status and the text of the response.
    fn reload(&self) -> (u16, String) {
        let mut client = RawConnection::connect(self.process.admin);
        client.send("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let response = client.read_message();
        (response.status(), String::from_utf8(response.body).unwrap())
    }

    fn scrape(&self) -> MetricsScrape {
        MetricsScrape::parse(&scrape::get(self.process.admin, "/metrics"))
    }

    /// Whether the last reload was successful, according to the metrics.
    fn last_was_successful(&self) -> bool {
        match self.scrape().sum("streamgauge_config_last_reload_successful", &[]) {
            1.0 => true,
            0.0 => false,
            other => panic!("{other}"),
        }
    }

    fn last_success_time(&self) -> f64 {
        self.scrape().sum("streamgauge_config_last_reload_success_timestamp_seconds", &[])
    }
}

fn slo(name: &str) -> String {
    format!("[[slo]]\nname = \"{name}\"\nlatency_seconds = 60.0\n")
}

#[test]
fn a_reload_under_load_loses_nothing_and_applies_slo_classes() {
    let upstream = StreamingUpstream::default();
    let running = ReloadedProcess::start(upstream.server.address, &slo("class-0"));
    let streams: Vec<_> =
        (0..20).map(|_| StreamingUpstream::open_stream(running.process.proxy)).collect();
    let clients = KeepAliveClients::start(24, running.process.proxy);
    for number in 1..=20 {
        running.write(&slo(&format!("class-{number}")));
        assert_eq!(running.reload(), (200, "reloaded; changed keys: slo\n".into()), "{number}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let counts = clients.stop();
    assert_eq!((counts.lost, counts.refused, counts.closing), (0, 0, 0), "{counts:?}");
    assert!(counts.complete > 24, "{counts:?}");
    // Requests that began before the reload are judged by the classes in force at their end.
    upstream.end_streams();
    for mut stream in streams {
        stream.read_until(chat::LAST_CHUNK.as_bytes()).expect("a stream was cut");
    }
    wait_for("the new class", || {
        let class = ["slo=\"class-20\""];
        (running.scrape().sum("streamgauge_slo_requests_total", &class) == 20.0).then_some(())
    });
    assert!(scrape::get(running.process.admin, "/config").contains("class-20"));
    assert!(running.last_was_successful());
}

#[test]
fn a_wrong_file_keeps_the_old_configuration() {
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/plain", b"ok"));
    let running = ReloadedProcess::start(upstream.address, &slo("old"));
    assert!(running.last_was_successful());
    let started = running.last_success_time();
    assert!(started > 1.7e9, "{started}");
    running.write("[[slo]]\nname = \"new\"\nlatency_secondz = 60.0\n");
    let (status, text) = running.reload();
    assert_eq!(status, 500);
    assert!(text.contains("latency_secondz"), "{text}");
    assert!(!running.last_was_successful());
    assert_eq!(running.last_success_time(), started);
    assert!(scrape::get(running.process.admin, "/config").contains("\"old\""));
    wait_for("the log line", || {
        running.process.log().contains("cannot reload the configuration").then_some(())
    });
    // SIGHUP reloads too.
    running.write(&slo("new"));
    running.process.signal("HUP");
    wait_for("the reload", || running.last_was_successful().then_some(()));
    assert!(running.last_success_time() > started);
    assert!(scrape::get(running.process.admin, "/config").contains("\"new\""));
    assert!(running.process.log().contains("changed=\"slo\""), "{}", running.process.log());
}

#[test]
fn keys_that_need_a_restart_are_refused_with_their_reason() {
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/plain", b"ok"));
    let api = "[[api]]\nname = \"acme\"\npath = \"/acme\"\ntext = [\"/text\"]\n";
    let running = ReloadedProcess::start(upstream.address, &format!("stall_seconds = 2.0\n{api}"));
    // The same tables in another line are no change.
    running.write(&format!("\nstall_seconds = 3.0\n{api}"));
    assert_eq!(running.reload(), (200, "reloaded; changed keys: stall_seconds\n".into()));
    assert_eq!(running.reload(), (200, "reloaded; changed keys: none\n".into()));
    for (text, reason) in [
        (format!("workers = 7\n{api}"), "workers needs a restart, because the threads"),
        (
            format!("max_models = 7\n{api}"),
            "max_models needs a restart, because the exported series",
        ),
        (api.replace("/text", "/texts"), "api needs a restart, because the exported series"),
        (String::new(), "api needs a restart, because"),
        (format!("[labels]\ngpu = \"a\"\n{api}"), "labels needs a restart, because"),
        (
            format!("tls_cert = '/none.crt'\ntls_key = '/none.key'\n{api}"),
            "tls_cert needs a restart, because a listener",
        ),
    ] {
        // A refused reload applies nothing.
        running.write(&format!("stall_seconds = 9.0\n{text}"));
        let (status, response) = running.reload();
        assert_eq!(status, 500);
        assert!(response.contains(reason), "{response}");
        assert!(!running.last_was_successful());
        let config: serde_json::Value =
            serde_json::from_str(&scrape::get(running.process.admin, "/config")).unwrap();
        assert_eq!(config["proxies"][0]["stall_seconds"], 3.0);
        assert_eq!(config["api"][0]["name"], "acme");
    }
}

#[test]
fn limits_and_the_log_level_are_applied() {
    let upstream = StreamingUpstream::default();
    let running = ReloadedProcess::start(upstream.server.address, "");
    running.write("log_level = \"debug\"\nlame_duck_seconds = 0.0\nshutdown_grace_seconds = 0.1\n");
    let changed = "lame_duck_seconds, shutdown_grace_seconds, log_level";
    assert_eq!(running.reload(), (200, format!("reloaded; changed keys: {changed}\n")));
    // The start of an HTTP/2 connection is logged with the level debug.
    let mut client = RawConnection::connect(running.process.proxy);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    drop(client);
    wait_for("a debug line", || running.process.log().contains("DEBUG").then_some(()));
    let mut stream = StreamingUpstream::open_stream(running.process.proxy);
    let ReloadedProcess { mut process, file: _file } = running;
    process.signal("TERM");
    stream.read_to_end();
    assert_eq!(process.wait().code(), Some(0), "the new grace time ended");
}

/// As a rotation of Kubernetes secrets: the files are replaced, and nobody signals.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_signal_and_old_connections_live() {
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/plain", b"ok"));
    let files = TestCertificate::of("reload-files", &["localhost"]);
    let [old, new] =
        ["reload-old", "reload-new"].map(|name| TestCertificate::of(name, &["localhost"]));
    let install = |source: &TestCertificate| {
        for (from, to) in [(&source.cert, &files.cert), (&source.key, &files.key)] {
            let staged = format!("{to}.new");
            std::fs::copy(from, &staged).unwrap();
            std::fs::rename(staged, to).unwrap();
        }
    };
    install(&old);
    let text = format!("tls_cert = \"{}\"\ntls_key = \"{}\"\n", files.cert, files.key);
    let running = ReloadedProcess::start(upstream.address, &text);
    let proxy = running.process.proxy;
    let mut early = old.connect(proxy, &["http/1.1"]).await.unwrap();
    install(&new);
    let until_trusted = async |certificate: &TestCertificate| {
        let start = std::time::Instant::now();
        while certificate.connect(proxy, &["http/1.1"]).await.is_err() {
            assert!(start.elapsed().as_secs() < 20, "the certificate is not used");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    until_trusted(&new).await;
    assert!(old.connect(proxy, &["http/1.1"]).await.is_err());
    early.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    early.read_to_end(&mut response).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 200"));
    // A file that is no certificate keeps the last one.
    std::fs::write(&files.cert, "no certificate").unwrap();
    tokio::task::block_in_place(|| {
        wait_for("the error", || (!running.last_was_successful()).then_some(()));
    });
    until_trusted(&new).await;
    assert!(running.process.log().contains("the old certificates stay in force"));
    install(&old);
    until_trusted(&old).await;
    assert!(running.last_was_successful());
}

#[test]
fn the_reload_page_accepts_post_only_and_requires_the_token_off_loopback() {
    let upstream = ScriptedUpstream::responding_with(chat::response("200 OK", "text/plain", b"ok"));
    let log = TemporaryLog::default();
    let file = TemporaryFile::new("toml", "admin_token = \"secret-one\"\n");
    let process = StreamgaugeProcess::start_with_admin(
        upstream.address,
        "0.0.0.0:0",
        &["--config", file.path(), "--request-log", log.path()],
    );
    let send = |method: &str, token: &str| {
        let mut client = RawConnection::connect(([127, 0, 0, 1], process.admin.port()).into());
        client.send(format!(
            "{method} /-/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        ));
        client.read_message().status()
    };
    assert_eq!(send("GET", "secret-one"), 405);
    assert_eq!(send("POST", "secret-two"), 401);
    std::fs::write(file.path(), "admin_token = \"secret-two\"\n").unwrap();
    assert_eq!(send("POST", "secret-one"), 200);
    // The token itself was reloaded.
    assert_eq!(send("POST", "secret-one"), 401);
    assert_eq!(send("POST", "secret-two"), 200);
    wait_for("the log line", || process.log().contains("changed=\"admin_token\"").then_some(()));
    assert!(!process.log().contains("secret-two"));
}
