//! Finds in the body of a refusal (503) that the model is being loaded.
//!
//! | server | what it writes |
//! |---|---|
//! | llama.cpp | `{"error":{"message":"Loading model","type":"unavailable_error","code":503}}` |
//! | Hugging Face's inference API | `{"error":"Model org/name is currently loading","estimated_time":20.0}` |
//!
//! Others use words like these. A refusal without them says nothing of a load: most say that a queue is full.

/// Bytes of the body that are looked at.
const LOOKED_AT: usize = 4096;
/// What is written of a model that is being loaded, in lower case.
const WORDS: [&str; 9] = [
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
/// What is written with such words where the load has failed, in lower case.
const FAILED: [&str; 10] = [
    "error",
    "fail",
    "exception",
    "problem",
    "unable",
    "cannot",
    "could not",
    "out of stream",
    "abort",
    "timed out",
];

/// The front of a body.
#[derive(Debug, Default)]
pub struct LoadingDetector(Vec<u8>);

impl LoadingDetector {
    /// The next bytes of the body. Gives whether what came so far says that the model is being loaded: in a
    /// string that has ended, for the rest of it may say that the load has failed.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let free = LOOKED_AT.saturating_sub(self.0.len());
        if free == 0 {
            return false;
        }
        self.0.extend(bytes.iter().take(free).map(u8::to_ascii_lowercase));
        self.says(false)
    }

    /// Whether the body, which is over, says so.
    pub fn finish(&self) -> bool {
        self.says(true)
    }

    fn says(&self, is_over: bool) -> bool {
        let mut strings = strings(&self.0).peekable();
        std::iter::from_fn(|| strings.next().map(|string| (string, strings.peek().is_some())))
            .filter(|(_, has_ended)| is_over || *has_ended)
            .any(|(string, _)| has(string, &WORDS) && !has(string, &FAILED))
    }
}

fn has(string: &[u8], words: &[&str]) -> bool {
    words.iter().any(|words| memchr::memmem::find(string, words.as_bytes()).is_some())
}

/// What stands between double quotes, and between those strings; a body that is no JSON is one string.
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
    fn what_servers_write() {
        let cases = [
            (
                r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
                true,
            ),
            (r#"{"error":"Model gpt2 is currently loading","estimated_time":20.0}"#, true),
            (r#"{"error":"model 'a' is still loading, please retry"}"#, true),
            // Ollama's, vLLM's, TGI's and Anthropic's of a full queue.
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
            (r#"{"error":"Error loading model: out of stream"}"#, false),
            (r#"{"error":"Model loading failed: out of stream"}"#, false),
            (r#"{"error":{"message":"Failed while loading model","code":503}}"#, false),
            (r#"{"error":"Error: loading model"}"#, false),
            (r#"{"error":"\"a\" is loading, and has failed"}"#, false),
            ("Model loading failed", false),
            ("upstream connect error or disconnect/reset before headers", false),
            ("", false),
        ];
        for (body, expected) in cases {
            for size in 1..=body.len().max(1) {
                let mut refusal = LoadingDetector::default();
                let mut text_count = body.as_bytes().chunks(size);
                let is_found = text_count.any(|piece| refusal.push(piece));
                assert_eq!(is_found || refusal.finish(), expected, "{body} by {size}");
            }
        }
    }

    #[test]
    fn only_the_front_is_looked_at() {
        let mut refusal = LoadingDetector::default();
        assert!(!refusal.push(&vec![b'x'; 5000]));
        assert!(!refusal.push(b"\"Loading model\""));
        assert!(!refusal.finish());
        assert_eq!(refusal.0.len(), LOOKED_AT);
    }
}
