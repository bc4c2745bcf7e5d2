//! What the tests share: the real app on free ports, and a look at what it exports.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

pub mod chat;
pub mod client;
pub mod cold;
pub mod corpus;
pub mod exchange;
pub mod http2;
pub mod logs;
pub mod outcome;
pub mod pattern;
pub mod process;
pub mod rng;
pub mod scrape;
pub mod sim;
pub mod text_format;
pub mod tls;
pub mod upstream;
pub mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streamgauge::app::{App, AppError};
use streamgauge::config::{Sources, load};
use streamgauge::tap::FaultInjection;
use tokio::sync::oneshot;

pub use outcome::TemporaryLog;
pub use scrape::Scrape;
pub use upstream::Upstream;
pub use wire::{Ending, Message, Wire};

/// A running Streamgauge; it ends when dropped.
pub struct Gauge {
    /// The first of them.
    pub proxy: SocketAddr,
    pub proxies: Vec<SocketAddr>,
    pub admin: SocketAddr,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<Result<(), AppError>>>>,
}

impl Gauge {
    /// In front of this upstream, with all defaults.
    pub fn new(upstream: SocketAddr) -> Self {
        Self::with(upstream, &[], FaultInjection::default())
    }

    /// With these keys and faults beside.
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
        ];
        for (key, value) in keys {
            flags.retain(|(name, _)| name != key);
            flags.push((key, (*value).to_owned()));
        }
        Self::start(&Sources { flags, ..Sources::default() }, faults)
    }

    /// With the configuration that these sources hold.
    pub fn start(sources: &Sources, faults: FaultInjection) -> Self {
        let app = App::bind_with(load(sources).unwrap(), faults).unwrap();
        let proxies: Vec<SocketAddr> =
            app.addresses().iter().map(|(_, address)| *address).collect();
        let admin = app.admin_address();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(app.run(async {
                let _ = stopped.await;
            }))
        });
        Self {
            proxy: proxies[0],
            proxies,
            admin,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Tells it to stop, without waiting.
    pub fn tell_to_stop(&self) {
        self.stop.lock().unwrap().take();
    }

    /// Tells it to stop and waits until it has.
    pub fn stop(&self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            thread.join().unwrap().unwrap();
        }
    }

    /// `/metrics`, now.
    pub fn scrape(&self) -> Scrape {
        Scrape::parse(&scrape::get(self.admin, "/metrics"))
    }

    /// The newest lines of the request log.
    pub fn requests(&self) -> Vec<serde_json::Value> {
        let lines = scrape::get(self.admin, "/requests?last=1000");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The request log's lines, once there are `count` of them.
    pub fn requests_when(&self, count: usize) -> Vec<serde_json::Value> {
        wait_for("requests in the log", || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.lock().unwrap().take() {
            let _ = thread.join();
        }
    }
}

/// Runs a test that holds one clock against another: up to three times, since on a machine that gives the
/// processor to somebody else in between, both are right and differ. What is wrong is wrong three times.
pub fn against_the_clock(test: impl Fn() + std::panic::RefUnwindSafe) {
    for attempt in 1..=3 {
        match std::panic::catch_unwind(&test) {
            Ok(()) => return,
            Err(failure) if attempt == 3 => std::panic::resume_unwind(failure),
            Err(_) => println!("attempt {attempt} of 3 failed"),
        }
    }
}

/// Asks until there is an answer; fails after ten seconds.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Compares with a file of the repository; writes it instead when STREAMGAUGE_BLESS is set.
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
    assert_eq!(found, expected, "lines of {}; STREAMGAUGE_BLESS=1 writes it anew", path.display());
}
