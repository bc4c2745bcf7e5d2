//! One request on a connection of its own, so that dropping it closes the connection, as a user's would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Draft;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Finished,
    Aborted,
    Rejected,
    Failed,
}

/// Sends it, and reads the answer to its end or to the moment at which it is to be aborted.
pub(super) async fn send(target: SocketAddr, draft: Draft, limit: Duration) -> Outcome {
    let patience = draft.abort_after.unwrap_or(limit);
    let aborts = draft.abort_after.is_some_and(|after| after <= limit);
    match timeout(patience.min(limit), exchange(target, &draft)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::Failed,
        Err(_) if aborts => Outcome::Aborted,
        Err(_) => Outcome::Failed,
    }
}

async fn exchange(
    target: SocketAddr,
    draft: &Draft,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post("/v1/chat/completions")
        .header(HOST, target.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header("x-request-id", format!("sim-{}", draft.number))
        .body(Full::new(body(draft)))?;
    let talk = async move {
        let response = sender.send_request(request).await?;
        let ok = response.status().is_success();
        let mut body = response.into_body();
        // A stream that breaks off in mid-event is an error of hyper's; one that lacks its terminator is not.
        let mut tail = Bytes::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                tail = data;
            }
        }
        if !ok {
            return Ok(Outcome::Rejected);
        }
        if draft.stream && !tail.ends_with(b"data: [DONE]\n\n") {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(Outcome::Finished)
    };
    // Side by side in one task: if this future is dropped, so is the socket. `talk` owns the sender, and the
    // connection ends when that is dropped.
    let (outcome, _) = tokio::join!(talk, connection);
    outcome
}

fn body(draft: &Draft) -> Bytes {
    const FILLER: &str = "Tell me about the queue at the old inference server by the sea. ";
    let characters = draft.prompt_tokens as usize * 4;
    let mut content = FILLER.repeat(characters / FILLER.len() + 1);
    content.truncate(characters);
    let mut body = json!({
        "model": draft.model,
        "messages": [{"role": "user", "content": content}],
        "stream": draft.stream,
        "sim": {
            "output_tokens": draft.output_tokens,
            "reasoning_tokens": draft.reasoning_tokens,
        },
    });
    if let Some(fields) = body.as_object_mut() {
        if draft.choices > 1 {
            fields.insert("n".into(), draft.choices.into());
        }
        if draft.stream && draft.include_usage {
            fields.insert("stream_options".into(), json!({"include_usage": true}));
        }
    }
    Bytes::from(body.to_string())
}
