//! OpenAI's chat in the manner of other servers than vLLM, each of which is a row of templates.

mod flavors;

use super::chat::{DONE, error_event, finish_reason, usage_place};
use super::llamacpp;
use super::{HeadersAt, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, OutputPart};
use crate::frame_queue::FrameQueue;
use crate::template::TemplateValues;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) use flavors::find;

/// What sets one server's chat apart. In the templates, `$id`, `$model`, `$created` are the response's, `$index` is
/// the choice's, `$text` what is said, `$pad` padding, `$role` the role with the first of a choice's texts, `$usage`
/// the counts; numbers as in [`TemplateValues::fill`].
#[derive(Debug)]
pub(super) struct Flavor {
    /// As the `flavor` of a script has it.
    name: &'static str,
    head_at: HeadersAt,
    /// An event ahead of all others.
    preamble: &'static str,
    /// A comment while nothing comes.
    comment: &'static str,
    /// A chunk around `$choices`, with `$more` behind them.
    chunk: &'static str,
    /// A choice around its `$delta`.
    choice: &'static str,
    /// The last of a choice, with its `$reason`.
    choice_end: &'static str,
    /// The delta that opens a choice, if it is a chunk of its own, and what it has for `$more`.
    role: (&'static str, &'static str),
    /// Deltas.
    text: &'static str,
    reasoning: &'static str,
    tool_name: &'static str,
    tool_arguments: &'static str,
    /// The delta with which a choice ends; none if that is its last output.
    end: Option<&'static str>,
    /// `$more` of a chunk with output.
    more: &'static str,
    /// `$more` of a chunk that ends a choice: if the usage was asked for, and if not.
    end_more: [&'static str; 2],
    /// The chunk without choices.
    last: UsageChunk,
    /// `$more` of it.
    last_more: &'static str,
    usage: &'static str,
    /// Behind the usage of a response that is not streamed.
    whole_more: &'static str,
    /// Whether one HTTP chunk has both the role and the first output of a choice.
    packs_role: bool,
    /// Whether a choice is opened at once, before there is a token.
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
    /// If asked, one for each choice.
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
    /// VllmTokens of each choice.
    tokens: u32,
    asked: bool,
    keep_alives: u32,
    /// Which choices have said something, and what waits to go with their first output.
    first: Vec<Option<String>>,
    /// Whether the chunks with the roles are made.
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
            asked: usage_place(case).trails(),
            keep_alives: case.plan.script.keep_alives,
            first: vec![Some(String::new()); job.choices as usize],
            is_open: false,
            events: 0,
        }
    }

    /// One event of these choices, with what it tells.
    fn event(
        &mut self,
        choices: &str,
        more: &str,
        account: &TemplateValues,
    ) -> (String, ReportedValues) {
        const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
        self.events += 1;
        let pad = ALPHABET.get(..self.events * 11 % ALPHABET.len() + 1).unwrap_or(ALPHABET);
        let (usage, mut told) = match more.contains("$usage") {
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
        let (event, more_told) = account.fill(&self.flavor.chunk.replace("$more", more), &texts);
        told.update(&more_told);
        (format!("data: {event}\n\n"), told)
    }

    fn choice(&self, template: &str, index: u32, delta: &str) -> String {
        let index = index.to_string();
        let texts = [("index", index.as_str()), ("delta", delta), ("reason", self.reason)];
        TemplateValues::default().fill(template, &texts).0
    }

    /// A choice of a response that is not streamed.
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

    /// What is put before the first output of a choice; nothing for the ones after it.
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
            self.opened(&TemplateValues::default(), out);
        }
    }

    fn opened(&mut self, account: &TemplateValues, out: &mut FrameQueue) {
        let (delta, more) = self.flavor.role;
        if delta.is_empty() || std::mem::replace(&mut self.is_open, true) {
            return;
        }
        for index in 0..self.choices {
            let choice = self.choice(self.flavor.choice, index, delta);
            let (mut event, _) = self.event(&choice, more, account);
            if self.flavor.name == "trtllm" {
                // A blank too many, of this chunk alone.
                event.insert(event.trim_end().len(), ' ');
            }
            match self.first.get_mut(index as usize) {
                Some(first) if self.flavor.packs_role => *first = Some(event),
                _ => out.plain(event),
            }
        }
    }

    fn output(&mut self, output: &OutputChunk<'_>, account: &TemplateValues, out: &mut FrameQueue) {
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
        let (event, told) = self.event(&choice, flavor.more, account);
        out.report(told);
        out.output(first.unwrap_or_default() + &event);
    }

    fn finish(&mut self, account: &TemplateValues, out: &mut FrameQueue) {
        let flavor = self.flavor;
        let [asked, unasked] = flavor.end_more;
        let one = account.of_one(self.choices);
        for index in 0..self.choices {
            if let Some(delta) = flavor.end {
                let choice = self.choice(flavor.choice_end, index, delta);
                let more = if self.asked { asked } else { unasked };
                let (event, told) = self.event(&choice, more, account);
                out.report(told);
                out.plain(event);
            }
            if flavor.last == UsageChunk::PerChoice && self.asked {
                let (event, mut told) = self.event("", flavor.last_more, &one);
                // Put together, it is the usage of all of them.
                told.update(&account.fill(flavor.usage, &[]).1);
                out.report(told);
                out.plain(event);
            }
        }
        if flavor.last == UsageChunk::Always || flavor.last == UsageChunk::Asked && self.asked {
            let (event, told) = self.event("", flavor.last_more, account);
            out.report(told);
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

    fn whole(&mut self, choices: &[ChoiceTexts], account: &TemplateValues) -> WholeResponse {
        let choices: Vec<String> = choices
            .iter()
            .enumerate()
            .map(|(index, texts)| self.whole_choice(index, texts))
            .collect();
        let (usage, mut told) = account.fill(self.flavor.usage, &[]);
        let (more, times) = account.fill(self.flavor.whole_more, &[("id", &self.id)]);
        told.update(&times);
        let (id, model, created) = (&self.id, &self.model, &self.created);
        let choices = choices.join(",");
        // DeepSeek sends blank lines while the request waits.
        let blank = match self.flavor.name {
            "deepseek" => "\n".repeat(self.keep_alives as usize),
            _ => String::new(),
        };
        let whole = format!(
            r#"{blank}{{"id":"{id}","object":"chat.completion","created":{created},"model":"{model}","choices":[{choices}],"usage":{usage}{more}}}"#
        );
        (whole, told).into()
    }
}
