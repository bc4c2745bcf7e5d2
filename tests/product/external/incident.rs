//! An incident, played on the simulated server: it goes away and starts cold, is overloaded, crashes, and hangs with a
//! healthy `/health`. A real Prometheus evaluates the real alerts, with shorter windows from the mixin's settings. The page,
//! `top` and `/requests/slow` name each incident.

use super::incident_views::{IncidentViews, IncidentWords};
use crate::mixin::root;
use crate::support::cold_start::reserve_address;
use crate::support::prometheus::Prometheus;
use crate::support::sim::send_chat;
use crate::support::temporary::unique_path;
use crate::support::{Streamgauge, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use streamgauge::testing::FaultInjection;
use streamgauge_sim::SimServer;
use streamgauge_sim::model::EngineSpec;
use tokio::sync::oneshot;

/// How often Prometheus evaluates the rules, in seconds.
const PERIOD: f64 = 1.0;
/// Time between two requests of a client, and after one that failed.
const PAUSE: Duration = Duration::from_millis(20);
const BACKOFF: Duration = Duration::from_millis(500);
/// Settings of the mixin: the same expressions with windows of seconds.
const SETTINGS: &str = "{
    rateWindow: '3s',
    slo+: { fast+: { 'for': '0s', windows: [{ long: '6s', short: '3s', factor: 14.4 }] },
            slow+: { 'for': '0s', windows: [{ long: '12s', short: '6s', factor: 1 }] } },
    queueGrowing+: { 'for': '0s', waitSeconds: 0.5, window: '2s' },
    requestsRejected+: { 'for': '0s', window: '4s' },
    coldStarts+: { 'for': '0s', window: '8s', minimum: 1 },
    stalls+: { 'for': '0s', window: '4s' },
    streamsFail+: { 'for': '0s', window: '5s', minimum: 3 },
    upstreamDown+: { 'for': '0s' },
    engineSilent+: { 'for': '0s', silentSeconds: 1.5, window: '3s' },
    upstreamRestarts+: { 'for': '0s', window: '8s', minimum: 1 },
}";

/// Writes the rules and alerts with these settings. `None`, with a printed line, without jsonnet.
fn generate() -> Option<std::path::PathBuf> {
    if Command::new("jsonnet").arg("--version").output().is_err() {
        crate::support::skip("there is no jsonnet (Debian's package jsonnet has it)");
        return None;
    }
    let folder = unique_path("incident");
    std::fs::create_dir_all(&folder).unwrap();
    for (member, file) in [("prometheusRules", "rules.yml"), ("prometheusAlerts", "alerts.yml")] {
        let expression =
            format!("((import 'mixin.libsonnet') {{ _config+:: {SETTINGS} }}).{member}");
        let mut command = Command::new("jsonnet");
        command
            .current_dir(root().join("mixin"))
            .arg("-o")
            .arg(folder.join(file))
            .arg("-e")
            .arg(expression);
        assert!(command.status().unwrap().success());
    }
    Some(folder)
}

/// A simulated server that can stop.
struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(address: SocketAddr, engine: EngineSpec) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = SimServer::bind(address, vec![engine]).await.unwrap();
                server.run(async { drop(stopped.await) }).await;
            });
        });
        wait_for("the server", || std::net::TcpStream::connect(address).ok());
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    /// Closes the listener and all connections, those with streams too.
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Clients that each send one request after the other, until dropped.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(count: usize, proxy: SocketAddr, request: &Value) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let client = |_| {
            let (stop, request) = (Arc::clone(&stop), request.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let is_ok = send_chat(proxy, &request).contains("[DONE]");
                    std::thread::sleep(if is_ok { PAUSE } else { BACKOFF });
                }
            })
        };
        let threads = (0..count).map(client).collect();
        Self { stop, threads }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// The alerts with their expressions.
struct Alerts {
    prometheus: Prometheus,
    expressions: Vec<(String, String)>,
}

