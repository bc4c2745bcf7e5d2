//! Requests and streamed responses of the OpenAI chat API.

use super::connection::chunk;
use serde_json::json;

/// The event that ends a stream.
pub const DONE: &str = "data: [DONE]\n\n";

/// Status line and headers of a chunked stream.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The last chunk of a chunked body.
pub const LAST_CHUNK: &str = "0\r\n\r\n";

/// A chat request for a stream.
pub fn request() -> Vec<u8> {
    request_for("m")
}

/// A chat request for a stream from this model.
pub fn request_for(model: &str) -> Vec<u8> {
    let body =
        json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    post("/v1/chat/completions", "", body.to_string().as_bytes())
}

/// A POST with additional header lines, each with its line end.
pub fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// An event with text of the answer.
pub fn content_event(text: &str) -> String {
    let event = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    format!("data: {event}\n\n")
}

/// The event that finishes the only choice.
pub fn finish_event() -> String {
    let event = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    format!("data: {event}\n\n")
}

/// The event with the token counts.
pub fn usage_event(output: u64) -> String {
    let event = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": output}});
    format!("data: {event}\n\n")
}

/// A complete chunked response with one chunk per event.
pub fn stream_response(events: &[String]) -> Vec<u8> {
    let chunks: Vec<u8> = events.iter().flat_map(chunk).collect();
    [STREAM_HEAD.as_bytes(), &chunks, LAST_CHUNK.as_bytes()].concat()
}

/// A complete response with a `Content-Length`.
pub fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
