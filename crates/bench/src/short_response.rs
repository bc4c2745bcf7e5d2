//! The short response to a request without streaming: a JSON document of about 1 KiB in the format of vLLM. The server
//! sends it, and the client builds the same one to compare.

use std::io::Write as _;

/// Part of the text, with an escape and non-ASCII letters.
const LINE: &str = r#" the model is a server, und über\n\n of a token stream. which 学习"#;
/// Number of repetitions, for 1 KiB.
const LINES: u64 = 10;

/// Output tokens reported by response `number`. They differ, so that their sum shows which responses were counted.
pub fn tokens(number: u64) -> u64 {
    100 + number % 100
}

/// Returns the body of response `number`. All bodies differ, so a response to the wrong client is detected.
pub fn body(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1100);
    // Writing to memory cannot fail.
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

/// Returns the whole response with `body`.
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
    fn short_response_is_json_of_about_a_kibibyte() {
        let body = super::body(123);
        assert!((900..1200).contains(&body.len()), "{}", body.len());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["usage"]["completion_tokens"], super::tokens(123));
        let text = body["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.starts_with("123 the model"), "{text}");
    }
}