impl Alerts {
    /// Names of the alerts that fire.
    fn firing(&self) -> BTreeSet<String> {
        let is_firing = |alert: &Value| alert["state"] == "firing";
        let name = |alert: &Value| {
            let texts = alert["annotations"].to_string();
            assert!(!texts.contains("error expanding") && !texts.contains("<no value>"), "{texts}");
            alert["labels"]["alertname"].as_str().unwrap().to_owned()
        };
        self.prometheus.alerts().iter().filter(|one| is_firing(one)).map(name).collect()
    }

    /// The first or last instant (by `operation`) since `start` at which an expression had a result.
    fn instant(&self, operation: &str, expression: &str, start: Instant) -> f64 {
        let since = start.elapsed().as_secs() + 1;
        let query = format!("{operation}((time() + 0 * count({expression}))[{since}s:100ms])");
        wait_for("the history", || self.prometheus.value(&query))
    }

    /// Waits until an alert fires, and checks that it did within two periods after its condition.
    fn assert_fires(&self, name: &str, start: Instant) {
        wait_for(name, || self.firing().contains(name).then_some(()));
        self.assert_follows("min_over_time", name, start, "fired");
    }

    /// Waits until an alert is over, and checks that it was within two periods after its condition.
    fn assert_clears(&self, name: &str, start: Instant) {
        wait_for(&format!("the end of {name}"), || (!self.firing().contains(name)).then_some(()));
        self.assert_follows("max_over_time", name, start, "cleared");
    }

    fn assert_follows(&self, operation: &str, name: &str, start: Instant, event: &str) {
        let (_, expression) = self.expressions.iter().find(|(own, _)| own == name).unwrap();
        let series = format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}");
        let condition = self.instant(operation, expression, start);
        // `timestamp` is the time of the evaluation that wrote the sample.
        let since = start.elapsed().as_secs() + 1;
        let query = format!("{operation}(max(timestamp({series}))[{since}s:100ms])");
        let alert = wait_for("the alert's history", || self.prometheus.value(&query));
        // The evaluation after its last sample clears an alert.
        let over = if event == "cleared" { PERIOD } else { 0.0 };
        let took = alert + over - condition;
        println!("{name} {event} {took:.1} s after its condition");
        assert!(took.abs() <= 2.0 * PERIOD + 0.1, "{name}: {condition} {alert}");
    }
}

