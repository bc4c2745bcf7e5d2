//! Access to the admin port: tokens, users, client certificates and TLS.

use crate::support::process::command;
use crate::support::tls::{TestCertificate, ca_params, params};
use crate::support::upstream::unused_address;
use crate::support::{RawConnection, Streamgauge, TemporaryFile, skip};
use base64::prelude::{BASE64_STANDARD, Engine};
use std::net::SocketAddr;
use std::process::Command;
use streamgauge::App;
use streamgauge::config::{Sources, load};
use streamgauge::testing::FaultInjection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OPEN: [&str; 2] = ["/healthz", "/readyz"];
const PAGES: [&str; 4] = ["/metrics", "/", "/config", "/requests"];

fn with_keys(keys: &[(&'static str, &str)]) -> Streamgauge {
    Streamgauge::with(unused_address(), keys, FaultInjection::default())
}

/// A web configuration file with these lines.
fn web_config(lines: &str) -> TemporaryFile {
    TemporaryFile::new("yml", lines)
}

/// Status of a page, requested with this value of `Authorization`, and the schemes that the answer asks for.
fn status_of(admin: SocketAddr, path: &str, authorization: &str) -> (u16, Vec<String>) {
    let mut client = RawConnection::connect(admin);
    let line = match authorization {
        "" => String::new(),
        value => format!("Authorization: {value}\r\n"),
    };
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n"));
    let answer = client.read_message();
    (answer.status(), answer.header("www-authenticate"))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn users() -> TemporaryFile {
    // The lowest cost, so that the test is fast; the second as Go and htpasswd write it.
    let [first, second] =
        ["open:sesame", "épée"].map(|password| bcrypt::hash(password, 4).unwrap());
    web_config(&format!(
        "# Users\nbasic_auth_users:\n  Prometheus: {first}\n  alice: {}\n",
        second.replacen("$2b$", "$2y$", 1)
    ))
}

#[test]
fn users_of_the_web_configuration_guard_every_page_but_health() {
    let file = users();
    let gauge = with_keys(&[("admin_web_config", file.path())]);
    for path in OPEN {
        assert_eq!(status_of(gauge.admin, path, "").0, 200, "{path}");
    }
    let ask = vec!["Basic realm=\"streamgauge\", charset=\"UTF-8\"".to_owned()];
    for path in PAGES {
        for wrong in [
            String::new(),
            basic("Prometheus", "wrong"),
            basic("Prometheus", ""),
            basic("alice", "open:sesame"),
            basic("nobody", "open:sesame"),
            basic("prometheus", "open:sesame"),
            "Basic !!!".into(),
            "Basic".into(),
            format!("Basic {}", BASE64_STANDARD.encode("Prometheus")),
            "Bearer open:sesame".into(),
        ] {
            assert_eq!(status_of(gauge.admin, path, &wrong), (401, ask.clone()), "{path}: {wrong}");
        }
        for (user, password) in [("Prometheus", "open:sesame"), ("alice", "épée")] {
            // The second time, the password is known to be right.
            for _ in 0..2 {
                let right = basic(user, password);
                assert_eq!(status_of(gauge.admin, path, &right).0, 200, "{path}");
                assert_eq!(status_of(gauge.admin, path, &right.replace("Basic", "basic")).0, 200);
                assert_eq!(status_of(gauge.admin, path, &basic(user, "wrong")).0, 401, "{path}");
            }
        }
    }
}

#[test]
fn a_reload_applies_the_files_of_the_admin_port() {
    let file = users();
    let gauge = with_keys(&[("admin_web_config", file.path())]);
    let reload = |authorization: &str| {
        let mut client = RawConnection::connect(gauge.admin);
        client.send(format!(
            "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{authorization}\r\n"
        ));
        client.read_message().status()
    };
    let old = basic("Prometheus", "open:sesame");
    assert_eq!(reload(""), 401);
    std::fs::write(file.path(), "basic_auth_users: {Prometheus: plain}\n").unwrap();
    assert_eq!(reload(&format!("Authorization: {old}\r\n")), 500);
    assert_eq!(status_of(gauge.admin, "/metrics", &old).0, 200, "the old file stays in force");
    let hash = bcrypt::hash("new", 4).unwrap();
    std::fs::write(file.path(), format!("basic_auth_users: {{Prometheus: '{hash}'}}\n")).unwrap();
    assert_eq!(reload(&format!("Authorization: {old}\r\n")), 200);
    assert_eq!(status_of(gauge.admin, "/metrics", &old).0, 401);
    assert_eq!(status_of(gauge.admin, "/metrics", &basic("Prometheus", "new")).0, 200);
}

#[test]
fn metrics_are_open_or_guarded_by_choice() {
    let file = users();
    let gauge = with_keys(&[("admin_web_config", file.path()), ("admin_metrics", "open")]);
    assert_eq!(status_of(gauge.admin, "/metrics", "").0, 200);
    // On loopback, the other pages are as open as the metrics.
    assert_eq!(status_of(gauge.admin, "/config", "").0, 200);
    let token = TemporaryFile::new("token", "open sesame\n");
    for source in [("admin_token", "open sesame"), ("admin_token_file", token.path())] {
        let gauge = with_keys(&[source, ("admin_metrics", "guarded")]);
        for path in PAGES {
            let ask = vec!["Bearer".to_owned()];
            for wrong in ["", "Bearer open", "Bearer open sesame!", "Basic open sesame"] {
                assert_eq!(status_of(gauge.admin, path, wrong), (401, ask.clone()), "{wrong}");
            }
            assert_eq!(status_of(gauge.admin, path, "Bearer open sesame").0, 200, "{path}");
        }
        let keys = [source, ("admin_web_config", file.path())];
        let gauge = with_keys(&keys);
        assert_eq!(status_of(gauge.admin, "/metrics", "").1.len(), 2);
        for right in ["Bearer open sesame", &basic("alice", "épée")] {
            assert_eq!(status_of(gauge.admin, "/metrics", right).0, 200, "{right}");
        }
    }
}

/// Requests a page by TLS. An error is one of the handshake.
fn get_by_tls(
    admin: SocketAddr,
    trusted: &TestCertificate,
    client: Option<&TestCertificate>,
    path: &str,
) -> std::io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = trusted.connect_as(admin, &["http/1.1"], client).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        Ok(String::from_utf8(response).unwrap())
    })
}

