//! OpenAI's chat as written by other servers than vLLM. Each server is a set of templates.

mod flavors;

use super::chat::{DONE, error_event, finish_reason, usage_place};
use super::llamacpp;
use super::{HeadersAt, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) use flavors::find;

/// Templates of one server. Placeholders: `$id`, `$model`, `$created` of the response, `$index` of the choice, `$text`
/// of the output, `$pad` padding, `$role` the role in the first delta of a choice, `$usage` the token counts, and the
/// numbers of [`ResponseNumbers::fill`].
#[derive(Debug)]
pub(super) struct Flavor {
    /// Name, as in the `flavor` of a script.
    name: &'static str,
    head_at: HeadersAt,
    /// An event before all others.
    preamble: &'static str,
    /// A comment while the request waits.
    comment: &'static str,
    /// A chunk with `$choices`, followed by `$more`.
    chunk: &'static str,
    /// A choice with its `$delta`.
    choice: &'static str,
    /// The last choice object, with its `$reason`.
    choice_end: &'static str,
    /// The delta that opens a choice, if it is a separate chunk, and its `$more`.
    role: (&'static str, &'static str),
    /// Deltas.
    text: &'static str,
    reasoning: &'static str,
    tool_name: &'static str,
    tool_arguments: &'static str,
    /// The delta that ends a choice; `None` if the last output does.
    end: Option<&'static str>,
    /// `$more` of a chunk with output.
    more: &'static str,
    /// `$more` of a chunk that ends a choice: with and without requested usage.
    end_more: [&'static str; 2],
    /// The chunk without choices.
    last: UsageChunk,
    /// Its `$more`.
    last_more: &'static str,
    usage: &'static str,
    /// Text after the usage of a response that is not streamed.
    whole_more: &'static str,
    /// Whether one HTTP chunk contains both the role and the first output of a choice.
    packs_role: bool,
    /// Whether a choice is opened at once, before the first token.
    role_at_once: bool,
    /// Whether there is a `[DONE]`.
    has_done: bool,
}

/// When a server sends the chunk that has no choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsageChunk {
    Never,
    Asked,
    Always,
    /// If requested, one per choice.
    PerChoice,
}

#[derive(Debug)]
pub(super) struct FlavoredChat {
    flavor: &'static Flavor,
    id: String,
    model: String,
    created: String,
    reason: &'static str,
    choices: u32,
    /// Number of tokens of each choice.
    tokens: u32,
    requested: bool,
    keep_alives: u32,
    /// The choices with output, and the pending text for their first output.
    first: Vec<Option<String>>,
    /// Whether the chunks with the roles were written.
    is_open: bool,
    events: usize,
}

impl FlavoredChat {
    pub(super) fn new(flavor: &'static Flavor, case: &ResponseContext<'_>) -> Self {
        let job = case.plan.job;
        Self {
            flavor,
            id: json_inner(case.id),
            model: json_inner(case.model),
            created: case.created.to_string(),
            reason: finish_reason(case.plan.finish),
            choices: job.choices,
            tokens: job.reasoning_tokens + job.output_tokens,
            requested: usage_place(case).trails(),
            keep_alives: case.plan.script.keep_alives,
            first: vec![Some(String::new()); job.choices as usize],
            is_open: false,
            events: 0,
        }
    }

    /// Writes one event with these choices and its reported values.
    fn event(
        &mut self,
        choices: &str,
        more: &str,
        account: &ResponseNumbers,
    ) -> (String, ReportedValues) {
        const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
        self.events += 1;
        let pad = ALPHABET.get(..self.events * 11 % ALPHABET.len() + 1).unwrap_or(ALPHABET);
        let (usage, mut reported) = match more.contains("$usage") {
            true => account.fill(self.flavor.usage, &[]),
            false => <(String, ReportedValues)>::default(),
        };
        let texts = [
            ("id", self.id.as_str()),
            ("model", &self.model),
            ("created", &self.created),
            ("choices", choices),
            ("pad", pad),
            ("usage", &usage),
        ];
        let (event, more_reported) =
            account.fill(&self.flavor.chunk.replace("$more", more), &texts);
        reported.update(&more_reported);
        (format!("data: {event}\n\n"), reported)
    }

    fn choice(&self, template: &str, index: u32, delta: &str) -> String {
        let index = index.to_string();
        let texts = [("index", index.as_str()), ("delta", delta), ("reason", self.reason)];
        ResponseNumbers::default().fill(template, &texts).0
    }

