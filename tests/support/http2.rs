//! HTTP/2 with the h2 crate: a scripted upstream, and a client.

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use hyper::http::HeaderMap;
use hyper::{Method, Request, Response};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{TcpListener, TcpStream};

/// A request at the upstream.
pub struct H2Request {
    pub head: hyper::http::request::Parts,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
    /// Number of the connection, from 0.
    pub connection: usize,
}

type H2Script = dyn Fn(H2Request) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// An HTTP/2 upstream on a thread that runs until the test ends.
pub struct H2Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// Unusual behavior of an upstream.
#[derive(Debug, Clone, Copy, Default)]
pub struct H2Behavior {
    /// Limit of concurrent requests on a connection.
    pub max_streams: Option<u32>,
    /// Number of requests on a connection after which the upstream sends GOAWAY.
    pub goaway_after: Option<usize>,
}

impl H2Upstream {
    /// Runs `script` with each request.
    pub fn with_script<F>(script: impl Fn(H2Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::with_behavior(H2Behavior::default(), script)
    }

    pub fn with_behavior<F>(
        behavior: H2Behavior,
        script: impl Fn(H2Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let script: Arc<H2Script> = Arc::new(move |request| Box::pin(script(request)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let ours = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let (ours, script) = (Arc::clone(&ours), Arc::clone(&script));
                    tokio::spawn(async move {
                        // A connection without a byte is a probe.
                        if !matches!(socket.peek(&mut [0]).await, Ok(0)) {
                            let number = ours.fetch_add(1, SeqCst);
                            connection(socket, number, behavior, script).await;
                        }
                    });
                }
            });
        });
        Self { address, connections }
    }

    /// Number of accepted connections without probes.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn connection(socket: TcpStream, number: usize, behavior: H2Behavior, script: Arc<H2Script>) {
    socket.set_nodelay(true).unwrap();
    let mut builder = h2::server::Builder::new();
    if let Some(most) = behavior.max_streams {
        builder.max_concurrent_streams(most);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    let mut requests = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        tokio::spawn(script(H2Request { head, body, respond, connection: number }));
        requests += 1;
        if behavior.goaway_after == Some(requests) {
            connection.graceful_shutdown();
        }
    }
}

/// A client's connection.
pub struct H2Client {
    sender: h2::client::SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl H2Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket).await
    }

    pub async fn over<T>(io: T) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (client, connection) = h2::client::handshake(io).await.unwrap();
        Self { sender: client, connection: tokio::spawn(connection) }
    }

    /// Closes the connection without a word.
    pub fn abort(&self) {
        self.connection.abort();
    }

    /// Waits until the connection has ended, and returns how. Fails after 20 seconds.
    pub async fn wait_for_close(&mut self) -> Result<(), h2::Error> {
        let ended = tokio::time::timeout(super::PATIENCE, &mut self.connection).await;
        ended.expect("the connection ends").unwrap()
    }

    /// Starts a request; its body follows.
    pub async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.open(request, false).await
    }

    /// Starts a request. Returns `None` if the connection has ended.
    pub async fn try_begin(
        &mut self,
        request: Request<()>,
    ) -> Option<(ResponseFuture, SendStream<Bytes>)> {
        std::future::poll_fn(|cx| self.sender.poll_ready(cx)).await.ok()?;
        self.sender.send_request(request, false).ok()
    }

    async fn open(
        &mut self,
        request: Request<()>,
        is_whole: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        std::future::poll_fn(|cx| self.sender.poll_ready(cx)).await.unwrap();
        self.sender.send_request(request, is_whole).unwrap()
    }

    /// Sends a request with this body.
    pub async fn send(&mut self, request: Request<()>, body: impl Into<Bytes>) -> ResponseFuture {
        let body = body.into();
        let (answer, mut sender) = self.open(request, body.is_empty()).await;
        if !body.is_empty() {
            // A response that did not wait for the body has already closed the stream.
            let _ = sender.send_data(body, true);
        }
        answer
    }

    /// Waits for GOAWAY, after which the connection takes no further request.
    pub async fn wait_for_goaway(&mut self) {
        let start = std::time::Instant::now();
        while std::future::poll_fn(|cx| self.sender.poll_ready(cx)).await.is_ok() {
            assert!(start.elapsed().as_secs() < 20, "no GOAWAY arrived");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Sends a request and reads the complete response.
    pub async fn exchange(&mut self, request: Request<()>, body: impl Into<Bytes>) -> H2Response {
        H2Response::of(self.send(request, body).await.await.unwrap()).await
    }
}

/// A POST request.
pub fn post(uri: &str, content_type: &str) -> Request<()> {
    let request = Request::builder().method(Method::POST).uri(uri);
    request.header("content-type", content_type).body(()).unwrap()
}

/// A complete response.
#[derive(Debug)]
pub struct H2Response {
    pub head: hyper::http::response::Parts,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl H2Response {
    pub async fn of(answer: Response<RecvStream>) -> Self {
        let (head, mut stream) = answer.into_parts();
        let mut body = Vec::new();
        while let Some(data) = next(&mut stream).await {
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await.unwrap();
        Self { head, body, trailers }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The next data of a body, or `None` at its end.
pub async fn next(stream: &mut RecvStream) -> Option<Bytes> {
    loop {
        let data = stream.data().await?.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        if !data.is_empty() {
            return Some(data);
        }
    }
}

/// The complete body.
pub async fn all(stream: &mut RecvStream) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(data) = next(stream).await {
        body.extend_from_slice(&data);
    }
    body
}
