//! A server on a free port, and a client that records the response with arrival times.

use std::net::Ipv4Addr;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use tokio::task::JoinHandle;

use crate::server::*;
use crate::truth::TruthRecord;

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) struct TestServer {
    pub(super) addr: SocketAddr,
    pub(super) truth: TruthLog,
    pub(super) shared: Arc<ServerState>,
    pub(super) server: JoinHandle<()>,
}

/// Prefill 20 ms, decode 5 ms, two slots.
pub(super) fn quick() -> EngineSpec {
    EngineSpec {
        slots: 2,
        prefill_base: ms(20),
        prefill_per_token: Duration::ZERO,
        decode_base: ms(5),
        decode_per_running: Duration::ZERO,
        ..EngineSpec::new("m")
    }
}

pub(super) async fn start(spec: EngineSpec) -> TestServer {
    let server = SimServer::bind((Ipv4Addr::LOCALHOST, 0).into(), vec![spec]).await.unwrap();
    TestServer {
        addr: server.local_addr().unwrap(),
        truth: server.truth(),
        shared: Arc::clone(&server.shared),
        server: tokio::spawn(server.run(std::future::pending())),
    }
}

/// A response as received by the client.
pub(super) struct ObservedResponse {
    pub(super) status: u16,
    pub(super) headers: hyper::HeaderMap,
    pub(super) text: String,
    /// The HTTP chunks.
    pub(super) frames: Vec<Bytes>,
    /// Data of each event (one per HTTP chunk), with its arrival since the request was sent.
    pub(super) events: Vec<(Duration, String)>,
    /// Whether the body was complete.
    pub(super) complete: bool,
}

impl ObservedResponse {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Returns the events without the terminator.
    pub(super) fn chunks(&self) -> Vec<Value> {
        self.events
            .iter()
            .filter(|(_, data)| data != "[DONE]")
            .map(|(_, data)| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// Returns the joined text of one choice at this key of `delta`.
    pub(super) fn text(&self, choice: u64, pointer: &str) -> String {
        let chunks = self.chunks();
        let deltas = chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
        deltas
            .filter(|delta| delta["index"] == choice)
            .filter_map(|delta| delta["delta"].pointer(pointer)?.as_str())
            .collect()
    }

    /// Returns the arrivals of events with output.
    pub(super) fn outputs(&self) -> Vec<Duration> {
        let has_output = |data: &str| {
            let chunk: Value = serde_json::from_str(data).unwrap_or_default();
            ["/content", "/reasoning_content", "/tool_calls/0/function"].iter().any(|at| {
                let found = chunk.pointer(&format!("/choices/0/delta{at}"));
                found.is_some_and(|v| v.as_str() != Some(""))
            })
        };
        self.events.iter().filter(|(_, data)| has_output(data)).map(|(at, _)| *at).collect()
    }

    /// Returns a header of the response.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the data of all server-sent events.
    pub(super) fn data(&self) -> Vec<Value> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("data:"));
        let lines = lines.map(str::trim).filter(|data| *data != "[DONE]");
        lines.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    /// Returns the lines, parsed as JSON.
    pub(super) fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn done(&self) -> bool {
        self.events.last().is_some_and(|(_, data)| data == "[DONE]")
    }
}

impl TestServer {
    pub(super) async fn send(&self, method: &str, path: &str, body: &Value) -> Response<Incoming> {
        self.send_as(method, path, "application/json", body.to_string()).await
    }

    async fn send_as(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "sim")
            .header("content-type", content_type)
            .header("x-request-id", "test-1")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    pub(super) async fn see(&self, method: &str, path: &str, body: Value) -> ObservedResponse {
        let began = Instant::now();
        Self::read(began, self.send(method, path, &body).await).await
    }

    /// Builds a form with the boundary `b`.
    pub(super) async fn form(&self, path: &str, body: String) -> ObservedResponse {
        let (began, kind) = (Instant::now(), "multipart/form-data; boundary=b");
        Self::read(began, self.send_as("POST", path, kind, body).await).await
    }

    async fn read(began: Instant, response: Response<Incoming>) -> ObservedResponse {
        let mut observed = ObservedResponse {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: String::new(),
            frames: Vec::new(),
            events: Vec::new(),
            complete: true,
        };
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                observed.complete = false;
                break;
            };
            let bytes = frame.into_data().unwrap();
            // Tests of binary bodies use `frames`.
            let data = String::from_utf8_lossy(&bytes).into_owned();
            let event = data.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n"));
            if let Some(event) = event.filter(|event| !event.contains('\n')) {
                observed.events.push((began.elapsed(), event.to_owned()));
            }
            observed.frames.push(bytes);
            observed.text.push_str(&data);
        }
        observed
    }

    pub(super) async fn chat(&self, body: Value) -> ObservedResponse {
        self.see("POST", "/v1/chat/completions", body).await
    }

    /// Sends a request and waits for the only record.
    pub(super) async fn post(&self, path: &str, body: Value) -> (ObservedResponse, TruthRecord) {
        let response = self.see("POST", path, body).await;
        (response, self.record().await)
    }

    pub(super) async fn get(&self, path: &str) -> ObservedResponse {
        self.see("GET", path, Value::Null).await
    }

    /// Waits for the only record.
    pub(super) async fn record(&self) -> TruthRecord {
        for _ in 0..200 {
            if let Some(record) = self.truth.take().pop() {
                return record;
            }
            sleep(ms(5)).await;
        }
        panic!("no record");
    }
}

/// Joins the strings at this place of each value, if they exist.
pub(super) fn joined<'a>(values: impl IntoIterator<Item = &'a Value>, pointer: &str) -> String {
    values.into_iter().filter_map(|value| value.pointer(pointer)?.as_str()).collect()
}

/// Number of characters of a text.
pub(super) fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}
