//! Which request is which operation.

/// What a request asks for. The names are OpenTelemetry's for `gen_ai.operation.name`, with `other`
/// for all that is not inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Chat,
    TextCompletion,
    Other,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 3] = [Self::Chat, Self::TextCompletion, Self::Other];

    /// The operation of a request, by its method and the end of its path, so that prefixes
    /// (`/openai/v1`, `/api/v1`, `/openai/deployments/NAME`) do not matter.
    pub fn of(method: &str, path: &str) -> Self {
        if method != "POST" {
            return Self::Other;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.ends_with("/chat/completions") {
            Self::Chat
        } else if path.ends_with("/completions") {
            Self::TextCompletion
        } else {
            Self::Other
        }
    }

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::TextCompletion => "text_completion",
            Self::Other => "other",
        }
    }

    /// The known route that stands for the request's path; raw paths are never shown.
    pub fn route(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::TextCompletion => "/v1/completions",
            Self::Other => "other",
        }
    }

    /// The name of the dialect that its responses speak; `None` if they are not measured.
    pub fn dialect(self) -> Option<&'static str> {
        match self {
            Self::Chat => Some("openai-chat"),
            Self::TextCompletion => Some("openai-completions"),
            Self::Other => None,
        }
    }

    /// Whether the operation is inference, and so feeds more than requests and bytes.
    pub fn is_inference(self) -> bool {
        self != Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            ("POST", "/v1/chat/completions", Operation::Chat),
            ("POST", "/chat/completions", Operation::Chat),
            ("POST", "/openai/deployments/gpt/chat/completions/", Operation::Chat),
            ("POST", "/v1/completions", Operation::TextCompletion),
            ("GET", "/v1/chat/completions", Operation::Other),
            ("POST", "/v1/embeddings", Operation::Other),
            ("POST", "/completions.html", Operation::Other),
            ("GET", "/v1/models", Operation::Other),
        ];
        for (method, path, expected) in cases {
            assert_eq!(Operation::of(method, path), expected, "{method} {path}");
        }
    }
}