#[test]
fn the_admin_port_can_use_tls_and_client_certificates() {
    let ca = TestCertificate::self_signed("admin-ca", ca_params(&["localhost"]));
    let server = ca.issue("admin", params(&["localhost"]));
    let known = ca.issue("admin-client", params(&["prometheus"]));
    let stranger = TestCertificate::of("admin-stranger", &["prometheus"]);
    let tls =
        format!("tls_server_config:\n  cert_file: {}\n  key_file: {}\n", server.cert, server.key);
    let with_clients =
        |kind: &str| format!("{tls}  client_ca_file: {}\n  client_auth_type: {kind}\n", ca.cert);
    let required = with_clients("RequireAndVerifyClientCert");
    for (lines, without, with_unknown) in [
        (&tls, Some("200"), Some("200")),
        (&with_clients("VerifyClientCertIfGiven"), Some("200"), None),
        (&required, Some("403"), None),
    ] {
        let file = web_config(lines);
        let gauge = with_keys(&[("admin_web_config", file.path())]);
        for path in OPEN.into_iter().chain(PAGES) {
            let is_open = OPEN.contains(&path);
            for (client, expected) in
                [(Some(&known), Some("200")), (None, without), (Some(&stranger), with_unknown)]
            {
                let response = get_by_tls(gauge.admin, &ca, client, path);
                let response = response.unwrap_or_default();
                let expected = expected.map(|status| if is_open { "200" } else { status });
                assert_eq!(response.split(' ').nth(1), expected, "{path}: {lines}");
            }
        }
        // Without TLS.
        let mut client = RawConnection::connect(gauge.admin);
        client.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(!client.read_to_end().0.starts_with(b"HTTP"));
        // The health check needs neither the certificate's name nor a certificate of its own.
        let address = gauge.admin.to_string();
        let arguments = ["healthcheck", "--upstream", "http://127.0.0.1:1", "--admin", &address];
        let check = || command(&arguments);
        let checked = check().env("STREAMGAUGE__ADMIN_WEB_CONFIG", file.path()).output().unwrap();
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
        assert_eq!(check().output().unwrap().status.code(), Some(1), "without TLS");
    }
}

