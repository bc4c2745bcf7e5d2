//! Responses that are one JSON document without text: embeddings, rerank, score, classify, tokenize, moderations,
//! images, Anthropic's token count, Cohere's embeddings.
//!
//! Source: vLLM's `entrypoints/pooling` and `serve/tokenize`, and the references of OpenAI, Anthropic and Cohere.

use serde_json::Value;

use super::ollama::VECTOR;
use super::{OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::RequestFields;
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;

/// Kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    Embeddings,
    Rerank,
    Score,
    Classify,
    Tokenize,
    Moderations,
    Images,
    /// Anthropic's `/v1/messages/count_tokens`.
    CountTokens,
    /// Cohere's `/v2/embed`.
    CohereEmbeddings,
}

impl DocumentKind {
    pub(super) fn fields(self) -> RequestFields {
        let prompt: &[&str] = match self {
            Self::Embeddings | Self::Classify | Self::Moderations => &["/input"],
            Self::Rerank => &["/query", "/documents"],
            Self::Score => &["/text_1", "/text_2", "/queries", "/documents"],
            Self::Tokenize => &["/prompt", "/messages"],
            Self::Images => &["/prompt"],
            Self::CountTokens => &["/system", "/messages"],
            Self::CohereEmbeddings => &["/texts"],
        };
        // An image consists of tokens too, which are not visible.
        let generates = self == Self::Images;
        RequestFields { prompt, generates, choices: None, shows: false, ..RequestFields::DOCUMENT }
    }

    /// Returns the inputs; the document has one item for each.
    fn items(self) -> &'static str {
        match self {
            Self::Rerank => "/documents",
            Self::Score => "/text_2",
            Self::Images => "/n",
            Self::CohereEmbeddings => "/texts",
            _ => "/input",
        }
    }

    /// Returns the templates of the document and of one item.
    fn templates(self) -> (&'static str, &'static str) {
        match self {
            Self::Embeddings => (
                r#"{"id":"embd-$id","object":"list","created":$created,"model":"$model","data":[$items],"usage":{"prompt_tokens":$input,"total_tokens":$input,"completion_tokens":0,"prompt_tokens_details":null}}"#,
                r#"{"index":$index,"object":"embedding","embedding":$vector}"#,
            ),
            Self::Rerank => (
                r#"{"id":"rerank-$id","model":"$model","usage":{"prompt_tokens":$input,"total_tokens":$input},"results":[$items]}"#,
                r#"{"index":$index,"document":{"text":"","multi_modal":null},"relevance_score":0.5}"#,
            ),
            Self::Score => (
                r#"{"id":"score-$id","object":"list","created":$created,"model":"$model","data":[$items],"usage":{"prompt_tokens":$input,"total_tokens":$input,"completion_tokens":0,"prompt_tokens_details":null}}"#,
                r#"{"index":$index,"object":"score","score":0.5}"#,
            ),
            Self::Classify => (
                r#"{"id":"classify-$id","object":"list","created":$created,"model":"$model","data":[$items],"usage":{"prompt_tokens":$input,"total_tokens":$input,"completion_tokens":0,"prompt_tokens_details":null}}"#,
                r#"{"index":$index,"label":"LABEL_0","probs":[0.75,0.25],"num_classes":2}"#,
            ),
            Self::Tokenize => {
                (r#"{"count":$count,"max_model_len":32768,"tokens":[$ids],"token_strs":null}"#, "")
            }
            Self::Moderations => (
                r#"{"id":"modr-$id","model":"$model","results":[$items]}"#,
                r#"{"flagged":false,"categories":{"hate":false,"violence":false},"category_scores":{"hate":0.0001,"violence":0.0002}}"#,
            ),
            Self::Images => (
                r#"{"created":$created,"data":[$items],"usage":{"total_tokens":$total,"input_tokens":$input,"output_tokens":$output,"input_tokens_details":{"text_tokens":$input,"image_tokens":0}}}"#,
                r#"{"b64_json":"iVBORw0KGgo="}"#,
            ),
            Self::CountTokens => (r#"{"input_tokens":$input}"#, ""),
            Self::CohereEmbeddings => (
                r#"{"id":"$id","embeddings":{"float":[$items]},"texts":[],"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":$input}},"response_type":"embeddings_by_type"}"#,
                "$vector",
            ),
        }
    }
}

#[derive(Debug)]
pub(super) struct DocumentWriter {
    document: DocumentKind,
    id: String,
    model: String,
    created: String,
    items: usize,
}

impl DocumentWriter {
    pub(super) fn new(document: DocumentKind, case: &ResponseContext<'_>) -> Self {
        let items = case.request.get(document.items());
        Self {
            document,
            id: json_inner(case.id),
            model: json_inner(case.model),
            created: case.created.to_string(),
            items: match items {
                // A list of token ids is one input.
                Some(Value::Array(items)) if !items.first().is_some_and(Value::is_number) => {
                    items.len()
                }
                Some(Value::Number(count)) => {
                    count.as_u64().map_or(1, |count| count.clamp(1, 10) as usize)
                }
                _ => 1,
            },
        }
    }
}

impl ResponseWriter for DocumentWriter {
    /// It is never streamed.
    fn output(&mut self, _: &OutputChunk<'_>, _: &ResponseNumbers, _: &mut FrameQueue) {}

    fn finish(&mut self, _: &ResponseNumbers, _: &mut FrameQueue) {}

    fn fail(&mut self, _: &mut FrameQueue) {}

    fn whole(&mut self, _: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let (document, item) = self.document.templates();
        let item = |index: usize| {
            account.fill(item, &[("index", &index.to_string()), ("vector", VECTOR)]).0
        };
        let items: Vec<String> = (0..self.items).map(item).collect();
        let (items, ids) = (items.join(","), token_ids(0, account.input));
        let count = account.input.to_string();
        let texts = [
            ("id", self.id.as_str()),
            ("model", &self.model),
            ("created", &self.created),
            ("items", &items),
            ("ids", &ids),
            ("count", &count),
        ];
        account.fill(document, &texts).into()
    }
}
