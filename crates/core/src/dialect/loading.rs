//! Detects in the body of a 503 response that the model is loading.
//!
//! | server | body |
//! |---|---|
//! | llama.cpp | `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}` |
//! | Hugging Face's inference API | `{"error":"Model org/name is currently loading","estimated_time":20.0}` |
//!
//! Other servers use similar words. A 503 without them is not about loading: most mean that a queue is full.

/// Number of bytes that are searched, from the start of the body.
const SEARCHED: usize = 4096;
/// Phrases that mean that the model is loading, in lower case.
const LOADING: [&str; 9] = [
    "loading model",
    "loading the model",
    "model loading",
    "is loading",
    "currently loading",
    "still loading",
    "being loaded",
    "warming up",
    "starting up",
];
/// Words in the same string that mean that the load failed, in lower case.
const FAILED: [&str; 10] = [
    "error",
    "fail",
    "exception",
    "problem",
    "unable",
    "cannot",
    "could not",
    "out of memory",
    "abort",
    "timed out",
];

/// Detector of "the model is loading" in the body of a 503 response.
#[derive(Debug, Default)]
pub struct LoadingDetector(Vec<u8>);

impl LoadingDetector {
    /// Adds the next bytes of the body. Returns whether a complete JSON string so far means that the model is loading.
    ///
    /// An incomplete string does not count: its end may mean that the load failed.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let free = SEARCHED.saturating_sub(self.0.len());
        if free == 0 {
            return false;
        }
        self.0.extend(bytes.iter().take(free).map(u8::to_ascii_lowercase));
        self.is_loading(false)
    }

    /// Returns whether the body, now complete, means that the model is loading.
    pub fn finish(&self) -> bool {
        self.is_loading(true)
    }

    fn is_loading(&self, is_complete: bool) -> bool {
        let mut strings = strings(&self.0).peekable();
        std::iter::from_fn(|| strings.next().map(|string| (string, strings.peek().is_some())))
            .filter(|(_, has_ended)| is_complete || *has_ended)
            .any(|(string, _)| contains(string, &LOADING) && !contains(string, &FAILED))
    }
}

fn contains(string: &[u8], words: &[&str]) -> bool {
    words.iter().any(|words| memchr::memmem::find(string, words.as_bytes()).is_some())
}

/// Splits the body at double quotes, so that each JSON string is one item. A body that is not JSON is one item.
fn strings(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_escaped = false;
    body.split(move |byte| {
        let is_quote = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_quote
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_of_servers_are_detected() {
        let cases = [
            (
                r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
                true,
            ),
            (r#"{"error":"Model gpt2 is currently loading","estimated_time":20.0}"#, true),
            (r#"{"error":"model 'a' is still loading, please retry"}"#, true),
            // A full queue of Ollama, vLLM, TGI and Anthropic.
            (
                r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
                false,
            ),
            (r#"{"error":{"message":"The request queue is full.","code":503}}"#, false),
            (r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, false),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                false,
            ),
            ("Loading model", true),
            (r#"{"error":"the model \"a\" is loading"}"#, true),
            (r#"{"error":"CUDA out of memory while loading model"}"#, false),
            (r#"{"error":"Error loading model: out of memory"}"#, false),
            (r#"{"error":"Model loading failed: out of memory"}"#, false),
            (r#"{"error":{"message":"Failed while loading model","code":503}}"#, false),
            (r#"{"error":"Error: loading model"}"#, false),
            (r#"{"error":"\"a\" is loading, and has failed"}"#, false),
            ("Model loading failed", false),
            ("upstream connect error or disconnect/reset before headers", false),
            ("", false),
        ];
        for (body, expected) in cases {
            for size in 1..=body.len().max(1) {
                let mut detector = LoadingDetector::default();
                let mut chunks = body.as_bytes().chunks(size);
                let is_found = chunks.any(|chunk| detector.push(chunk));
                assert_eq!(is_found || detector.finish(), expected, "{body} by {size}");
            }
        }
    }

    #[test]
    fn only_the_start_of_the_body_is_searched() {
        let mut detector = LoadingDetector::default();
        assert!(!detector.push(&vec![b'x'; 5000]));
        assert!(!detector.push(b"\"Loading model\""));
        assert!(!detector.finish());
        assert_eq!(detector.0.len(), SEARCHED);
    }
}
