//! `streamgauge top`: as text, and on a real terminal (tmux).

use crate::support::process::{StreamgaugeProcess, command};
use crate::support::sim::{send_chat, simulate};
use crate::support::{skip, wait_for};
use serde_json::json;
use std::net::SocketAddr;
use std::process::{Command, Output};
use streamgauge_sim::EngineSpec;

fn send(proxy: SocketAddr) {
    send_chat(
        proxy,
        &json!({"model": "sim", "stream": true, "messages": [], "sim": {"output_tokens": 5}}),
    );
}

/// A tmux server of this test with one terminal; it is killed when dropped.
struct TerminalServer {
    socket: String,
}

impl TerminalServer {
    /// Starts a program on a terminal. `None` if tmux is not installed.
    fn start(program: &str, columns: u16, rows: u16) -> Option<Self> {
        Command::new("tmux").arg("-V").output().ok()?;
        let server = Self { socket: format!("streamgauge-test-{}", std::process::id()) };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        let started = server.tmux(&[&["new-session", "-d"][..], &size[..], &[program]].concat());
        assert!(started.status.success(), "{started:?}");
        Some(server)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.args(["-f", "/dev/null", "-L", &self.socket]).args(arguments).output().unwrap()
    }

    /// Waits until the screen has these words, and returns it.
    fn screen(&self, words: &str) -> String {
        wait_for(words, || {
            let screen = String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap();
            screen.contains(words).then_some(screen)
        })
    }
}

impl Drop for TerminalServer {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn a_screen_is_printed_as_text() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let process = StreamgaugeProcess::start(server, &[]);
    let admin = process.admin.to_string();
    send(process.proxy);
    let text = wait_for("the model", || {
        let output = command(&["top", "--once", &admin]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        Some(String::from_utf8(output.stdout).unwrap()).filter(|text| text.contains("\nsim "))
    });
    assert!(text.starts_with("streamgauge ") && text.contains("\nall models "), "{text}");
    assert!(!text.contains('\u{1b}'), "no escape codes: {text}");
    // Without a terminal there is nothing to draw on.
    let output = command(&["top", &admin]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--once"), "{stderr}");
}

#[test]
fn the_terminal_shows_outages_and_is_restored() {
    let (server, _) = simulate(EngineSpec::new("sim"));
    let process = StreamgaugeProcess::start(server, &[]);
    let admin = process.admin.to_string();
    let top = command(&["top", &admin]);
    let program = format!(
        "{} top {admin}; echo \"ended with $?\"; stty -a | tr ';' '\\n' | grep -o -e '-*icanon'; sleep 60",
        top.get_program().display()
    );
    let Some(terminal) = TerminalServer::start(&program, 80, 24) else {
        return skip("tmux is not installed");
    };
    terminal.screen("No inference request has ended");
    send(process.proxy);
    terminal.screen("\nsim ");
    terminal.tmux(&["send-keys", "n"]);
    terminal.screen("outcome");
    drop(process);
    terminal.screen("No data for");
    let process = StreamgaugeProcess::start_with_admin(server, &admin, &[]);
    let screen = terminal.screen("No inference request has ended yet");
    assert!(!screen.contains("No data for"), "{screen}");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    terminal.tmux(&["send-keys", "?"]);
    terminal.screen("Keys");
    terminal.tmux(&["send-keys", "q"]);
    let screen = terminal.screen("icanon");
    assert!(screen.contains("ended with 0") && !screen.contains("-icanon"), "{screen}");
    drop(process);
}
