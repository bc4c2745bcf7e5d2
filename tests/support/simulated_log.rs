//! Request logs of simulated servers on virtual time, as the meter would write them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;
use streamgauge_core::meter::{RequestRecord, TokenSource};
use streamgauge_sim::EngineSpec;
use streamgauge_sim::model::{Emission, EmissionKind, Job, JobId, SimEngine};
use streamgauge_sim::rng::SplitMix64;

/// A server and its load. Users are independent of tokens: they send and read characters.
#[derive(Clone)]
pub struct LogScenario {
    pub model: &'static str,
    pub characters_per_token: f64,
    /// Milliseconds per character of output of a single request.
    pub ms_per_character: f64,
    /// Mean of the natural logarithm of the prompt's length in bytes.
    pub prompt: f64,
    pub requests: usize,
    /// Requests per second. Bursts have three times the rate for a while, then pause.
    pub rate: f64,
    pub bursts: bool,
    pub seed: u64,
}

/// The scenario that others vary.
pub const BASE_SCENARIO: LogScenario = LogScenario {
    model: "alpha",
    characters_per_token: 4.0,
    ms_per_character: 2.0,
    prompt: 7.5,
    requests: 300,
    rate: 2.0,
    bursts: false,
    seed: 1,
};

/// A request in flight.
struct SimulatedRequest {
    record: RequestRecord,
    arrival: Duration,
    first: Option<(Duration, u64)>,
    last: Duration,
    characters: u64,
    characters_per_token: f64,
    tokens: u64,
    numbers: SplitMix64,
}

impl LogScenario {
    fn engine(&self) -> EngineSpec {
        let ms = |ms: f64| Duration::from_secs_f64(ms * self.characters_per_token / 1e3);
        EngineSpec {
            slots: 8,
            prefill_per_token: ms(0.02),
            decode_base: ms(self.ms_per_character * 0.95),
            decode_per_running: ms(self.ms_per_character * 0.05),
            jitter: 0.15,
            seed: self.seed,
            ..EngineSpec::new(self.model)
        }
    }

    /// The records, in the order of their ends.
    pub fn records(&self) -> Vec<RequestRecord> {
        let mut rng = SplitMix64::new(self.seed);
        let mut engine = SimEngine::new(self.engine());
        let (mut open, mut done) = (BTreeMap::new(), Vec::new());
        let mut now = Duration::ZERO;
        for number in 0..self.requests {
            let gap = -(1.0 - rng.unit()).ln() / self.rate;
            now += Duration::from_secs_f64(if self.bursts { gap / 3.0 } else { gap });
            if self.bursts && number % 20 == 19 {
                now += Duration::from_secs_f64(13.0 / self.rate);
            }
            engine.advance(now, &mut |emission| note(&emission, &mut open, &mut done));
            let bytes = (self.prompt + normal(&mut rng)).exp();
            let characters = 200.0 * (0.5 * normal(&mut rng)).exp();
            let job = Job {
                prompt_tokens: (bytes / self.characters_per_token) as u32 + 1,
                reasoning_tokens: 0,
                output_tokens: (characters / self.characters_per_token) as u32 + 2,
                choices: 1,
            };
            let id = engine.submit(now, job).unwrap();
            let record = RequestRecord {
                time: Duration::from_secs(1_764_028_800) + now,
                upstream: "gpu".into(),
                method: "POST".into(),
                operation: "chat",
                model: Some(self.model.into()),
                stream: Some(true),
                status: Some(200),
                outcome: "ok",
                input_tokens: Some(u64::from(job.prompt_tokens)),
                bytes_up: bytes as u64 + 150,
                ..RequestRecord::default()
            };
            let numbers = SplitMix64::new(rng.next_u64());
            let new = SimulatedRequest {
                record,
                arrival: now,
                first: None,
                last: now,
                characters: 0,
                characters_per_token: self.characters_per_token,
                tokens: 0,
                numbers,
            };
            open.insert(id, new);
        }
        while let Some(next) = engine.next_event() {
            engine.advance(next, &mut |emission| note(&emission, &mut open, &mut done));
        }
        done
    }

    /// The request log of a Streamgauge in front of the server.
    pub fn log(&self) -> String {
        to_lines(&self.records())
    }
}

/// Records in the format of a request log.
pub fn to_lines(records: &[RequestRecord]) -> String {
    records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
}

/// A reader of a log, with a name.
pub fn named_reader(name: &str, log: &str) -> (String, Cursor<Vec<u8>>) {
    (name.to_owned(), Cursor::new(log.as_bytes().to_vec()))
}

/// Close to the standard normal distribution: the sum of twelve uniform numbers, less its mean.
fn normal(rng: &mut SplitMix64) -> f64 {
    (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0
}

fn note(
    emission: &Emission,
    open: &mut BTreeMap<JobId, SimulatedRequest>,
    done: &mut Vec<RequestRecord>,
) {
    let at = emission.at;
    match emission.kind {
        EmissionKind::Started { queue_wait, .. } => {
            let record = &mut open.get_mut(&emission.job).unwrap().record;
            record.queue_s = Some(queue_wait.as_secs_f64());
            record.queue_source = Some("reported");
        }
        EmissionKind::Token { .. } => {
            let it = open.get_mut(&emission.job).unwrap();
            // One character, and up to twice the rest of the mean, rounded at random.
            let more = it.numbers.unit() * 2.0 * (it.characters_per_token - 1.0);
            it.characters += 1 + (more + it.numbers.unit()) as u64;
            it.tokens += 1;
            if it.first.is_none() {
                it.first = Some((at, it.characters));
            } else {
                let gap = (at - it.last).as_secs_f64();
                it.record.max_gap_s = Some(it.record.max_gap_s.unwrap_or(0.0).max(gap));
            }
            it.last = at;
        }
        EmissionKind::Finished => done.push(open.remove(&emission.job).unwrap().record(at)),
    }
}

impl SimulatedRequest {
    fn record(self, end: Duration) -> RequestRecord {
        let (first, first_characters) = self.first.unwrap();
        let span = (self.last - first).as_secs_f64();
        let since = |at: Duration| (at - self.arrival).as_secs_f64();
        RequestRecord {
            ttft_s: Some(since(first)),
            answer_s: Some(since(first)),
            latency_s: Some(since(self.last)),
            duration_s: since(end),
            tpot_s: Some(span / (self.tokens - 1) as f64),
            characters_per_second: Some((self.characters - first_characters) as f64 / span),
            output_tokens: Some(self.tokens),
            output_tokens_source: Some(TokenSource::Usage),
            answer_chars: Some(self.characters),
            reasoning_chars: Some(0),
            tool_chars: Some(0),
            ..self.record
        }
    }
}
