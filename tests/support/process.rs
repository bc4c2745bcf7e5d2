//! Streamgauge as a process.

use super::wait_for;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A running Streamgauge; it is killed when dropped.
pub struct StreamgaugeProcess {
    child: Child,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// The program with these arguments, without the environment's settings for Streamgauge.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgauge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STREAMGAUGE") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

impl StreamgaugeProcess {
    /// Starts Streamgauge on free ports in front of an upstream, and waits until it listens.
    pub fn start(upstream: SocketAddr, arguments: &[&str]) -> Self {
        Self::start_with_admin(upstream, "127.0.0.1:0", arguments)
    }

    /// Starts Streamgauge with this address of the admin port.
    pub fn start_with_admin(upstream: SocketAddr, admin: &str, arguments: &[&str]) -> Self {
        Self::spawn(command(&[]), upstream, admin, arguments)
    }

    /// Starts Streamgauge after this command of the shell, such as `ulimit -n 64`.
    pub fn start_limited(upstream: SocketAddr, limit: &str, arguments: &[&str]) -> Self {
        let program = command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program());
        for (name, _) in program.get_envs() {
            shell.env_remove(name);
        }
        Self::spawn(shell, upstream, "127.0.0.1:0", arguments)
    }

    fn spawn(mut command: Command, upstream: SocketAddr, admin: &str, arguments: &[&str]) -> Self {
        let url = format!("http://{upstream}");
        // The environment overrides the file.
        let file = arguments.iter().skip_while(|argument| **argument != "--config").nth(1);
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        if !text.contains("engine") {
            command.env("STREAMGAUGE__ENGINE", super::NO_DETECTION);
        }
        command.args(["--listen", "127.0.0.1:0", "--admin", admin, "--upstream", &url]);
        let piped = command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = piped.spawn().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let (lines, ours) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = ours.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let find = |before: &str, after: char| {
            let log = log.lock().unwrap();
            let (_, rest) = log.split_once(before)?;
            rest.split_once(after)?.0.parse().ok()
        };
        let proxy = wait_for("the listener", || find("listen=", ' '));
        let admin = wait_for("the admin port", || find("metrics=http://", '/'));
        Self { child, proxy, admin, log }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }

    /// CPU time so far (Linux).
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // User and system time, in ticks of 10 ms (proc(5)).
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Peak resident memory in KiB (Linux).
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for StreamgaugeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
