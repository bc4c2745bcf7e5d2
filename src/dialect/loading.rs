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
/// What stands before such words where the load has failed.
const FAILED: [&str; 6] = ["error ", "failed ", "failure ", "fail ", "exception ", "problem "];

/// The front of a body.
#[derive(Debug, Default)]
pub struct Refusal(Vec<u8>);

impl Refusal {
    /// The next bytes of the body. Gives whether what came so far says that the model is being loaded.
    pub fn says_loading(&mut self, bytes: &[u8]) -> bool {
        let free = LOOKED_AT.saturating_sub(self.0.len());
        if free == 0 {
            return false;
        }
        self.0.extend(bytes.iter().take(free).map(u8::to_ascii_lowercase));
        WORDS.iter().any(|words| {
            let mut found = memchr::memmem::find_iter(&self.0, words);
            found.any(|at| {
                let before = self.0.get(..at).unwrap_or_default();
                !FAILED.iter().any(|failed| before.ends_with(failed.as_bytes()))
            })
        })
    }
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
            (r#"{"error":"Error loading model: out of memory"}"#, false),
            ("upstream connect error or disconnect/reset before headers", false),
            ("", false),
        ];
        for (body, expected) in cases {
            for size in 1..=body.len().max(1) {
                let mut refusal = Refusal::default();
                let pieces = body.as_bytes().chunks(size);
                let found = pieces.fold(false, |_, piece| refusal.says_loading(piece));
                assert_eq!(found, expected, "{body} by {size}");
            }
        }
    }

    #[test]
    fn only_the_front_is_looked_at() {
        let mut refusal = Refusal::default();
        assert!(!refusal.says_loading(&vec![b'x'; 5000]));
        assert!(!refusal.says_loading(b"Loading model"));
        assert_eq!(refusal.0.len(), LOOKED_AT);
    }
}
