//! The HTTP/1.1 server around the engines: routes, admission, and the responses.

mod inference;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{ApiError, SimApi, SimRoute};
use super::engine_host::EngineHost;
use super::model::EngineSpec;
use super::response_body::SimBody;
use super::truth::TruthLog;

/// A simulated inference server that is bound but not yet serving. The time of the engines starts with
/// [`bind`](Self::bind), including that of an initial model load.
///
/// | `POST` | imitated server; `sim` in the body scripts the response |
/// |---|---|
/// | `/v1/chat/completions` | vLLM, or the server that the script's `flavor` names |
/// | `/v1/completions`, `/inference/v1/generate`, `/generate` (`prompt`) | vLLM |
/// | `/v1/responses` | vLLM, OpenAI |
/// | `/v1/threads/runs`, `/v1/threads/ID/runs` | OpenAI, always streamed |
/// | `/v1/embeddings`, `/v1/rerank`, `/v1/score`, `/v1/classify`, `/tokenize` | vLLM |
/// | `/v1/moderations`, `/v1/images/generations`, `/v1/audio/transcriptions`, `/v1/audio/speech` | OpenAI |
/// | `/v1/messages`, `/v1/messages/count_tokens`, `/v1/complete` | Anthropic |
/// | `/api/chat`, `/api/generate`, `/api/embed` | Ollama |
/// | `/generate` (`inputs`), `/generate_stream`, `/` | TGI |
/// | `/generate` (`text` or `input_ids`) | SGLang |
/// | `/completion`, `/infill` | llama.cpp |
/// | `/v2/models/NAME/generate`, `/v2/models/NAME/generate_stream` | Triton |
/// | `/v2/chat`, `/v1/chat`, `/v2/embed` | Cohere |
/// | `/v1beta/models/NAME:generateContent`, `:streamGenerateContent` | Gemini |
/// | `/v1beta/interactions` | Gemini, always streamed |
/// | `/model/NAME/converse`, `/converse-stream`, `/invoke`, `/invoke-with-response-stream` | Bedrock |
/// | `/agents/ID/agentAliases/ID/sessions/ID/text` | Bedrock |
///
/// | `GET` | |
/// |---|---|
/// | `/v1/streams/ID` | Replicate; the script is `sim` in the query |
/// | `/v1/models` | the engines |
/// | `/health` | 200, or 503 while any engine loads |
///
/// Anything else is a 404.
pub struct SimServer {
    listener: TcpListener,
    shared: Arc<ServerState>,
}

pub(super) struct ServerState {
    hosts: Vec<Arc<EngineHost>>,
    epoch: Instant,
    truth: TruthLog,
    responses: AtomicU64,
}

impl SimServer {
    /// Binds an address; port 0 selects a free port. Requests without a model use the first engine.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(addr: SocketAddr, engines: Vec<EngineSpec>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let epoch = Instant::now();
        let shared = ServerState {
            hosts: engines.into_iter().map(|spec| EngineHost::new(spec, epoch)).collect(),
            epoch,
            truth: TruthLog::default(),
            responses: AtomicU64::new(1),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// If the operating system does not return the address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the log of all requests, which stays valid after the server has ended.
    pub fn truth(&self) -> TruthLog {
        self.shared.truth.clone()
    }

    /// Returns the instant from which all times in the records count.
    pub fn epoch(&self) -> Instant {
        self.shared.epoch
    }

    /// Serves until `shutdown` completes, then closes open connections and records their requests as cancelled.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        // All tasks are in this set, so that none outlives the server.
        let mut tasks = JoinSet::new();
        for host in &self.shared.hosts {
            tasks.spawn(Arc::clone(host).drive());
        }
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tasks.spawn(serve(stream, Arc::clone(&self.shared)));
                    }
                    // Most likely out of file descriptors: wait until one is closed.
                    Err(_) => sleep(Duration::from_millis(10)).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        tasks.shutdown().await;
    }
}

async fn serve(stream: TcpStream, shared: Arc<ServerState>) {
    // Otherwise Nagle's algorithm would delay tokens.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(handle(shared, request).await) }
    });
    // An error is a disconnected client or a scripted abort, both recorded.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(shared: Arc<ServerState>, request: Request<Incoming>) -> Response<SimBody> {
    if let Some(route) = SimRoute::of(request.method(), request.uri()) {
        return inference::respond_to_inference(shared, request, route).await;
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/models") => json_response(StatusCode::OK, &models(&shared)),
        (&Method::GET, "/health") if shared.hosts.iter().any(|host| host.is_loading()) => {
            let (_, loading) = SimApi::Chat.reject(&ApiError::Loading);
            json_response(StatusCode::SERVICE_UNAVAILABLE, &loading)
        }
        (&Method::GET, "/health") => json_response(StatusCode::OK, &json!({"status": "ok"})),
        _ => json_response(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"})),
    }
}

fn models(shared: &ServerState) -> Value {
    let created = unix_seconds();
    let data: Vec<Value> = shared
        .hosts
        .iter()
        .map(|host| {
            json!({"id": host.name, "object": "model", "created": created, "owned_by": "sim"})
        })
        .collect();
    json!({"object": "list", "data": data})
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn json_response(status: StatusCode, value: &Value) -> Response<SimBody> {
    let bytes = Bytes::from(value.to_string());
    respond(status, "application/json", SimBody::Fixed(Some(bytes)))
}

fn respond(status: StatusCode, content_type: &'static str, body: SimBody) -> Response<SimBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // Not all servers send one.
    if !content_type.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

impl ServerState {
    /// Returns the engine with this name; the first engine for `None`.
    fn host(&self, model: Option<&str>) -> Option<&Arc<EngineHost>> {
        match model {
            Some(name) => self.hosts.iter().find(|host| host.name == name),
            None => self.hosts.first(),
        }
    }

    fn next_response(&self) -> u64 {
        self.responses.fetch_add(1, Ordering::Relaxed)
    }
}
