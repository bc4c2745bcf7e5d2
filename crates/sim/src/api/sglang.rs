//! SGLang's own `/generate`.
//!
//! Each event repeats the whole text and all token ids so far, with exact counts in `meta_info`. Source: SGLang's
//! `tokenizer_manager.py` and `http_server.py`.

use serde_json::json;

use super::chat::DONE;
use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::{ChoiceTexts, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;
use crate::truth::ReportedValues;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/text", "/input_ids"],
    limit: &["/sampling_params/max_new_tokens"],
    ..RequestFields::PLAIN
};

const SO_FAR: &str = r#"{"text":"$text","output_ids":[$ids],"meta_info":{"id":"$id","finish_reason":$reason,"prompt_tokens":$input,"weight_version":"default","total_retractions":0,"completion_tokens":$output,"cached_tokens":$cached$times}}"#;
/// Timings in seconds, with `--enable-metrics`.
const QUEUE: &str = r#","queue_time":$queue_s"#;
const LATENCY: &str = r#","e2e_latency":$total_s"#;
const MORE: &str = r#","first_token_latency":$ttft_s,"decode_throughput":$per_s"#;

#[derive(Debug)]
pub(super) struct Sglang {
    id: String,
    finish: ScriptedFinish,
    metrics: bool,
    last: u32,
    text: String,
}

impl Sglang {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            id: json_inner(case.id),
            finish: case.plan.finish,
            metrics: case.plan.script.metrics,
            last: case.plan.job.output_tokens,
            text: String::new(),
        }
    }

    /// Returns the response so far; the complete one if `ends`.
    fn so_far(
        &self,
        text: &str,
        ends: bool,
        account: &ResponseNumbers,
    ) -> (String, ReportedValues) {
        let reason = match (ends, self.finish) {
            (false, _) => "null".to_owned(),
            (true, ScriptedFinish::Length) => {
                format!(r#"{{"type":"length","length":{}}}"#, self.last)
            }
            (true, _) => r#"{"type":"stop","matched":2}"#.to_owned(),
        };
        let times = match (ends, self.metrics) {
            (false, false) => String::new(),
            (false, true) => QUEUE.to_owned(),
            (true, false) => LATENCY.to_owned(),
            (true, true) => [QUEUE, LATENCY, MORE].concat(),
        };
        let ids = token_ids(0, account.output);
        let template = SO_FAR.replace("$times", &times);
        account.fill(
            &template,
            &[("text", text), ("ids", &ids), ("id", &self.id), ("reason", &reason)],
        )
    }
}

impl ResponseWriter for Sglang {
    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        self.text.push_str(output.json);
        let ends = output.first + output.tokens == self.last;
        let (event, reported) = self.so_far(&self.text, ends, account);
        out.report(reported);
        out.output(format!("data: {event}\n\n"));
    }

    fn finish(&mut self, _: &ResponseNumbers, out: &mut FrameQueue) {
        out.done(DONE);
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(error_event(500, FAILURE));
        out.done(DONE);
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        self.so_far(text, true, account).into()
    }
}

/// An error as an event. Rejections are events of a stream too, with status 200.
pub(super) fn error_event(code: u16, message: &str) -> String {
    let error =
        json!({"message": message, "type": "internal_error", "code": code, "retryable": false});
    format!("data: {}\n\n", json!({"error": error}))
}
