//! What is wanted of an inference request: a peek at its body as it passes.

use super::draft::count;
use crate::wire::json::{Node, Scanner, Token};

/// Longest model name that is kept, in bytes; it is cut again where it becomes a label.
const MAX_MODEL: usize = 256;

/// What a request's body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for.
    pub model: Option<String>,
    /// Whether a stream was asked for; `None` if the body does not say.
    pub stream: Option<bool>,
    /// The most tokens that may be generated.
    pub max_tokens: Option<u64>,
    /// How many choices were asked for.
    pub choices: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Tag {
    Root,
    Model,
    Stream,
    MaxTokens,
    Choices,
}

static ROOT: Node<Tag> = Node::object(
    Tag::Root,
    &[
        ("model", &Node::text(Tag::Model)),
        ("stream", &Node::scalar(Tag::Stream)),
        ("max_tokens", &Node::scalar(Tag::MaxTokens)),
        ("max_completion_tokens", &Node::scalar(Tag::MaxTokens)),
        ("n", &Node::scalar(Tag::Choices)),
    ],
);

/// Reads a request body in any split.
#[derive(Debug)]
pub struct RequestPeek {
    scanner: Scanner<Tag>,
    facts: RequestFacts,
}

impl Default for RequestPeek {
    fn default() -> Self {
        Self { scanner: Scanner::new(&ROOT), facts: RequestFacts::default() }
    }
}

impl RequestPeek {
    /// Reads the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { scanner, facts } = self;
        scanner.push(bytes, &mut |tag, token| note(facts, tag, token));
    }

    /// What the body has said so far. A body that is broken or cut short has said what came before.
    pub fn facts(&self) -> &RequestFacts {
        &self.facts
    }
}

fn note(facts: &mut RequestFacts, tag: Tag, token: Token<'_>) {
    match (tag, token) {
        (Tag::Model, Token::Text { text, .. }) if !text.is_empty() => {
            let text = text.get(..MAX_MODEL).unwrap_or(text);
            facts.model = Some(String::from_utf8_lossy(text).into_owned());
        }
        (Tag::Stream, Token::Bool(stream)) => facts.stream = Some(stream),
        (Tag::MaxTokens, Token::Number(n)) => facts.max_tokens = count(n),
        (Tag::Choices, Token::Number(n)) => facts.choices = count(n),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peek(body: &str) -> RequestFacts {
        let mut peek = RequestPeek::default();
        body.as_bytes().chunks(3).for_each(|part| peek.push(part));
        peek.facts().clone()
    }

    #[test]
    fn reads_what_is_wanted() {
        let facts = peek(
            r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","model":"no"}],
                "model":"m\u0031","stream":true,"max_completion_tokens":64,"n":2}"#,
        );
        let expected = RequestFacts {
            model: Some("m1".into()),
            stream: Some(true),
            max_tokens: Some(64),
            choices: Some(2),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn odd_bodies_say_nothing() {
        for body in ["", "not json", "[]", r#"{"model":7,"stream":"yes","n":1.5,"max_tokens":-1}"#]
        {
            assert_eq!(peek(body), RequestFacts::default(), "{body}");
        }
        assert_eq!(
            peek(&format!(r#"{{"model":"{}"}}"#, "x".repeat(5000))).model.map(|m| m.len()),
            Some(256)
        );
    }
}