#[test]
fn the_right_alerts_fire_and_clear() {
    let Some(folder) = generate() else { return };
    let (rules, alerts) = (folder.join("rules.yml"), folder.join("alerts.yml"));
    let engine = EngineSpec { slots: 2, ..EngineSpec::new("sim") };
    let address = reserve_address();
    let keys = [("health_path", "/health")];
    let mut server = Server::start(address, engine.clone());
    let gauge = Streamgauge::with(address, &keys, FaultInjection::default());
    let Some(prometheus) = Prometheus::with_rules(gauge.admin, &[&rules, &alerts]) else { return };
    let views = IncidentViews::open(gauge.admin);
    let text = std::fs::read_to_string(&alerts).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let expressions = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let part = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
    let expressions = expressions.map(|rule| (part(rule, "alert"), part(rule, "expr"))).collect();
    let alerts = Alerts { prometheus, expressions };
    let request = |tokens: u32| {
        json!({"model": "sim", "stream": true, "messages": [], "stream_options": {"include_usage": true},
            "sim": {"output_tokens": tokens}})
    };

    // All is well.
    wait_for("the first scrape", || alerts.prometheus.value("up == 1"));
    let start = Instant::now();
    let clients = Clients::start(1, gauge.proxy, &request(10));
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(alerts.firing(), BTreeSet::new(), "nothing is wrong");
        std::thread::sleep(Duration::from_millis(100));
    }
    views.assert_calm();
    drop(clients);

    // A cold start: the server was scaled to zero, and loads its model when it is back.
    let start = Instant::now();
    drop(server);
    let clients = Clients::start(2, gauge.proxy, &request(10));
    alerts.assert_fires("StreamgaugeUpstreamDown", start);
    let is_away = IncidentWords {
        page: "The server has not answered for",
        event: ("down", "The server has not answered for"),
        top: &["DOWN", "failed: the server could not be reached"],
        slow: ("The server could not be reached", None),
    };
    views.assert_name(&is_away);
    let load_time = Duration::from_secs(2);
    server = Server::start(address, EngineSpec { load_time, ..engine.clone() });
    alerts.assert_fires("StreamgaugeColdStartsFrequent", start);
    views.assert_name(&IncidentWords {
        event: ("cold_start", "waited"),
        top: &["cold start sim", "scaled to zero or stopped"],
        slow: ("for a cold start: the server had been scaled to zero", Some("cold_start")),
        ..IncidentWords::default()
    });
    views.assert_calm();
    alerts.assert_clears("StreamgaugeUpstreamDown", start);
    assert!(!alerts.firing().contains("StreamgaugeEngineSilent"));
    alerts.assert_clears("StreamgaugeColdStartsFrequent", start);
    drop(clients);

    // Overload: more clients than slots.
    let start = Instant::now();
    let mut clients = Vec::new();
    while !alerts.firing().contains("StreamgaugeQueueGrowing") {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the queue of {} clients",
            clients.len()
        );
        clients.push(Clients::start(4, gauge.proxy, &request(20)));
        std::thread::sleep(Duration::from_millis(250));
    }
    alerts.assert_fires("StreamgaugeQueueGrowing", start);
    assert!(!alerts.firing().contains("StreamgaugeUpstreamDown"));
    views.assert_name(&IncidentWords {
        page: "sim is overloaded",
        top: &["in the server's queue"],
        slow: ("in the server's queue", Some("queue")),
        ..IncidentWords::default()
    });
    drop(clients);
    alerts.assert_clears("StreamgaugeQueueGrowing", start);

    // A crash: streams break off, and the server is away.
    let start = Instant::now();
    let clients = Clients::start(8, gauge.proxy, &request(200));
    wait_for("streams", || alerts.prometheus.value("sum(streamgauge_in_flight_requests) >= 8"));
    drop(server);
    alerts.assert_fires("StreamgaugeStreamsFail", start);
    alerts.assert_fires("StreamgaugeUpstreamDown", start);
    views.assert_name(&IncidentWords {
        event: ("failures", "requests failed"),
        top: &["DOWN", "failed: the response broke off"],
        slow: ("The response broke off after", None),
        ..is_away
    });
    server = Server::start(address, engine.clone());
    alerts.assert_fires("StreamgaugeUpstreamRestarts", start);
    drop(clients);
    for name in ["StreamgaugeUpstreamDown", "StreamgaugeStreamsFail", "StreamgaugeUpstreamRestarts"]
    {
        alerts.assert_clears(name, start);
    }

    // A hang: the first token arrives, and then nothing; `/health` is 200.
    let start = Instant::now();
    let hanging = EngineSpec { decode_base: Duration::from_secs(3600), ..engine };
    drop(server);
    server = Server::start(address, hanging);
    let clients = Clients::start(4, gauge.proxy, &request(10));
    alerts.assert_fires("StreamgaugeEngineSilent", start);
    assert!(!alerts.firing().contains("StreamgaugeUpstreamDown"));
    views.assert_name(&IncidentWords {
        page: "The server hangs: no output for",
        event: ("hang", "The server generated nothing for"),
        top: &["HANGS: no output for", "generated nothing for"],
        slow: ("Still running: no output for", Some("longest_gap")),
    });
    drop(server);
    drop(clients);
    alerts.assert_clears("StreamgaugeEngineSilent", start);
    std::fs::remove_dir_all(folder).unwrap();
}
