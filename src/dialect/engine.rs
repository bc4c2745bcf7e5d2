//! Which engine or vendor answers, by what it cannot help writing.

/// An engine or vendor. The labels are the values of `gen_ai.provider.name` where OpenTelemetry has
/// one, else the engine's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    Vllm,
    Sglang,
    Tgi,
    LlamaCpp,
    Ollama,
    Triton,
    TrtLlm,
    MistralRs,
    OpenAi,
    AzureOpenAi,
    Anthropic,
    Gemini,
    Groq,
    Cerebras,
    Mistral,
    DeepSeek,
    Cohere,
    Bedrock,
}

impl Engine {
    /// Every engine, each at its own index.
    pub const ALL: [Self; 18] = [
        Self::Vllm,
        Self::Sglang,
        Self::Tgi,
        Self::LlamaCpp,
        Self::Ollama,
        Self::Triton,
        Self::TrtLlm,
        Self::MistralRs,
        Self::OpenAi,
        Self::AzureOpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Groq,
        Self::Cerebras,
        Self::Mistral,
        Self::DeepSeek,
        Self::Cohere,
        Self::Bedrock,
    ];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::Triton => "triton",
            Self::TrtLlm => "trtllm",
            Self::MistralRs => "mistral.rs",
            Self::OpenAi => "openai",
            Self::AzureOpenAi => "azure.ai.openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gcp.gemini",
            Self::Groq => "groq",
            Self::Cerebras => "cerebras",
            Self::Mistral => "mistral_ai",
            Self::DeepSeek => "deepseek",
            Self::Cohere => "cohere",
            Self::Bedrock => "aws.bedrock",
        }
    }

    /// Who writes a `system_fingerprint` like this: `vllm-0.24.0-tp4-6d31f84d`, `b10499-6d05498`,
    /// `fp_ollama`.
    pub fn of_fingerprint(text: &[u8]) -> Option<Self> {
        if text == b"fp_ollama" {
            return Some(Self::Ollama);
        }
        if text.starts_with(b"vllm-") {
            return Some(Self::Vllm);
        }
        let (build, _) = text
            .strip_prefix(b"b")?
            .split_at_checked(text.iter().skip(1).position(|byte| *byte == b'-')?)?;
        let is_build = !build.is_empty() && build.iter().all(u8::is_ascii_digit);
        is_build.then_some(Self::LlamaCpp)
    }

    /// Who sends a response with this header. Names are in lower case.
    pub fn of_header(name: &str, value: &[u8]) -> Option<Self> {
        match name {
            "x-compute-type" => Some(Self::Tgi),
            "server" if value == b"llama.cpp" => Some(Self::LlamaCpp),
            "x-groq-region" => Some(Self::Groq),
            "openai-version" => Some(Self::OpenAi),
            _ if name.starts_with("anthropic-ratelimit-") => Some(Self::Anthropic),
            _ if name.starts_with("x-amzn-bedrock-") => Some(Self::Bedrock),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let cases: [(&[u8], Option<Engine>); 8] = [
            (b"vllm-0.24.0-tp4-6d31f84d", Some(Engine::Vllm)),
            (b"b10499-6d05498", Some(Engine::LlamaCpp)),
            (b"fp_ollama", Some(Engine::Ollama)),
            (b"fp_de604bd877", None),
            (b"b-6d05498", None),
            (b"b12", None),
            (b"", None),
            (b"backend-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Engine::of_fingerprint(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn labels_are_unlike_each_other() {
        let labels: std::collections::HashSet<_> = Engine::ALL.iter().map(|e| e.label()).collect();
        assert_eq!(labels.len(), Engine::ALL.len());
    }
}