    /// Returns a choice of a response that is not streamed.
    fn whole_choice(&self, index: usize, texts: &ChoiceTexts) -> String {
        let ChoiceTexts { text, reasoning, tool_name, tool_arguments } = texts;
        let typed = self.flavor.name == "mistral" && !reasoning.is_empty();
        let content = if !tool_name.is_empty() {
            format!(
                r#""content":null,"tool_calls":[{{"id":"call_{index}","type":"function","function":{{"name":"{tool_name}","arguments":"{tool_arguments}"}}}}]"#
            )
        } else if typed {
            format!(
                r#""content":[{{"type":"thinking","thinking":[{{"type":"text","text":"{reasoning}"}}]}},{{"type":"text","text":"{text}"}}]"#
            )
        } else {
            format!(r#""content":"{text}""#)
        };
        let key = if self.flavor.reasoning.contains("reasoning_content") {
            "reasoning_content"
        } else {
            "reasoning"
        };
        let reasoning = if reasoning.is_empty() || typed {
            String::new()
        } else {
            format!(r#","{key}":"{reasoning}""#)
        };
        let reason = self.reason;
        format!(
            r#"{{"index":{index},"message":{{"role":"assistant",{content}{reasoning}}},"finish_reason":"{reason}"}}"#
        )
    }

    /// Returns the text before the first output of a choice; empty afterwards.
    fn take_first(&mut self, choice: u32) -> Option<String> {
        self.first.get_mut(choice as usize)?.take()
    }
}

impl ResponseWriter for FlavoredChat {
    fn head_at(&self) -> HeadersAt {
        self.flavor.head_at
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        if self.flavor.name == "llamacpp" { llamacpp::headers() } else { Vec::new() }
    }

    fn admitted(&mut self, out: &mut FrameQueue) {
        if !self.flavor.preamble.is_empty() {
            out.plain(self.flavor.preamble);
        }
        for _ in 0..self.keep_alives {
            out.plain(self.flavor.comment);
        }
        if self.flavor.role_at_once {
            self.opened(&ResponseNumbers::default(), out);
        }
    }

    fn opened(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let (delta, more) = self.flavor.role;
        if delta.is_empty() || std::mem::replace(&mut self.is_open, true) {
            return;
        }
        for index in 0..self.choices {
            let choice = self.choice(self.flavor.choice, index, delta);
            let (mut event, _) = self.event(&choice, more, account);
            if self.flavor.name == "trtllm" {
                // This chunk has an additional space.
                event.insert(event.trim_end().len(), ' ');
            }
            match self.first.get_mut(index as usize) {
                Some(first) if self.flavor.packs_role => *first = Some(event),
                _ => out.plain(event),
            }
        }
    }

    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        let flavor = self.flavor;
        let template = match output.part {
            OutputPart::Text => flavor.text,
            OutputPart::Reasoning => flavor.reasoning,
            OutputPart::ToolName => flavor.tool_name,
            OutputPart::ToolArguments => flavor.tool_arguments,
        };
        let first = self.take_first(output.choice);
        let role = if first.is_some() { r#","role":"assistant""# } else { "" };
        let call = format!("call_{}_{}", self.id, output.choice);
        let texts = [("text", output.json), ("role", role), ("call", &call)];
        let (delta, _) = account.fill(template, &texts);
        let ends = flavor.end.is_none() && output.first + output.tokens == self.tokens;
        let choice = if ends { flavor.choice_end } else { flavor.choice };
        let choice = self.choice(choice, output.choice, &delta);
        let (event, reported) = self.event(&choice, flavor.more, account);
        out.report(reported);
        out.output(first.unwrap_or_default() + &event);
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let flavor = self.flavor;
        let [requested, unasked] = flavor.end_more;
        let one = account.of_one(self.choices);
        for index in 0..self.choices {
            if let Some(delta) = flavor.end {
                let choice = self.choice(flavor.choice_end, index, delta);
                let more = if self.requested { requested } else { unasked };
                let (event, reported) = self.event(&choice, more, account);
                out.report(reported);
                out.plain(event);
            }
            if flavor.last == UsageChunk::PerChoice && self.requested {
                let (event, mut reported) = self.event("", flavor.last_more, &one);
                // The sum is the usage of all choices.
                reported.update(&account.fill(flavor.usage, &[]).1);
                out.report(reported);
                out.plain(event);
            }
        }
        if flavor.last == UsageChunk::Always || flavor.last == UsageChunk::Asked && self.requested {
            let (event, reported) = self.event("", flavor.last_more, account);
            out.report(reported);
            out.plain(event);
        }
        if flavor.has_done {
            out.done(DONE);
        }
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(error_event());
        if self.flavor.has_done {
            out.done(DONE);
        }
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let choices: Vec<String> = choices
            .iter()
            .enumerate()
            .map(|(index, texts)| self.whole_choice(index, texts))
            .collect();
        let (usage, mut reported) = account.fill(self.flavor.usage, &[]);
        let (more, times) = account.fill(self.flavor.whole_more, &[("id", &self.id)]);
        reported.update(&times);
        let (id, model, created) = (&self.id, &self.model, &self.created);
        let choices = choices.join(",");
        // DeepSeek sends empty lines while the request waits.
        let blank = match self.flavor.name {
            "deepseek" => "\n".repeat(self.keep_alives as usize),
            _ => String::new(),
        };
        let whole = format!(
            r#"{blank}{{"id":"{id}","object":"chat.completion","created":{created},"model":"{model}","choices":[{choices}],"usage":{usage}{more}}}"#
        );
        (whole, reported).into()
    }
}
