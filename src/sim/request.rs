//! What a request asks for: the fields of OpenAI's API that are honoured, and the script in `sim`.

use serde::Deserialize;
use serde_json::Value;

use super::model::Job;

/// The API a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completions,
}

/// The body of a request, as sent. Fields that are not listed are ignored, as the real servers do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    pub(super) model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u32>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    tools: Option<Vec<Value>>,
    sim: Option<Script>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// The `sim` object: what the answer is to do. A misspelt key is an error, lest a test pass by accident.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    /// Instead of the prompt's length / 4.
    pub(super) prompt_tokens: Option<u32>,
    /// Tokens of answer per choice, instead of `max_tokens`.
    pub(super) output_tokens: Option<u32>,
    /// Tokens of reasoning before it, per choice; chat only.
    pub(super) reasoning_tokens: u32,
    /// After so many tokens (of all choices): an error event, then `[DONE]`.
    pub(super) error_after: Option<u32>,
    /// After so many tokens (of all choices): break the connection off.
    pub(super) break_after: Option<u32>,
    /// Leave out `[DONE]`.
    pub(super) no_done: bool,
    /// Where the usage goes, whatever `stream_options` say.
    pub(super) usage: Option<UsagePlace>,
    /// Send the role chunk at once, before there is a token, as transformers serve does.
    pub(super) role_first: bool,
    /// Tokens in one event, at most; 1 if absent.
    pub(super) tokens_per_event: Option<u32>,
}

/// Where a stream tells its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UsagePlace {
    /// In a chunk of its own, without choices, at the end.
    Trailing,
    /// In the last chunk with a finish reason.
    Finish,
    Both,
    None,
}

impl UsagePlace {
    pub(super) fn in_finish(self) -> bool {
        matches!(self, Self::Finish | Self::Both)
    }

    pub(super) fn trails(self) -> bool {
        matches!(self, Self::Trailing | Self::Both)
    }
}

/// A request with everything decided.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) api: Api,
    pub(super) job: Job,
    pub(super) stream: bool,
    /// Name of the function to call, if the answer is to be a tool call.
    pub(super) tool: Option<String>,
    pub(super) usage: UsagePlace,
    /// Running usage in every chunk.
    pub(super) continuous_usage: bool,
    pub(super) finish_reason: &'static str,
    pub(super) script: Script,
}

impl Ask {
    pub(super) fn is_stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn plan(self, api: Api) -> Plan {
        const DEFAULT_MAX_TOKENS: u32 = 64;
        const MAX_CHOICES: u32 = 128;
        let stream = self.is_stream();
        let characters = match api {
            Api::Chat => self
                .messages
                .iter()
                .flatten()
                .filter_map(|message| message.content.as_ref())
                .map(characters)
                .sum(),
            Api::Completions => self.prompt.as_ref().map_or(0, characters),
        };
        let mut script = self.sim.unwrap_or_default();
        if api == Api::Completions {
            script.reasoning_tokens = 0;
        }
        let prompt_tokens = u32::try_from(characters / 4).unwrap_or(u32::MAX).max(1);
        let limit = self.max_completion_tokens.or(self.max_tokens);
        let tool =
            self.tools.filter(|_| api == Api::Chat).and_then(|tools| tools.into_iter().next()).map(
                |tool| {
                    let name = tool.pointer("/function/name").and_then(Value::as_str);
                    name.unwrap_or("lookup").to_owned()
                },
            );
        let options = self.stream_options.unwrap_or_default();
        let include_usage = options.include_usage.unwrap_or(false);
        let asked_usage = if include_usage { UsagePlace::Trailing } else { UsagePlace::None };
        let finish_reason = if tool.is_some() {
            "tool_calls"
        } else if script.output_tokens.is_none() && limit.is_some() {
            "length"
        } else {
            "stop"
        };
        Plan {
            api,
            job: Job {
                prompt_tokens: script.prompt_tokens.unwrap_or(prompt_tokens),
                reasoning_tokens: script.reasoning_tokens,
                output_tokens: script.output_tokens.or(limit).unwrap_or(DEFAULT_MAX_TOKENS),
                choices: self.n.unwrap_or(1).clamp(1, MAX_CHOICES),
            },
            stream,
            tool,
            usage: script.usage.unwrap_or(asked_usage),
            // vLLM heeds the running usage only together with include_usage.
            continuous_usage: include_usage && options.continuous_usage_stats.unwrap_or(false),
            finish_reason,
            script,
        }
    }
}

/// Characters in the strings of a prompt or a message, however nested; a bare token id counts as one token.
fn characters(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.iter().map(characters).sum(),
        Value::Object(part) => part.get("text").map_or(0, characters),
        Value::Number(_) => 4,
        Value::Null | Value::Bool(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(api: Api, body: &str) -> Plan {
        serde_json::from_str::<Ask>(body).unwrap().plan(api)
    }

    #[test]
    fn prompts_are_counted() {
        let table = [
            (Api::Chat, r#"{"messages":[{"content":"12345678"},{"content":null}]}"#, 2),
            (Api::Chat, r#"{"messages":[{"content":[{"type":"text","text":"123456789012"}]}]}"#, 3),
            (Api::Chat, r#"{"prompt":"not looked at in chat"}"#, 1),
            (Api::Completions, r#"{"prompt":[1,2,3,4,5]}"#, 5),
            (Api::Completions, r#"{"prompt":["1234","5678"]}"#, 2),
            (Api::Completions, r#"{"prompt":"x","sim":{"prompt_tokens":900}}"#, 900),
        ];
        for (api, body, expected) in table {
            assert_eq!(plan(api, body).job.prompt_tokens, expected, "{body}");
        }
    }

    #[test]
    fn lengths_reasons_and_usage() {
        let table = [
            (r#"{}"#, 64, "stop", UsagePlace::None),
            (r#"{"max_tokens":9}"#, 9, "length", UsagePlace::None),
            (r#"{"max_tokens":9,"sim":{"output_tokens":3}}"#, 3, "stop", UsagePlace::None),
            (
                r#"{"max_completion_tokens":5,"max_tokens":9,"stream_options":{"include_usage":true}}"#,
                5,
                "length",
                UsagePlace::Trailing,
            ),
            (
                r#"{"tools":[{"function":{"name":"f"}}],"sim":{"usage":"finish"}}"#,
                64,
                "tool_calls",
                UsagePlace::Finish,
            ),
        ];
        for (body, tokens, reason, usage) in table {
            let plan = plan(Api::Chat, body);
            assert_eq!(
                (plan.job.output_tokens, plan.finish_reason, plan.usage),
                (tokens, reason, usage),
                "{body}"
            );
        }
    }

    #[test]
    fn a_misspelt_script_is_an_error() {
        assert!(serde_json::from_str::<Ask>(r#"{"sim":{"eror_after":1}}"#).is_err());
        assert!(serde_json::from_str::<Ask>(r#"{"temperature":1}"#).is_ok());
    }
}
