//! The content of a response: which tokens are reasoning, text, or part of a tool call.

use std::borrow::Cow;

use super::request::ResponsePlan;
use super::token_text::{self, json_inner, piece};

/// Part of the response to which a token belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputPart {
    Reasoning,
    Text,
    /// Start of a tool call; the token is the function's name.
    ToolName,
    ToolArguments,
}

impl OutputPart {
    /// Whether it belongs to a tool call.
    pub(super) fn is_tool(self) -> bool {
        matches!(self, Self::ToolName | Self::ToolArguments)
    }
}

/// One token of a response.
pub(super) struct ContentToken {
    pub(super) part: OutputPart,
    /// Text as inside of a JSON string, with escapes.
    pub(super) json: Cow<'static, str>,
    pub(super) chars: u32,
}

/// The content of a response; gives access to any token.
#[derive(Debug)]
pub(super) struct ResponseContent {
    seed: u64,
    reasoning: u32,
    output: u32,
    tool: Option<String>,
}

impl ResponseContent {
    pub(super) fn new(seed: u64, plan: &ResponsePlan) -> Self {
        Self {
            seed,
            reasoning: plan.job.reasoning_tokens,
            output: plan.job.output_tokens,
            tool: plan.tool.clone(),
        }
    }

    /// Returns token `index` of choice `choice`.
    pub(super) fn token(&self, choice: u32, index: u32) -> ContentToken {
        let part = match (&self.tool, index.checked_sub(self.reasoning)) {
            (_, None) => OutputPart::Reasoning,
            (None, Some(_)) => OutputPart::Text,
            (Some(name), Some(0)) => {
                return ContentToken {
                    part: OutputPart::ToolName,
                    json: Cow::Owned(json_inner(name)),
                    chars: token_text::chars(name),
                };
            }
            (Some(_), Some(at)) => return self.argument(choice, at),
        };
        let piece = piece(self.seed, choice, index);
        ContentToken { part, json: Cow::Borrowed(&piece.json), chars: piece.chars }
    }

    /// Returns fragment `at` (from 1) of the arguments, which together form one JSON object.
    fn argument(&self, choice: u32, at: u32) -> ContentToken {
        let last = self.output.saturating_sub(1);
        let word = &piece(self.seed, choice, at).json;
        let fragment = match (at == 1, at == last) {
            (true, true) => r#"{"query":"all"}"#.to_owned(),
            (true, false) => r#"{"query":""#.to_owned(),
            (false, true) => r#""}"#.to_owned(),
            (false, false) => word.clone(),
        };
        ContentToken {
            part: OutputPart::ToolArguments,
            chars: token_text::chars(&fragment),
            json: Cow::Owned(json_inner(&fragment)),
        }
    }
}

/// The texts of one choice so far, as inside of a JSON string.
#[derive(Clone, Debug, Default)]
pub(super) struct ChoiceTexts {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) tool_name: String,
    pub(super) tool_arguments: String,
}

impl ChoiceTexts {
    pub(super) fn push(&mut self, part: OutputPart, json: &str) {
        let place = match part {
            OutputPart::Text => &mut self.text,
            OutputPart::Reasoning => &mut self.reasoning,
            OutputPart::ToolName => &mut self.tool_name,
            OutputPart::ToolArguments => &mut self.tool_arguments,
        };
        place.push_str(json);
    }

    /// Returns the arguments as a JSON object, which is empty until they are complete.
    pub(super) fn arguments_object(&self) -> String {
        let text: String =
            serde_json::from_str(&format!("\"{}\"", self.tool_arguments)).unwrap_or_default();
        let whole = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if whole { text } else { "{}".to_owned() }
    }
}

/// Token ids from `first` on, as inside of a JSON array.
pub(super) fn token_ids(first: u32, count: u32) -> String {
    let ids: Vec<String> =
        (first..first + count).map(|index| token_id(index).to_string()).collect();
    ids.join(",")
}

/// Id of the token at this index.
pub(super) fn token_id(index: u32) -> u32 {
    1000 + index.wrapping_mul(7919) % 30_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SimApi;
    use crate::request::SimRequest;

    fn content(output: u32, tool: bool) -> ResponseContent {
        let tools = if tool { r#""tools":[{"function":{"name":"get_weather"}}],"# } else { "" };
        let body = format!(r#"{{{tools}"sim":{{"reasoning_tokens":2,"output_tokens":{output}}}}}"#);
        let plan =
            SimRequest::read(body.as_bytes(), None).unwrap().plan(&SimApi::Chat.fields()).unwrap();
        ResponseContent::new(5, &plan)
    }

    fn read(text_of: &ContentToken) -> String {
        let text: String = serde_json::from_str(&format!("\"{}\"", text_of.json)).unwrap();
        assert_eq!(text.chars().count(), text_of.chars as usize);
        text
    }

    #[test]
    fn reasoning_comes_before_the_text() {
        let answer = content(2, false);
        let parts: Vec<_> = (0..4).map(|i| answer.token(0, i).part).collect();
        assert_eq!(
            parts,
            [OutputPart::Reasoning, OutputPart::Reasoning, OutputPart::Text, OutputPart::Text]
        );
    }

    #[test]
    fn tool_arguments_are_json_whatever_their_number() {
        for output in 2..60 {
            let answer = content(output, true);
            assert_eq!(read(&answer.token(0, 2)), "get_weather");
            let arguments: String = (3..2 + output)
                .map(|i| answer.token(0, i))
                .inspect(|text_of| assert_eq!(text_of.part, OutputPart::ToolArguments))
                .map(|text_of| read(&text_of))
                .collect();
            let parsed: serde_json::Value = serde_json::from_str(&arguments).unwrap();
            assert!(parsed["query"].is_string(), "{output}: {arguments}");
        }
    }
}
