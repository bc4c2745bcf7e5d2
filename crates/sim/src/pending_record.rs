//! The record of a request that has not ended. It is written exactly once, however the request ends; dropping it also
//! writes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::api::SimApi;
use super::engine_host::EngineHost;
use super::frame_queue::FrameContent;
use super::model::{Emission, JobId, JobTruth};
use super::request::ResponsePlan;
use super::template::{ResponseNumbers, TemplateTimes};
use super::truth::{ReportedValues, TruthEnd, TruthLog, TruthRecord};

/// A record with its job and the log that it will be written to.
pub(super) struct PendingRecord {
    /// `None` once written.
    record: Option<TruthRecord>,
    /// Tokens of the prompt read from a cache, and written to it.
    cache: (u32, u32),
    job: Option<(Arc<EngineHost>, JobId, JobTruth)>,
    log: TruthLog,
    epoch: Instant,
}

impl PendingRecord {
    /// Starts the record of a request whose headers have just been received.
    pub(super) fn open(log: TruthLog, epoch: Instant, path: &str, id: Option<String>) -> Self {
        let received = epoch.elapsed().as_secs_f64();
        Self {
            record: Some(TruthRecord {
                request_id: id,
                path: path.to_owned(),
                dialect: None,
                model: String::new(),
                stream: false,
                status: None,
                end: TruthEnd::Cancelled,
                received,
                first_sent: None,
                last_sent: None,
                ended: received,
                ttft_s: None,
                latency_s: None,
                tpot_s: None,
                prompt_tokens: 0,
                output_tokens: 0,
                reasoning_tokens: 0,
                generated_tokens: 0,
                output_events: 0,
                answer_chars: 0,
                reasoning_chars: 0,
                tool_chars: 0,
                choices: 0,
                reported: ReportedValues::default(),
                queue_s: None,
                load_s: None,
                model_started: None,
                model_first_token: None,
                model_last_token: None,
            }),
            cache: (0, 0),
            job: None,
            log,
            epoch,
        }
    }

    /// Records what was requested.
    pub(super) fn set_request(&mut self, api: SimApi, model: &str, stream: bool) {
        if let Some(record) = &mut self.record {
            record.dialect = api.dialect().map(str::to_owned);
            model.clone_into(&mut record.model);
            record.stream = stream;
        }
    }

    pub(super) fn planned(&mut self, plan: &ResponsePlan) {
        if let Some(record) = &mut self.record {
            record.prompt_tokens = plan.job.prompt_tokens;
            record.choices = plan.job.choices;
        }
        let cached = plan.script.cached_tokens.min(plan.job.prompt_tokens);
        let written = plan.script.cache_written_tokens.min(plan.job.prompt_tokens - cached);
        self.cache = (cached, written);
    }

    /// Records the accepted job. An early end cancels it.
    pub(super) fn accepted(&mut self, host: Arc<EngineHost>, id: JobId, arrival: Duration) {
        self.job = Some((host, id, JobTruth::arrived(arrival)));
    }

    /// Records that the response headers are sent.
    pub(super) fn status(&mut self, status: u16) {
        if let Some(record) = &mut self.record {
            record.status = Some(status);
        }
    }

    pub(super) fn note(&mut self, emission: &Emission) {
        if let Some((_, _, truth)) = &mut self.job {
            truth.note(emission);
        }
    }

    /// Records that a frame is passed to hyper now.
    pub(super) fn sent(&mut self, carried: &FrameContent) {
        let Some(record) = &mut self.record else {
            return;
        };
        if carried.tokens == 0 {
            return;
        }
        if carried.visible {
            let now = self.epoch.elapsed().as_secs_f64();
            record.first_sent = record.first_sent.or(Some(now));
            record.last_sent = Some(now);
            record.output_events += u32::from(record.stream);
        }
        record.output_tokens += carried.tokens;
        record.reasoning_tokens += carried.reasoning_tokens;
        record.answer_chars += carried.answer_chars;
        record.reasoning_chars += carried.reasoning_chars;
        record.tool_chars += carried.tool_chars;
    }

    /// Records the values that a frame reports.
    pub(super) fn reported(&mut self, reported: &ReportedValues) {
        if let Some(record) = &mut self.record {
            record.reported.update(reported);
        }
    }

    /// Returns the values for templates now, with `made` as the content so far.
    pub(super) fn account(&self, made: &FrameContent) -> ResponseNumbers {
        let input = self.record.as_ref().map_or(0, |record| record.prompt_tokens);
        let received = self.record.as_ref().map_or(0.0, |record| record.received);
        let mut times = TemplateTimes {
            total: self.epoch.elapsed().saturating_sub(Duration::from_secs_f64(received)),
            ..TemplateTimes::default()
        };
        if let Some((_, _, truth)) = &self.job {
            times.queue = truth.queue_wait.unwrap_or_default();
            times.load = truth.load_wait.unwrap_or_default();
            let between = |from: Option<Duration>, to: Option<Duration>| {
                to.zip(from).map_or(Duration::ZERO, |(to, from)| to.saturating_sub(from))
            };
            times.prefill = between(truth.started, truth.first_token);
            times.decode = between(truth.first_token, truth.last_token);
        }
        let (cached, written) = self.cache;
        let (output, reasoning) = (made.tokens, made.reasoning_tokens);
        ResponseNumbers { input, cached, written, output, reasoning, times }
    }

    /// Writes the record; further calls do nothing. An unfinished job is cancelled.
    pub(super) fn finish(&mut self, end: TruthEnd) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        record.end = end;
        record.ended = self.epoch.elapsed().as_secs_f64();
        if let Some((host, id, truth)) = self.job.take() {
            if truth.finished.is_none() {
                host.cancel(id);
            }
            let seconds = |duration: Option<Duration>| duration.map(|d| d.as_secs_f64());
            record.queue_s = seconds(truth.queue_wait);
            record.load_s = seconds(truth.load_wait);
            record.model_started = seconds(truth.started);
            record.model_first_token = seconds(truth.first_token);
            record.model_last_token = seconds(truth.last_token);
            record.generated_tokens = truth.tokens;
        }
        record.derive();
        self.log.push(record);
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        self.finish(TruthEnd::Cancelled);
    }
}
