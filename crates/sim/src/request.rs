//! Parses a request: the fields of its API, and the script in `sim`.

mod multipart;
mod script;

use serde_json::Value;

pub(super) use script::{SimScript, UsagePlace};

use super::model::Job;

/// Where an API has the fields that the engine needs: JSON pointers, of which the first existing one counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestFields {
    /// The prompt; all pointers count together.
    pub(super) prompt: &'static [&'static str],
    /// Maximum number of tokens to generate.
    pub(super) limit: &'static [&'static str],
    /// Number of choices; `None` if the API has no choices.
    pub(super) choices: Option<&'static str>,
    /// Name of the first tool.
    pub(super) tool: &'static [&'static str],
    /// Whether a response can contain reasoning.
    pub(super) reasons: bool,
    /// Whether the response is streamed without a `stream` field.
    pub(super) streams: bool,
    /// Whether tokens are generated at all.
    pub(super) generates: bool,
    /// Whether the response contains their text.
    pub(super) shows: bool,
}

impl RequestFields {
    /// A plain API that generates text from `prompt`.
    pub(super) const PLAIN: Self = Self {
        prompt: &["/prompt"],
        limit: &["/max_tokens"],
        choices: None,
        tool: &[],
        reasons: false,
        streams: false,
        generates: true,
        shows: true,
    };

    /// An API whose response is a JSON document without tokens.
    pub(super) const DOCUMENT: Self =
        Self { generates: false, prompt: &["/input"], shows: false, ..Self::PLAIN };
}

/// A parsed request. Unknown fields are ignored, as real servers do.
#[derive(Debug, Default)]
pub(super) struct SimRequest {
    body: Value,
    pub(super) script: SimScript,
}

/// Why a response ends, by the script. Each API has its own word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScriptedFinish {
    Stop,
    Length,
    Tool,
}

/// The response to generate for a request.
#[derive(Debug)]
pub(super) struct ResponsePlan {
    pub(super) job: Job,
    pub(super) stream: bool,
    /// Name of the function, if the response is a tool call.
    pub(super) tool: Option<String>,
    pub(super) finish: ScriptedFinish,
    pub(super) script: SimScript,
}

impl SimRequest {
    /// Parses a body: JSON, or a form by its content type.
    ///
    /// # Errors
    /// If it is neither, or the script has an unknown key.
    pub(super) fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Self, String> {
        let body = match content_type.and_then(multipart::boundary) {
            Some(boundary) => multipart::read(bytes, boundary),
            None => serde_json::from_slice(bytes).map_err(|error| error.to_string())?,
        };
        // Ollama's clients accept unknown fields only in `options`.
        let script = match body.get("sim").or_else(|| body.pointer("/options/sim")) {
            // In a form the script is a string.
            Some(Value::String(text)) => serde_json::from_str(text),
            Some(script) => serde_json::from_value(script.clone()),
            None => Ok(SimScript::default()),
        };
        Ok(Self { script: script.map_err(|error| format!("sim: {error}"))?, body })
    }

    /// The requested model.
    pub(super) fn model(&self) -> Option<&str> {
        self.text("/model")
    }

    pub(super) fn get(&self, pointer: &str) -> Option<&Value> {
        self.body.pointer(pointer).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&str> {
        self.get(pointer)?.as_str()
    }

    /// Whether a field is true, also as a string in a form.
    pub(super) fn flag(&self, pointer: &str) -> Option<bool> {
        match self.get(pointer)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => Some(text.eq_ignore_ascii_case("true")),
            _ => None,
        }
    }

    fn count(&self, pointer: &str) -> Option<u32> {
        self.get(pointer)?.as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) fn is_stream(&self, fields: &RequestFields) -> bool {
        fields.generates && self.flag("/stream").unwrap_or(fields.streams)
    }

