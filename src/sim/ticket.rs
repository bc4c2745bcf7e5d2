//! The record of one request in the making. However the request ends, it is written once; dropping it is an
//! ending too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Part;
use super::host::Host;
use super::model::{Emission, JobId, JobTruth};
use super::openai::Usage;
use super::request::{Plan, UsagePlace};
use super::truth::{End, TruthLog, TruthRecord};

/// What one frame carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    pub(super) tokens: u32,
    pub(super) reasoning_tokens: u32,
    pub(super) answer_chars: u64,
    pub(super) reasoning_chars: u64,
}

impl Carried {
    pub(super) fn add(&mut self, part: Part, chars: u32) {
        self.tokens += 1;
        if part == Part::Reasoning {
            self.reasoning_tokens += 1;
            self.reasoning_chars += u64::from(chars);
        } else {
            self.answer_chars += u64::from(chars);
        }
    }
}

/// The record, the job that it is about, and the log that it goes to.
pub(super) struct Ticket {
    /// Taken when it is written.
    record: Option<TruthRecord>,
    job: Option<(Arc<Host>, JobId, JobTruth)>,
    log: TruthLog,
    epoch: Instant,
}

impl Ticket {
    /// A request whose head was received just now.
    pub(super) fn open(log: TruthLog, epoch: Instant, path: &str, id: Option<String>) -> Self {
        let received = epoch.elapsed().as_secs_f64();
        Self {
            record: Some(TruthRecord {
                request_id: id,
                path: path.to_owned(),
                model: String::new(),
                stream: false,
                status: None,
                end: End::Cancelled,
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
                choices: 0,
                tells_usage: false,
                queue_s: None,
                load_s: None,
                model_started: None,
                model_first_token: None,
                model_last_token: None,
            }),
            job: None,
            log,
            epoch,
        }
    }

    /// What was asked for, as far as it is known.
    pub(super) fn asked(&mut self, model: &str, stream: bool) {
        if let Some(record) = &mut self.record {
            model.clone_into(&mut record.model);
            record.stream = stream;
        }
    }

    pub(super) fn planned(&mut self, plan: &Plan) {
        if let Some(record) = &mut self.record {
            record.prompt_tokens = plan.job.prompt_tokens;
            record.choices = plan.job.choices;
            record.tells_usage = !plan.stream || plan.usage != UsagePlace::None;
        }
    }

    /// The engine took the job; from now on an early end cancels it there.
    pub(super) fn accepted(&mut self, host: Arc<Host>, id: JobId, arrival: Duration) {
        self.job = Some((host, id, JobTruth::arrived(arrival)));
    }

    /// The head of the response goes out.
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

    /// Output is handed to the HTTP layer at this instant.
    pub(super) fn sent(&mut self, carried: &Carried) {
        let now = self.epoch.elapsed().as_secs_f64();
        let Some(record) = &mut self.record else {
            return;
        };
        if carried.tokens == 0 {
            return;
        }
        record.first_sent = record.first_sent.or(Some(now));
        record.last_sent = Some(now);
        record.output_events += u32::from(record.stream);
        record.output_tokens += carried.tokens;
        record.reasoning_tokens += carried.reasoning_tokens;
        record.answer_chars += carried.answer_chars;
        record.reasoning_chars += carried.reasoning_chars;
    }

    /// What a usage chunk would say at this point of a stream, `carried` included.
    pub(super) fn usage_with(&self, carried: &Carried) -> Usage {
        let Some(record) = &self.record else {
            return Usage::default();
        };
        Usage {
            prompt: record.prompt_tokens,
            completion: record.output_tokens + carried.tokens,
            reasoning: record.reasoning_tokens + carried.reasoning_tokens,
        }
    }

    /// Writes the record; only the first call counts. A job that is not done is cancelled.
    pub(super) fn finish(&mut self, end: End) {
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

impl Drop for Ticket {
    fn drop(&mut self) {
        self.finish(End::Cancelled);
    }
}
