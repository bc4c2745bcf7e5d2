//! Amazon Bedrock's agents: `/agents/ID/agentAliases/ID/sessions/ID/text`. Always streamed.
//!
//! A `chunk` contains a part of the text in base64. With `enableTrace`, a `trace` event comes first. There are no token
//! counts, and the end of the body ends the response. Source: AWS's reference of InvokeAgent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::bedrock::CONTENT_TYPE;
use super::event_stream::{event, exception};
use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::ChoiceTexts;
use crate::frame_queue::FrameQueue;
use crate::request::RequestFields;
use crate::template::ResponseNumbers;

pub(super) const FIELDS: RequestFields =
    RequestFields { prompt: &["/inputText"], limit: &[], ..RequestFields::PLAIN };

const TRACE: &str = r#"{"agentId":"AGENT","agentAliasId":"ALIAS","sessionId":"s","trace":{"orchestrationTrace":{"rationale":{"text":"The user asks.","traceId":"t-0"}}}}"#;

#[derive(Debug)]
pub(super) struct BedrockAgent {
    traces: bool,
}

impl BedrockAgent {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self { traces: case.request.flag("/enableTrace") == Some(true) }
    }
}

impl ResponseWriter for BedrockAgent {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn started(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        if self.traces {
            out.plain(event("trace", TRACE));
        }
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        let text: String =
            serde_json::from_str(&format!("\"{}\"", output.json)).unwrap_or_default();
        let bytes = STANDARD.encode(text);
        out.output(event("chunk", &format!(r#"{{"bytes":"{bytes}"}}"#)));
    }

    fn finish(&mut self, _: &ResponseNumbers, _: &mut FrameQueue) {}

    fn fail(&mut self, out: &mut FrameQueue) {
        let message = json!({"message": FAILURE}).to_string();
        out.plain(exception("internalServerException", &message));
    }

    fn whole(&mut self, _: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        WholeResponse::default()
    }
}
