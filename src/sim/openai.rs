//! The JSON and SSE of OpenAI's API, in the shape that vLLM writes.
//!
//! What is the same in every chunk of a response is put together once; a chunk is then a few copies.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Part, Said};
use super::request::Api;
use super::text::json_inner;

/// The terminator of a stream.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Token counts as the server tells them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) prompt: u32,
    /// Of all choices, reasoning included.
    pub(super) completion: u32,
    pub(super) reasoning: u32,
}

impl Usage {
    fn json(&self) -> String {
        let Self { prompt, completion, reasoning } = self;
        let total = prompt.saturating_add(*completion);
        let details = if *reasoning > 0 {
            format!(r#","completion_tokens_details":{{"reasoning_tokens":{reasoning}}}"#)
        } else {
            String::new()
        };
        format!(
            r#"{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{completion},"prompt_tokens_details":{{"cached_tokens":0}}{details}}}"#
        )
    }
}

/// Writes the events of one streamed response.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    api: Api,
    /// From `data: ` to the opening bracket of `choices`.
    prefix: String,
    /// Of the tool call, if one is made.
    call_id: String,
}

impl ChunkWriter {
    /// `id` is that of the response, `created` in Unix seconds.
    pub(super) fn new(api: Api, id: &str, created: u64, model: &str) -> Self {
        let object = match api {
            Api::Chat => "chat.completion.chunk",
            Api::Completions => "text_completion",
        };
        let (id, model) = (json_inner(id), json_inner(model));
        Self {
            api,
            prefix: format!(
                r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":"{model}","choices":["#
            ),
            call_id: format!("chatcmpl-tool-{id}"),
        }
    }

    /// The chunk that opens a choice and carries no output; chat only.
    pub(super) fn role(&self, choice: u32, usage: Option<&Usage>) -> Bytes {
        self.chunk(choice, usage, |out| {
            out.push_str(
                r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null"#,
            );
        })
    }

