//! Amazon Bedrock's agents: `/agents/ID/agentAliases/ID/sessions/ID/text`. Always streamed.
//!
//! A `chunk` has a piece of the text in base64. With `enableTrace` a `trace` comes first, which says what the agent
//! does. No counts, and the body's end is the end. Shapes: AWS's reference of InvokeAgent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::bedrock::CONTENT_TYPE;
use super::event_stream::{event, exception};
use super::{Case, FAILURE, Output, Whole, Writer};
use crate::account::Account;
use crate::answer::Texts;
use crate::frames::Frames;
use crate::request::Fields;

pub(super) const FIELDS: Fields = Fields { prompt: &["/inputText"], limit: &[], ..Fields::PLAIN };

const TRACE: &str = r#"{"agentId":"AGENT","agentAliasId":"ALIAS","sessionId":"s","trace":{"orchestrationTrace":{"rationale":{"text":"The user asks.","traceId":"t-0"}}}}"#;

#[derive(Debug)]
pub(super) struct Agent {
    traces: bool,
}

impl Agent {
    pub(super) fn new(case: &Case<'_>) -> Self {
        Self { traces: case.ask.flag("/enableTrace") == Some(true) }
    }
}

impl Writer for Agent {
    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn started(&mut self, _: &Account, out: &mut Frames) {
        if self.traces {
            out.plain(event("trace", TRACE));
        }
    }

    fn output(&mut self, output: &Output<'_>, _: &Account, out: &mut Frames) {
        let text: String =
            serde_json::from_str(&format!("\"{}\"", output.json)).unwrap_or_default();
        let bytes = STANDARD.encode(text);
        out.output(event("chunk", &format!(r#"{{"bytes":"{bytes}"}}"#)));
    }

    fn finish(&mut self, _: &Account, _: &mut Frames) {}

    fn fail(&mut self, out: &mut Frames) {
        let message = json!({"message": FAILURE}).to_string();
        out.plain(exception("internalServerException", &message));
    }

    fn whole(&mut self, _: &[Texts], _: &Account) -> Whole {
        Whole::default()
    }
}
