//! Sends one request on its own connection, so that dropping it closes the connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PlannedRequest, dialogue};

/// Outcome of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientOutcome {
    Finished,
    Aborted,
    Rejected,
    Failed,
}

/// Sends a request and reads the response to its end, or until it is aborted.
pub(super) async fn send(
    target: SocketAddr,
    draft: PlannedRequest,
    limit: Duration,
) -> ClientOutcome {
    let patience = draft.abort_after.unwrap_or(limit);
    let aborts = draft.abort_after.is_some_and(|after| after <= limit);
    match timeout(patience.min(limit), exchange(target, &draft)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => ClientOutcome::Failed,
        Err(_) if aborts => ClientOutcome::Aborted,
        Err(_) => ClientOutcome::Failed,
    }
}

async fn exchange(
    target: SocketAddr,
    draft: &PlannedRequest,
) -> Result<ClientOutcome, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(dialogue::path(draft))
        .header(HOST, target.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header("x-request-id", format!("sim-{}", draft.number))
        .body(Full::new(dialogue::body(draft)))?;
    let talk = async move {
        let response = sender.send_request(request).await?;
        let ok = response.status().is_success();
        let mut body = response.into_body();
        // hyper reports a stream that is cut within a chunk, but not one without a terminator.
        let mut tail = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                tail.extend_from_slice(&data);
                // The terminator can be split over frames.
                tail.drain(..tail.len().saturating_sub(dialogue::LONGEST_END));
            }
        }
        if !ok {
            return Ok(ClientOutcome::Rejected);
        }
        if draft.stream && !dialogue::is_complete(draft.api, &tail) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(ClientOutcome::Finished)
    };
    // Both run in one task, so dropping this future closes the socket. The connection ends when `talk` drops its
    // sender.
    let (outcome, _) = tokio::join!(talk, connection);
    outcome
}
