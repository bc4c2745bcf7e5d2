//! Shared by the test binaries: a running Streamgauge, scripted upstreams, raw clients, and readers of exported data.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

pub mod balance;
pub mod browser;
pub mod chat;
pub mod clock;
pub mod cold_start;
pub mod connection;
pub mod corpus;
pub mod drain;
pub mod exchange;
pub mod external;
pub mod http2;
pub mod pattern;
pub mod process;
pub mod prometheus;
pub mod promql;
pub mod scrape;
pub mod sim;
pub mod simulated_log;
pub mod temporary;
pub mod text_format;
pub mod tls;
pub mod upstream;
pub mod websocket;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streamgauge::config::{Sources, load};
pub use streamgauge::testing::FaultInjection;
use streamgauge::{App, AppError, DrainStage};
use streamgauge_sim::rng::SplitMix64;
use tokio::sync::watch;

pub use clock::{Bracket, Disturbance};
pub use connection::{ConnectionEnd, RawConnection, RawMessage};
pub use scrape::MetricsScrape;
pub use temporary::{TemporaryFile, TemporaryLog};
pub use upstream::ScriptedUpstream;

/// Value of `engine` in tests that are not about it. With detection, series without a response are held back.
pub const NO_DETECTION: &str = "unknown";

/// A running Streamgauge; it stops when dropped.
pub struct Streamgauge {
    /// Address of the first proxy.
    pub proxy: SocketAddr,
    pub proxies: Vec<SocketAddr>,
    pub admin: SocketAddr,
    stop: watch::Sender<DrainStage>,
    thread: Mutex<Option<JoinHandle<Result<(), AppError>>>>,
}

impl Streamgauge {
    /// Starts with default settings in front of this upstream.
    pub fn new(upstream: SocketAddr) -> Self {
        Self::with(upstream, &[], FaultInjection::default())
    }

    /// Starts with these configuration keys and injected faults.
    pub fn with(
        upstream: SocketAddr,
        keys: &[(&'static str, &str)],
        faults: FaultInjection,
    ) -> Self {
        let upstream = format!("http://{upstream}");
        let mut flags: Vec<(&'static str, String)> = vec![
            ("listen", "127.0.0.1:0".into()),
            ("admin", "127.0.0.1:0".into()),
            ("upstream", upstream),
            ("engine", NO_DETECTION.into()),
        ];
        for (key, value) in keys {
            flags.retain(|(name, _)| name != key);
            flags.push((key, (*value).to_owned()));
        }
        Self::start(&Sources { flags, ..Sources::default() }, faults)
    }

    /// Starts with a configuration file of this text, and the admin port on a free port.
    pub fn with_file(text: &str) -> Self {
        Self::with_file_and_faults(text, FaultInjection::default())
    }

    /// Starts with a configuration file of this text and injected faults.
    pub fn with_file_and_faults(text: &str, faults: FaultInjection) -> Self {
        let file = TemporaryFile::new("toml", text);
        let flags = vec![("admin", "127.0.0.1:0".to_owned())];
        let engine = ("STREAMGAUGE__ENGINE".to_owned(), NO_DETECTION.to_owned());
        let environment = if text.contains("engine") { Vec::new() } else { vec![engine] };
        Self::start(&Sources { file: Some(file.path().into()), environment, flags }, faults)
    }

    /// Starts with the configuration from these sources.
    pub fn start(sources: &Sources, faults: FaultInjection) -> Self {
        let app = streamgauge::testing::bind_with_faults(load(sources).unwrap(), faults).unwrap();
        let proxies: Vec<SocketAddr> =
            app.addresses().iter().map(|(_, address)| *address).collect();
        let admin = app.admin_address();
        let (stop, requested) = watch::channel(DrainStage::Serving);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(app.run(requested))
        });
        Self { proxy: proxies[0], proxies, admin, stop, thread: Mutex::new(Some(thread)) }
    }

    /// Begins the shutdown without lame-duck time, and does not wait for its end.
    pub fn begin_shutdown(&self) {
        self.enter(DrainStage::Closing);
    }

    /// Requests a stage of the shutdown.
    pub fn enter(&self, stage: DrainStage) {
        self.stop.send_replace(stage);
    }

    /// Shuts down and waits for the end.
    pub fn stop(&self) {
        self.begin_shutdown();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap().unwrap();
        }
    }

    /// Scrapes `/metrics`.
    pub fn scrape(&self) -> MetricsScrape {
        MetricsScrape::parse(&scrape::get(self.admin, "/metrics"))
    }

    /// The newest lines of the request log.
    pub fn requests(&self) -> Vec<serde_json::Value> {
        let lines = scrape::get(self.admin, "/requests?last=1000");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for at least `count` lines of the request log and returns them.
    pub fn requests_when(&self, count: usize) -> Vec<serde_json::Value> {
        wait_for("requests in the log", || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }
}

impl Drop for Streamgauge {
    fn drop(&mut self) {
        self.begin_shutdown();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

/// How long [`wait_for`] polls before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `poll` until it returns a value. Fails after 20 seconds.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Prints that a test is skipped, and what it needs. The line is visible although the test passes: the test harness
/// captures `println!`, but not a write to standard error.
pub fn skip(missing: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {missing}");
}

/// A random number from 1 to `most`.
pub fn one_to(rng: &mut SplitMix64, most: usize) -> usize {
    rng.between((1, u32::try_from(most).unwrap())) as usize
}

/// Compares `text` with a file of the repository. With STREAMGAUGE_BLESS set, writes the file first.
pub fn assert_golden(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("STREAMGAUGE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, expected)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, expected, "{} line {}", path.display(), line + 1);
    }
    let (found, expected) = (text.lines().count(), golden.lines().count());
    assert_eq!(found, expected, "lines of {}; STREAMGAUGE_BLESS=1 rewrites it", path.display());
}
