//! Commands that read the state of a running instance: `healthcheck` and `wait`. Both need the admin address only.

use crate::support::drain::StreamingUpstream;
use crate::support::process::{StreamgaugeProcess, command};
use crate::support::{ScriptedUpstream, scrape, wait_for};
use std::process::{Command, Output};

const DOCKERFILE: &str = include_str!("../../Dockerfile");

/// The command in the environment of the container image. Its address of the admin port gets the port of this process.
fn in_image(arguments: &[&str], process: &StreamgaugeProcess) -> Command {
    let mut command = command(arguments);
    let words = DOCKERFILE.split_whitespace();
    let variables: Vec<(&str, &str)> = words
        .filter(|word| word.starts_with("STREAMGAUGE__"))
        .filter_map(|word| word.split_once('='))
        .collect();
    assert!(!variables.is_empty());
    for (name, value) in variables {
        let port = process.admin.port().to_string();
        let value =
            if name == "STREAMGAUGE__ADMIN" { &value.replace("9464", &port) } else { value };
        command.env(name, value);
    }
    command
}

fn failure(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_health_check_of_the_image_needs_no_upstream() {
    assert!(DOCKERFILE.contains(r#"CMD ["/streamgauge", "healthcheck"]"#));
    let upstream = ScriptedUpstream::responding_with("");
    let process = StreamgaugeProcess::start_with_admin(upstream.address, "0.0.0.0:0", &[]);
    assert_eq!(failure(&mut in_image(&["healthcheck"], &process)), (Some(0), String::new()));
    // A value that only the proxy needs does not matter; the admin address does.
    let mut wrong = in_image(&["healthcheck", "--upstream", "not a URL"], &process);
    assert_eq!(failure(&mut wrong), (Some(0), String::new()));
    let (code, stderr) = failure(&mut in_image(&["healthcheck", "--admin", "here"], &process));
    assert_eq!(code, Some(64));
    assert!(stderr.contains("--admin") && stderr.contains("expected an IP address"), "{stderr}");
    process.signal("KILL");
    wait_for("the end of the process", || {
        let (code, stderr) = failure(&mut in_image(&["healthcheck"], &process));
        (code == Some(1) && stderr.contains("Connection refused")).then_some(())
    });
}

#[test]
fn wait_ends_with_the_last_request() {
    let upstream = StreamingUpstream::default();
    let process = StreamgaugeProcess::start_with_admin(upstream.server.address, "0.0.0.0:0", &[]);
    assert_eq!(failure(&mut in_image(&["wait"], &process)), (Some(0), String::new()));
    assert_eq!(scrape::get(process.admin, "/idle"), "idle\n");

    let stream = StreamingUpstream::open_stream(process.proxy);
    let (code, stderr) = failure(&mut in_image(&["wait", "--timeout", "0.5s"], &process));
    assert_eq!((code, &*stderr), (Some(1), "streamgauge: after 0.5 s: 1 request in flight\n"));

    let mut waiting = in_image(&["wait", "--timeout", "60", "--verbose"], &process);
    let waiting = std::thread::spawn(move || failure(&mut waiting));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!waiting.is_finished());
    upstream.end_streams();
    assert_eq!(waiting.join().unwrap(), (Some(0), "streamgauge: 1 request in flight\n".to_owned()));
    drop(stream);
}

#[test]
fn a_name_replaces_the_address_of_the_server() {
    let upstream = ScriptedUpstream::responding_with("");
    let process = StreamgaugeProcess::start(upstream.address, &["--name", "llama-70b"]);
    let page = scrape::get(process.admin, "/metrics");
    assert!(
        page.contains(r#"streamgauge_upstream_stalls_total{upstream="llama-70b"} 0"#),
        "{page}"
    );
    assert!(!page.contains(&format!("upstream=\"{}\"", upstream.address)), "{page}");

    let url = format!("http://{}", upstream.address);
    let mut check = command(&["check-config", "--upstream", &url]);
    let output = check.env("STREAMGAUGE__NAME", "from-a-variable").output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["proxies"][0]["name"], "from-a-variable");
}
