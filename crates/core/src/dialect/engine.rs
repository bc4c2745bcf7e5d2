//! Detects the inference engine or vendor from its responses.

use strum::VariantArray;

/// An inference engine or vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
pub enum Engine {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Hugging Face Text Generation Inference.
    Tgi,
    /// llama.cpp.
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// NVIDIA Triton Inference Server.
    Triton,
    /// NVIDIA TensorRT-LLM.
    TrtLlm,
    /// mistral.rs.
    MistralRs,
    /// OpenAI.
    OpenAi,
    /// Azure OpenAI.
    AzureOpenAi,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Groq.
    Groq,
    /// Cerebras.
    Cerebras,
    /// Mistral AI.
    Mistral,
    /// DeepSeek.
    DeepSeek,
    /// Cohere.
    Cohere,
    /// Amazon Bedrock.
    Bedrock,
    /// Hugging Face Text Embeddings Inference.
    Tei,
    /// LM Studio.
    LmStudio,
    /// KoboldCpp.
    KoboldCpp,
    /// Alibaba Cloud Model Studio (DashScope).
    DashScope,
    /// Cloudflare Workers AI.
    Cloudflare,
    /// IBM watsonx.ai.
    Watsonx,
    /// SAP AI Core.
    SapAiCore,
    /// MiniMax.
    MiniMax,
    /// Writer.
    Writer,
}

impl Engine {
    /// Value of the label: that of OpenTelemetry's `gen_ai.provider.name` where it defines one, else the engine's name.
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
            Self::Tei => "tei",
            Self::LmStudio => "lmstudio",
            Self::KoboldCpp => "koboldcpp",
            Self::DashScope => "dashscope",
            Self::Cloudflare => "cloudflare",
            Self::Watsonx => "ibm.watsonx.ai",
            Self::SapAiCore => "sap.ai_core",
            Self::MiniMax => "minimax",
            Self::Writer => "writer",
        }
    }

    /// Detects the engine from `system_fingerprint`, such as `vllm-0.24.0-tp4-6d31f84d`, `b10499-6d05498` or
    /// `fp_ollama`.
    pub fn from_fingerprint(text: &[u8]) -> Option<Self> {
        if text == b"fp_ollama" {
            return Some(Self::Ollama);
        }
        if text.starts_with(b"vllm-") {
            return Some(Self::Vllm);
        }
        llama_cpp_build(text).map(|_| Self::LlamaCpp)
    }

    /// Detects the engine from a response header. `name` is in lower case.
    pub fn from_header(name: &str, value: &[u8]) -> Option<Self> {
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

/// First build of llama.cpp that certainly sends the headers of a stream when a slot takes the request.
///
/// The change (ggml-org/llama.cpp#23884) was made on b9417 and merged soon after. There are about ten builds a day, so
/// this build is more than two weeks later. b10499 was observed to do it.
const FIRST_HEADERS_AT_SLOT: u64 = 9600;

/// Whether a server with this `system_fingerprint` sends the headers of a stream when a slot takes the request; `None`
/// if the fingerprint does not show it.
pub fn headers_at_slot(fingerprint: &[u8]) -> Option<bool> {
    llama_cpp_build(fingerprint).map(|build| build >= FIRST_HEADERS_AT_SLOT)
}

/// Build number in `b10499-6d05498`; `None` for `b0-unknown`, a build without Git.
fn llama_cpp_build(fingerprint: &[u8]) -> Option<u64> {
    let mut parts = fingerprint.strip_prefix(b"b")?.split(|byte| *byte == b'-');
    let build = parts.next().filter(|build| build.iter().all(u8::is_ascii_digit))?;
    parts.next()?;
    std::str::from_utf8(build).ok()?.parse().ok().filter(|build| *build > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_show_the_engine() {
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
            assert_eq!(Engine::from_fingerprint(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn llama_cpp_sends_headers_at_the_slot_since_build_9600() {
        let cases: [(&[u8], Option<bool>); 7] = [
            (b"b10499-6d05498", Some(true)),
            (b"b9600-6d05498", Some(true)),
            (b"b9417-b5f52280f", Some(false)),
            (b"b99999999999999999999-x", None),
            (b"b0-unknown", None),
            (b"fp_ollama", None),
            (b"vllm-0.24.0-tp4-6d31f84d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(headers_at_slot(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn labels_are_unique() {
        let labels: std::collections::HashSet<_> =
            Engine::VARIANTS.iter().map(|e| e.label()).collect();
        assert_eq!(labels.len(), Engine::VARIANTS.len());
    }
}
