//! llama.cpp's own `/completion` and `/infill`.
//!
//! The headers are sent when the request gets its slot. The last event has `"stop":true` and the timings; there is no
//! `[DONE]`. Source: recordings of llama-server, and its `server-task.cpp`.

use super::{
    ApiError, HeadersAt, OutputChunk, ResponseContext, ResponseWriter, WholeResponse,
    openai_refusal,
};
use crate::content::{ChoiceTexts, token_ids};
use crate::frame_queue::FrameQueue;
use crate::request::{RequestFields, ScriptedFinish};
use crate::template::ResponseNumbers;
use crate::token_text::json_inner;

pub(super) const FIELDS: RequestFields = RequestFields {
    prompt: &["/prompt", "/input_prefix", "/input_suffix"],
    limit: &["/n_predict", "/max_tokens"],
    ..RequestFields::PLAIN
};

/// Timings in milliseconds. The pace excludes the first token, which belongs to the prefill.
pub(super) const TIMINGS: &str = r#","timings":{"cache_n":$cached,"prompt_n":$fresh,"prompt_ms":$prefill_ms,"prompt_per_token_ms":$prefill_pace_ms,"prompt_per_second":$prefill_per_s,"predicted_n":$output,"predicted_ms":$decode_ms,"predicted_per_token_ms":$pace_ms,"predicted_per_second":$decode_per_s}"#;
const TOKEN: &str = r#"data: {"index":0,"content":"$text","tokens":[$ids],"stop":false,"id_slot":-1,"tokens_predicted":$output,"tokens_evaluated":$input"#;
const PROGRESS: &str = r#"data: {"index":0,"content":"","tokens":[],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":$all,"prompt_progress":{"total":$all,"cache":0,"processed":$done,"time_ms":$ms}}"#;
const LAST: &str = r#"{"index":0,"content":"$text","tokens":[],"id_slot":0,"stop":true,"model":"$model","tokens_predicted":$output,"tokens_evaluated":$input,"generation_settings":{"seed":1,"stream":$stream},"prompt":"","has_new_line":false,"truncated":false,"stop_type":"$reason","stopping_word":"","tokens_cached":$total"#;

#[derive(Debug)]
pub(super) struct LlamaCpp {
    model: String,
    reason: &'static str,
    timings_per_token: bool,
    progress: bool,
    keep_alives: u32,
}

impl LlamaCpp {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        Self {
            model: json_inner(case.model),
            reason: if case.plan.finish == ScriptedFinish::Length { "limit" } else { "eos" },
            timings_per_token: case.request.flag("/timings_per_token").unwrap_or(false),
            progress: case.request.flag("/return_progress").unwrap_or(false),
            keep_alives: case.plan.script.keep_alives,
        }
    }

    fn progressed(&self, account: &ResponseNumbers, done: u32, out: &mut FrameQueue) {
        if self.progress {
            let (all, done) = (account.input.to_string(), done.to_string());
            let ms = account.times.prefill.as_millis().to_string();
            let texts = [("all", all.as_str()), ("done", &done), ("ms", &ms)];
            out.plain(account.fill(PROGRESS, &texts).0 + "\n\n");
        }
    }

    fn last(&self, text: &str, stream: bool, account: &ResponseNumbers) -> WholeResponse {
        let stream = if stream { "true" } else { "false" };
        let texts =
            [("text", text), ("model", &self.model), ("reason", self.reason), ("stream", stream)];
        account.fill(&format!("{LAST}{TIMINGS}}}"), &texts).into()
    }
}

impl ResponseWriter for LlamaCpp {
    fn head_at(&self) -> HeadersAt {
        HeadersAt::Start
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        headers()
    }

    fn started(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.progressed(account, 0, out);
        for _ in 0..self.keep_alives {
            out.plain(":\n\n");
        }
    }

    fn opened(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        self.progressed(account, account.input, out);
    }

    fn output(
        &mut self,
        output: &OutputChunk<'_>,
        account: &ResponseNumbers,
        out: &mut FrameQueue,
    ) {
        let timings = if self.timings_per_token { TIMINGS } else { "" };
        // An event with several tokens has only the id of the last one.
        let ids = token_ids(output.first + output.tokens.saturating_sub(1), 1);
        let texts = [("text", output.json), ("ids", &ids)];
        let (event, reported) = account.fill(&format!("{TOKEN}{timings}}}\n\n"), &texts);
        out.report(reported);
        out.output(event);
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let WholeResponse { bytes, reported, .. } = self.last("", true, account);
        out.report(reported);
        out.done([b"data: ", bytes.as_ref(), b"\n\n"].concat());
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        let (_, error) = openai_refusal(&ApiError::Failed);
        out.plain(format!("data: {error}\n\n"));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        WholeResponse { headers: headers(), ..self.last(text, false, account) }
    }
}

/// Header of its HTTP library, which identifies the server.
pub(super) fn headers() -> Vec<(&'static str, String)> {
    vec![("server", "llama.cpp".to_owned()), ("x-accel-buffering", "no".to_owned())]
}
