//! Client of the admin port of a running Streamgauge, for the commands `healthcheck`, `tail` and `top`, and for the demo.
//!
//! | module | responsibility |
//! |---|---|
//! | `url` | the address of an admin port |
//! | `tls` | which certificates are trusted |

mod tls;
mod url;

pub use tls::CertificateTrust;
pub use url::AdminUrl;

use crate::cli::AdminArgs;
use crate::config::variable_name;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Time limit of one request, with the connection that it may need.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a response. `/requests` with all the requests that are kept has about 2 MiB.
const MAX_RESPONSE: usize = 16 << 20;

/// Why the admin port gave no response, or another one than expected.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// No connection, or it failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The response breaks the rules of HTTP, or the connection closed before its end.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// The path or the token cannot be part of a request.
    #[error("invalid request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The response is too large, or broke off.
    #[error("cannot read the response: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// No response in time.
    #[error("no response within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The status is not 2xx.
    #[error("{path} returned {status}: {text}")]
    Status {
        /// Path and query of the request.
        path: String,
        /// Status of the response.
        status: StatusCode,
        /// First line of the body.
        text: String,
    },
    /// The body is not what the path is expected to return.
    #[error("{path} returned an unexpected body: {error}")]
    Content {
        /// Path and query of the request.
        path: String,
        /// Description of the fault.
        error: String,
    },
}

impl AdminClientError {
    /// Whether the port refuses the request for lack of credentials. A retry cannot help.
    pub fn is_refusal(&self) -> bool {
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        matches!(self, Self::Status { status, .. } if refusals.contains(status))
    }
}

/// Response of the admin port.
#[derive(Debug)]
pub struct AdminResponse {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Client of one admin port. It keeps its connection open between requests, and opens a new one when that fails.
pub struct AdminClient {
    url: AdminUrl,
    tls: Option<TlsConnector>,
    authorization: Option<HeaderValue>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl AdminClient {
    /// Creates a client. Connects at the first request.
    ///
    /// # Errors
    /// If the certificates of `trust` cannot be used.
    pub fn new(url: AdminUrl, trust: &CertificateTrust) -> io::Result<Self> {
        let tls = if url.has_tls() { Some(trust.connector(&url)?) } else { None };
        Ok(Self { url, tls, authorization: None, connection: None })
    }

    /// Creates a client from the command line. The token is in `--token-file` or in a variable of the environment.
    ///
    /// # Errors
    /// If a file cannot be used, or the token is invalid.
    pub fn from_args(args: &AdminArgs) -> io::Result<Self> {
        let trust = match args.insecure {
            true => CertificateTrust::Any,
            false => CertificateTrust::Verified(args.ca_file.clone()),
        };
        let client = Self::new(args.url.clone(), &trust)?;
        let token = match &args.token_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                let message = format!("cannot read the token in {}: {error}", path.display());
                io::Error::new(error.kind(), message)
            })?),
            None => std::env::var(variable_name("admin_token")).ok(),
        };
        match token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => client.with_token(token),
            None => Ok(client),
        }
    }

    /// Sends this admin token with each request.
    fn with_token(mut self, token: &str) -> io::Result<Self> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| {
            io::Error::other("the admin token has characters that a header cannot have")
        })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Address of the admin port.
    pub fn url(&self) -> &AdminUrl {
        &self.url
    }

    /// Requests a path, and returns the response with any status.
    ///
    /// # Errors
    /// If there is no complete response within 3 seconds.
    pub async fn request(&mut self, path: &str) -> Result<AdminResponse, AdminClientError> {
        let kept = self.connection.take();
        timeout(TIMEOUT, async {
            // The port closes a connection that was idle for too long: the request is repeated on a new one.
            if let Some(mut kept) = kept
                && kept.ready().await.is_ok()
                && let Ok(response) = self.exchange(&mut kept, path).await
            {
                self.connection = Some(kept);
                return Ok(response);
            }
            let mut connection = self.connect().await?;
            let response = self.exchange(&mut connection, path).await?;
            self.connection = Some(connection);
            Ok(response)
        })
        .await
        .unwrap_or(Err(AdminClientError::Timeout))
    }

    /// Requests a path, and returns the response if its status is 2xx.
    ///
    /// # Errors
    /// As [`request`](Self::request), or if the status is another one.
    pub async fn get(&mut self, path: &str) -> Result<AdminResponse, AdminClientError> {
        let response = self.request(path).await?;
        if response.status.is_success() {
            return Ok(response);
        }
        let text = String::from_utf8_lossy(&response.body);
        let text = text.lines().next().unwrap_or_default().to_owned();
        Err(AdminClientError::Status { path: path.to_owned(), status: response.status, text })
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, AdminClientError> {
        let socket = TcpStream::connect((self.url.host(), self.url.port())).await?;
        socket.set_nodelay(true)?;
        match &self.tls {
            None => handshake(socket).await,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host().to_owned());
                let name = name.map_err(io::Error::other)?;
                handshake(tls.connect(name, socket).await?).await
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut SendRequest<Empty<Bytes>>,
        path: &str,
    ) -> Result<AdminResponse, AdminClientError> {
        let mut request =
            Request::get(path).header(HOST, self.url.authority()).body(Empty::new())?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await;
        let body = body.map_err(AdminClientError::Body)?.to_bytes();
        Ok(AdminResponse { status: head.status, headers: head.headers, body })
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Empty<Bytes>>, AdminClientError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped. Its errors are those of the exchange.
    tokio::spawn(connection);
    Ok(sender)
}