#[test]
fn curl_reads_the_metrics_by_tls_with_a_password() {
    if Command::new("curl").arg("--version").output().is_err() {
        skip("curl");
        return;
    }
    let certificate = TestCertificate::of("curl", &["localhost"]);
    let file = web_config(&format!(
        "tls_server_config: {{cert_file: {}, key_file: {}}}\nbasic_auth_users: {{a: '{}'}}\n",
        certificate.cert,
        certificate.key,
        bcrypt::hash("secret", 4).unwrap()
    ));
    let gauge = with_keys(&[("admin_web_config", file.path())]);
    let url = format!("https://localhost:{}/metrics", gauge.admin.port());
    for (user, status) in [("a:secret", "200"), ("a:wrong", "401")] {
        let arguments =
            ["-s", "-w", "%{http_code}", "--cacert", &certificate.cert, "-u", user, &url];
        let output = Command::new("curl").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with(status), "{text}");
        assert_eq!(text.contains("streamgauge_build_info"), status == "200");
    }
}

#[test]
fn unusable_settings_of_the_admin_port_are_reported() {
    let certificate = TestCertificate::of("unusable", &["localhost"]);
    let TestCertificate { cert, key, .. } = &certificate;
    let tls =
        |more: &str| format!("tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\n{more}");
    let files = [
        ("users: {}\n".to_owned(), "unknown field `users`"),
        (
            "basic_auth_users:\n  a: plain\n".into(),
            "the value of a in basic_auth_users is not valid: expected a bcrypt hash",
        ),
        (tls("  min_version: TLS13\n"), "unknown field `min_version`"),
        (
            tls("  client_auth_type: RequireAnyClientCert\n"),
            "unknown variant `RequireAnyClientCert`",
        ),
        (
            tls("  client_auth_type: VerifyClientCertIfGiven\n"),
            "client_auth_type needs client_ca_file",
        ),
        (tls(&format!("  client_ca_file: {cert}\n")), "client_ca_file needs client_auth_type"),
        (
            "tls_server_config:\n  cert_file: /none.crt\n  key_file: /none.key\n".into(),
            "admin_web_config: cert_file = \"/none.crt\": cannot read the file",
        ),
        (
            format!("tls_server_config:\n  cert_file: {key}\n  key_file: {key}\n"),
            "no certificate found",
        ),
        ("tls_server_config: [\n".into(), "admin_web_config = "),
    ];
    let files = files.map(|(lines, expected)| (web_config(&lines), expected));
    let empty = TemporaryFile::new("token", " \n");
    let mut cases: Vec<(&'static str, &str, &str)> =
        files.iter().map(|(file, expected)| ("admin_web_config", file.path(), *expected)).collect();
    cases.extend([
        ("admin_web_config", "/none.yml", "admin_web_config = \"/none.yml\": cannot read the file"),
        ("admin_token_file", "/none", "admin_token_file = \"/none\": cannot read the file"),
        ("admin_token_file", empty.path(), "the file is empty"),
        ("admin_metrics", "guarded", "nobody could read the metrics: set admin_token"),
    ]);
    for (name, value, expected) in cases {
        let flags = [
            ("upstream", "http://127.0.0.1:1"),
            ("listen", "127.0.0.1:0"),
            ("admin", "127.0.0.1:0"),
            (name, value),
        ];
        let flags = flags.map(|(name, value)| (name, value.to_owned())).to_vec();
        let config = load(&Sources { flags, ..Sources::default() }).unwrap();
        let error = App::bind(config).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.is_configuration());
    }
}
