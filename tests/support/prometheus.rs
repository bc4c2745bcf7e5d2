//! A real Prometheus that scrapes Streamgauge.

use super::temporary::unique_path;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A Prometheus that scrapes one address every 200 ms; it is killed when dropped.
pub struct Prometheus {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts without rules. Returns `None`, and prints a line, if this machine has no Prometheus.
    pub fn start(target: SocketAddr) -> Option<Self> {
        Self::with_rules(target, &[])
    }

    /// Starts with these files of rules, evaluated every second.
    pub fn with_rules(target: SocketAddr, rules: &[&Path]) -> Option<Self> {
        let folder = unique_path("prometheus");
        std::fs::create_dir_all(&folder).unwrap();
        let rules: Vec<String> = rules.iter().map(|file| format!("'{}'", file.display())).collect();
        let configuration = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs: [{{job_name: streamgauge, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.join(", ")
        );
        std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=error"])
            .stdout(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            super::skip("there is no prometheus (Debian's package prometheus has it)");
            let _ = std::fs::remove_dir_all(folder);
            return None;
        };
        Some(Self { process, folder, address })
    }

    /// The values of an instant query. `None` while Prometheus does not answer.
    pub fn query(&self, expression: &str) -> Option<Vec<f64>> {
        self.query_api(expression, "")
    }

    /// The values of a query at an instant, in seconds since 1970.
    pub fn query_at(&self, expression: &str, at: f64) -> Option<Vec<f64>> {
        self.query_api(expression, &format!("&time={at}"))
    }

    /// All alerts that are pending or firing, as the API reports them. None while Prometheus does not answer.
    pub fn alerts(&self) -> Vec<Value> {
        let data = self.get("/api/v1/alerts").unwrap_or_default();
        data["alerts"].as_array().cloned().unwrap_or_default()
    }

    fn query_api(&self, expression: &str, parameters: &str) -> Option<Vec<f64>> {
        let encode = |byte: u8| match byte {
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let encoded: String = expression.bytes().map(encode).collect();
        let data = self.get(&format!("/api/v1/query?query={encoded}{parameters}"))?;
        let value =
            |sample: &Value| sample["value"][1].as_str().and_then(|value| value.parse().ok());
        data["result"].as_array()?.iter().map(value).collect()
    }

    /// The data of a response of the API. `None` while Prometheus does not answer.
    fn get(&self, target: &str) -> Option<Value> {
        let mut socket = TcpStream::connect(self.address).ok()?;
        write!(socket, "GET {target} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        assert_eq!(body["status"], "success", "{target}: {body}");
        Some(body["data"].clone())
    }

    /// The value of a query that returns one series; `None` if it returns another number of them.
    pub fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).filter(|values| values.len() == 1)?.first().copied()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
