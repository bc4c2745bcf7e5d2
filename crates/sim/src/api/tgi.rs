//! Hugging Face's Text Generation Inference: `/generate`, `/generate_stream`, and `/`, where `stream` decides.
//!
//! One event per token. The last one also has the whole text, and the end of the body ends the response. A stream sends
//! its headers before validation, so a rejection is an event. Responses that are not streamed report times in headers, in
//! whole milliseconds. Source: the router's `server.rs` and `lib.rs`.

use serde_json::{Value, json};

use super::{ApiError, FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, token_id};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::truth::ReportedValues;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/inputs"],
    limit: &["/parameters/max_new_tokens"],
    ..RequestFields::PLAIN
};

const DETAILS: &str =
    r#"{"finish_reason":"$reason","generated_tokens":$output,"input_length":$input,"seed":null}"#;
const DETAILS_OF_WHOLE: &str = r#"{"finish_reason":"$reason","generated_tokens":$output,"seed":null,"prefill":[],"tokens":[]}"#;
const HEADERS: [(&str, &str); 8] = [
    ("x-compute-time", "$total_s"),
    ("x-total-time", "$total_whole_ms"),
    ("x-validation-time", "0"),
    ("x-queue-time", "$queue_whole_ms"),
    ("x-inference-time", "$inference"),
    ("x-time-per-token", "$pertoken"),
    ("x-prompt-tokens", "$input"),
    ("x-generated-tokens", "$output"),
];

#[derive(Debug)]
pub(super) struct Tgi {
    reason: &'static str,
    details: bool,
    /// Route `/`, whose response is an array if it is not streamed.
    in_array: bool,
    characters: u32,
    field: &'static str,
    keep_alives: u32,
    /// Number of the last token; `None` if the script omits the end.
    last: Option<u32>,
    text: String,
}

impl Tgi {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        let script = &case.plan.script;
        Self {
            reason: if case.plan.finish == ScriptedFinish::Length { "length" } else { "eos_token" },
            details: case.request.flag("/parameters/details").unwrap_or(false),
            in_array: case.route.stream.is_none(),
            characters: case.request.text("/inputs").map_or(0, crate::token_text::chars),
            field: if script.no_blank { "data:" } else { "data: " },
            keep_alives: script.keep_alives,
            last: (!script.no_done).then_some(case.plan.job.output_tokens),
            text: String::new(),
        }
    }

    /// Returns the event of a token; with values, the last event.
    fn event(
        &self,
        index: u32,
        text: &str,
        end: Option<&ResponseNumbers>,
    ) -> (String, ReportedValues) {
        let Self { field, .. } = self;
        let id = token_id(index);
        let mut reported = ReportedValues::default();
        let (whole, details) = match end {
            Some(account) if self.details => {
                let (details, all) = account.fill(DETAILS, &[("reason", self.reason)]);
                reported = all;
                (format!("\"{}\"", self.text), details)
            }
            Some(_) => (format!("\"{}\"", self.text), "null".to_owned()),
            None => ("null".to_owned(), "null".to_owned()),
        };
        let event = format!(
            r#"{field}{{"index":{index},"token":{{"id":{id},"text":"{text}","logprob":-0.6196289,"special":false}},"generated_text":{whole},"details":{details}}}"#
        );
        (event + "\n\n", reported)
    }
}

impl ResponseWriter for Tgi {
    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("x-compute-type", COMPUTE_TYPE.to_owned()),
            ("x-compute-characters", self.characters.to_string()),
            ("x-accel-buffering", "no".to_owned()),
        ]
    }

    fn admitted(&mut self, out: &mut FrameQueue) {
        for _ in 0..self.keep_alives {
            out.plain(":\n\n");
        }
    }

    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        self.text.push_str(output.json);
        // The index includes the prefill.
        let index = output.first + output.tokens;
        let end = (self.last == Some(index)).then_some(account);
        let (event, reported) = self.event(index, output.json, end);
        out.report(reported);
        out.output(event);
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        // Without tokens there was no last event.
        if self.last == Some(0) {
            let (event, reported) = self.event(1, "", Some(account));
            out.report(reported);
            out.plain(event);
        }
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let (_, error) = error(&ApiError::Failed);
        out.plain(format!("{}{error}\n\n", self.field));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        let (details, mut reported) = if self.details {
            let (details, reported) = account.fill(DETAILS_OF_WHOLE, &[("reason", self.reason)]);
            (format!(r#","details":{details}"#), reported)
        } else {
            (String::new(), ReportedValues::default())
        };
        let inference = account.times.prefill + account.times.decode;
        let per_token = inference.checked_div(account.output).unwrap_or_default();
        let (inference, per_token) =
            (inference.as_millis().to_string(), per_token.as_millis().to_string());
        let mut headers = vec![
            ("x-compute-type", COMPUTE_TYPE.to_owned()),
            ("x-compute-characters", self.characters.to_string()),
        ];
        for (name, template) in HEADERS {
            let texts = [("inference", inference.as_str()), ("pertoken", &per_token)];
            let (value, values) = account.fill(template, &texts);
            reported.update(&values);
            headers.push((name, value));
        }
        let document = format!(r#"{{"generated_text":"{text}"{details}}}"#);
        let document = if self.in_array { format!("[{document}]") } else { document };
        WholeResponse { bytes: document.into(), headers, reported }
    }
}

const COMPUTE_TYPE: &str = "1-nvidia-a10g";

/// A rejection as an event of a stream.
pub(super) fn refusal_event(rejected: &ApiError) -> String {
    let (_, error) = error(rejected);
    format!("data: {error}\n\n")
}

pub(super) fn error(error: &ApiError) -> (u16, Value) {
    let (status, kind, message) = match error {
        ApiError::Malformed(message) => {
            (422, "validation", format!("Input validation error: {message}"))
        }
        ApiError::NoModel(name) => (404, "validation", format!("no adapter {name}")),
        ApiError::QueueFull => (429, "overloaded", "Model is overloaded".to_owned()),
        ApiError::Loading => (503, "unhealthy", "Loading model".to_owned()),
        ApiError::Failed => {
            (424, "generation", format!("Request failed during generation: {FAILURE}"))
        }
    };
    (status, json!({"error": message, "error_type": kind}))
}