    /// A chunk with output; `json` is the text as it stands inside the quotes of a JSON string.
    pub(super) fn output(
        &self,
        choice: u32,
        part: Part,
        json: &str,
        usage: Option<&Usage>,
    ) -> Bytes {
        let (before, after) = match (self.api, part) {
            (Api::Completions, _) => (r#""text":""#, r#"","#),
            (Api::Chat, Part::Text) => (r#""delta":{"content":""#, r#""},"#),
            (Api::Chat, Part::Reasoning) => (r#""delta":{"reasoning_content":""#, r#""},"#),
            (Api::Chat, Part::ToolName) => (r#""name":""#, r#"","arguments":""}}]},"#),
            (Api::Chat, Part::ToolArguments) => {
                (r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":""#, r#""}}]},"#)
            }
        };
        self.chunk(choice, usage, |out| {
            if part == Part::ToolName {
                let _ = write!(
                    out,
                    r#""delta":{{"tool_calls":[{{"id":"{}-{choice}","type":"function","index":0,"function":{{"#,
                    self.call_id
                );
            }
            out.push_str(before);
            out.push_str(json);
            out.push_str(after);
            out.push_str(r#""logprobs":null,"finish_reason":null"#);
        })
    }

    /// The chunk that ends a choice and carries no output.
    pub(super) fn finish(&self, choice: u32, reason: &str, usage: Option<&Usage>) -> Bytes {
        let empty = match self.api {
            Api::Chat => r#""delta":{}"#,
            Api::Completions => r#""text":"""#,
        };
        self.chunk(choice, usage, |out| {
            let _ = write!(
                out,
                r#"{empty},"logprobs":null,"finish_reason":"{reason}","stop_reason":null"#
            );
        })
    }

    /// The chunk without choices that tells the usage.
    pub(super) fn usage(&self, usage: &Usage) -> Bytes {
        let (prefix, usage) = (&self.prefix, usage.json());
        Bytes::from(format!("{prefix}],\"usage\":{usage}}}\n\n"))
    }

    /// An error in the middle of a stream.
    pub(super) fn error(message: &str) -> Bytes {
        let error = error_json(500, "InternalServerError", message, None);
        Bytes::from(format!("data: {error}\n\n"))
    }

    fn chunk(&self, choice: u32, usage: Option<&Usage>, fill: impl FnOnce(&mut String)) -> Bytes {
        // Room for the fixed parts and a short text, so that a usual chunk is one allocation.
        let mut out = String::with_capacity(self.prefix.len() + 160);
        out.push_str(&self.prefix);
        let _ = write!(out, r#"{{"index":{choice},"#);
        fill(&mut out);
        out.push_str("}]");
        if let Some(usage) = usage {
            let _ = write!(out, r#","usage":{}"#, usage.json());
        }
        out.push_str("}\n\n");
        Bytes::from(out)
    }
}

/// The texts of one choice of a response that is not streamed; as they stand inside JSON quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct ChoiceText {
    text: String,
    reasoning: String,
    tool_name: String,
    tool_arguments: String,
}

impl ChoiceText {
    pub(super) fn push(&mut self, said: &Said) {
        let part = match said.part {
            Part::Text => &mut self.text,
            Part::Reasoning => &mut self.reasoning,
            Part::ToolName => &mut self.tool_name,
            Part::ToolArguments => &mut self.tool_arguments,
        };
        part.push_str(&said.json);
    }

    fn json(&self, api: Api, index: usize, reason: &str) -> String {
        let Self { text, reasoning, tool_name, tool_arguments } = self;
        if api == Api::Completions {
            return format!(
                r#"{{"index":{index},"text":"{text}","logprobs":null,"finish_reason":"{reason}"}}"#
            );
        }
        let reasoning =
            if reasoning.is_empty() { "null".to_owned() } else { format!("\"{reasoning}\"") };
        let content = if tool_name.is_empty() {
            format!(r#""content":"{text}","tool_calls":[]"#)
        } else {
            format!(
                r#""content":null,"tool_calls":[{{"id":"chatcmpl-tool-{index}","type":"function","function":{{"name":"{tool_name}","arguments":"{tool_arguments}"}}}}]"#
            )
        };
        format!(
            r#"{{"index":{index},"message":{{"role":"assistant","reasoning_content":{reasoning},{content}}},"logprobs":null,"finish_reason":"{reason}"}}"#
        )
    }
}

/// A response that is not streamed.
pub(super) fn whole(
    api: Api,
    (id, created, model): (&str, u64, &str),
    choices: &[ChoiceText],
    reason: &str,
    usage: &Usage,
) -> Bytes {
    let object = match api {
        Api::Chat => "chat.completion",
        Api::Completions => "text_completion",
    };
    let choices: Vec<String> =
        choices.iter().enumerate().map(|(index, choice)| choice.json(api, index, reason)).collect();
    Bytes::from(format!(
        r#"{{"id":"{}","object":"{object}","created":{created},"model":"{}","choices":[{}],"usage":{}}}"#,
        json_inner(id),
        json_inner(model),
        choices.join(","),
        usage.json()
    ))
}

/// An error in OpenAI's shape.
pub(super) fn error_json(code: u16, kind: &str, message: &str, param: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { prompt: 3, completion: 5, reasoning: 2 };

    fn read(chunk: &Bytes) -> Value {
        let text = std::str::from_utf8(chunk).unwrap();
        let data = text.strip_prefix("data: ").unwrap();
        serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
    }

    #[test]
    fn chunks_are_json_with_the_fields_of_vllm() {
        let chat = ChunkWriter::new(Api::Chat, "chatcmpl-\"1", 17, "m");
        let plain = ChunkWriter::new(Api::Completions, "cmpl-1", 17, "m");
        let choice = |chunk: &Bytes, path: &str| read(chunk)["choices"][0].pointer(path).cloned();
        let table = [
            (chat.role(0, None), "/delta/role", json!("assistant")),
            (chat.output(0, Part::Text, r"a\n", None), "/delta/content", json!("a\n")),
            (chat.output(0, Part::Reasoning, "a", None), "/delta/reasoning_content", json!("a")),
            (
                chat.output(0, Part::ToolName, "f", None),
                "/delta/tool_calls/0/function/name",
                json!("f"),
            ),
            (
                chat.output(2, Part::ToolArguments, r#"{\""#, Some(&USAGE)),
                "/delta/tool_calls/0/function/arguments",
                json!("{\""),
            ),
            (chat.finish(0, "stop", None), "/finish_reason", json!("stop")),
            (chat.output(3, Part::Text, "a", None), "/index", json!(3)),
            (plain.output(0, Part::Text, "a", None), "/text", json!("a")),
            (plain.finish(0, "length", None), "/text", json!("")),
        ];
        for (chunk, path, expected) in table {
            assert_eq!(choice(&chunk, path), Some(expected), "{path}");
            assert_eq!(read(&chunk)["created"], 17);
        }
        assert_eq!(read(&chat.role(0, None))["id"], "chatcmpl-\"1");
    }

    #[test]
    fn usage_adds_up() {
        let chat = ChunkWriter::new(Api::Chat, "1", 17, "m");
        let event = read(&chat.usage(&USAGE));
        assert_eq!(event["choices"], json!([]));
        for usage in [&event["usage"], &read(&chat.role(0, Some(&USAGE)))["usage"]] {
            assert_eq!(usage["total_tokens"], 8);
            assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 2);
        }
        assert!(read(&chat.role(0, None)).get("usage").is_none());
    }
}