    /// Decides what to generate.
    ///
    /// # Errors
    /// If the prompt is invalid.
    pub(super) fn plan(&self, fields: &RequestFields) -> Result<ResponsePlan, String> {
        const DEFAULT_MAX_TOKENS: u32 = 64;
        const MAX_CHOICES: u32 = 128;
        let mut characters = 0;
        for pointer in fields.prompt {
            match self.get(pointer) {
                Some(Value::Number(_) | Value::Bool(_)) => {
                    return Err(format!("{pointer}: no prompt"));
                }
                prompt => characters += prompt.map_or(0, count_characters),
            }
        }
        let prompt_tokens = u32::try_from(characters / 4).unwrap_or(u32::MAX).max(1);
        let script = self.script.clone();
        let limit = fields.limit.iter().find_map(|pointer| self.count(pointer));
        let tools = fields.tool.iter().find_map(|pointer| self.get(pointer));
        let tool = tools.map(|name| name.as_str().unwrap_or("lookup").to_owned());
        let finish = if tool.is_some() {
            ScriptedFinish::Tool
        } else if script.output_tokens.is_none() && limit.is_some() {
            ScriptedFinish::Length
        } else {
            ScriptedFinish::Stop
        };
        let output_tokens = script.output_tokens.or(limit).unwrap_or(DEFAULT_MAX_TOKENS);
        let choices = fields.choices.and_then(|pointer| self.count(pointer)).unwrap_or(1);
        Ok(ResponsePlan {
            job: Job {
                prompt_tokens: script.prompt_tokens.unwrap_or(prompt_tokens),
                reasoning_tokens: if fields.reasons { script.reasoning_tokens } else { 0 },
                output_tokens: if fields.generates { output_tokens } else { 0 },
                choices: choices.clamp(1, MAX_CHOICES),
            },
            stream: self.is_stream(fields),
            tool,
            finish,
            script,
        })
    }
}

/// Number of characters in the strings of a prompt or a message, at any depth. A token id counts as one token.
fn count_characters(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.iter().map(count_characters).sum(),
        Value::Object(part) => ["content", "text", "parts"]
            .iter()
            .filter_map(|key| part.get(*key))
            .map(count_characters)
            .sum(),
        Value::Number(_) => 4,
        Value::Null | Value::Bool(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SimApi;

    fn plan(api: SimApi, body: &str) -> ResponsePlan {
        SimRequest::read(body.as_bytes(), None).unwrap().plan(&api.fields()).unwrap()
    }

    #[test]
    fn prompts_are_counted() {
        let table = [
            (SimApi::Chat, r#"{"messages":[{"content":"12345678"},{"content":null}]}"#, 2),
            (
                SimApi::Chat,
                r#"{"messages":[{"content":[{"type":"text","text":"123456789012"}]}]}"#,
                3,
            ),
            (SimApi::Chat, r#"{"prompt":"not looked at in chat"}"#, 1),
            (SimApi::Completions, r#"{"prompt":[1,2,3,4,5]}"#, 5),
            (SimApi::Completions, r#"{"prompt":["1234","5678"]}"#, 2),
            (SimApi::Completions, r#"{"prompt":"x","sim":{"prompt_tokens":900}}"#, 900),
        ];
        for (api, body, expected) in table {
            assert_eq!(plan(api, body).job.prompt_tokens, expected, "{body}");
        }
    }

    #[test]
    fn lengths_and_reasons() {
        let table = [
            (r#"{}"#, 64, ScriptedFinish::Stop),
            (r#"{"max_tokens":9}"#, 9, ScriptedFinish::Length),
            (r#"{"max_tokens":9,"sim":{"output_tokens":3}}"#, 3, ScriptedFinish::Stop),
            (r#"{"max_completion_tokens":5,"max_tokens":9}"#, 5, ScriptedFinish::Length),
            (r#"{"tools":[{"function":{"name":"f"}}]}"#, 64, ScriptedFinish::Tool),
            (r#"{"options":{"sim":{"output_tokens":3}}}"#, 3, ScriptedFinish::Stop),
        ];
        for (body, tokens, reason) in table {
            let plan = plan(SimApi::Chat, body);
            assert_eq!((plan.job.output_tokens, plan.finish), (tokens, reason), "{body}");
        }
    }

    #[test]
    fn a_misspelt_script_is_an_error() {
        assert!(SimRequest::read(br#"{"sim":{"eror_after":1}}"#, None).is_err());
        assert!(SimRequest::read(br#"{"temperature":1}"#, None).is_ok());
    }
}
