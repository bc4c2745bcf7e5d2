//! The answer to a request that asks for no stream: one JSON document of about 1 KiB, in the shape that vLLM
//! gives its own. Both ends make it, the server to send and the client to compare.

use std::io::Write as _;

/// A part of what the answer says, with an escape and letters beyond ASCII.
const LINE: &str = r#" the model is a server, und über\n\n of a token stream. which 学习"#;
/// So many of them make it 1 KiB.
const LINES: u64 = 10;

/// Output tokens that the answer `number` tells. They differ, so that a sum of them shows which were counted.
pub fn tokens(number: u64) -> u64 {
    100 + number % 100
}

/// The body of the answer `number`. No two are alike: one that went to another client's request is found.
pub fn body(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1100);
    // A write to memory does not fail.
    let _ = write!(
        out,
        r#"{{"id":"chatcmpl-{number:032x}","object":"chat.completion","created":1767225600,"model":"bench/model-8b","choices":[{{"index":0,"message":{{"role":"assistant","content":""#
    );
    for line in 0..LINES {
        let _ = write!(out, "{}{LINE}", number + line);
    }
    let (tokens, total) = (tokens(number), tokens(number) + 5);
    let _ = write!(
        out,
        r#""}},"logprobs":null,"finish_reason":"stop","stop_reason":null}}],"usage":{{"prompt_tokens":5,"total_tokens":{total},"completion_tokens":{tokens}}}}}"#
    );
    out
}

/// The whole response with `body`.
pub fn response(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + body.len());
    let _ = write!(
        out,
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: bench\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn an_answer_is_json_of_about_a_kibibyte() {
        let body = super::body(123);
        assert!((900..1200).contains(&body.len()), "{}", body.len());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["usage"]["completion_tokens"], super::tokens(123));
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.starts_with("123 the model"), "{text}");
    }
}
