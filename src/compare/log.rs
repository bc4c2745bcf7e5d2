//! Reads a request log: what a comparison needs of each line, in bounded memory.

use super::quantity::TABLE;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::time::SystemTime;
use streamgauge_core::dialect::route::Operation;
use strum::VariantArray;

/// Most requests kept of a log, some 50 MB: of more, every second one is let go, as often as it takes.
const KEPT: usize = 1 << 18;
/// Most bytes of a line.
const LONGEST: u64 = 1 << 20;
/// Most different names kept of a kind.
const NAMES: usize = 100;

/// A line of the request log, as far as it matters here. What an older version does not write is absent.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    stream: bool,
    pub duration_s: f64,
    pub bytes_up: u64,
    upstream: Option<Cow<'a, str>>,
    engine: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    response_model: Option<Cow<'a, str>>,
    cold: Option<bool>,
    #[serde(default)]
    degraded: bool,
    pub characters_per_second: Option<f64>,
    pub ttft_s: Option<f64>,
    pub answer_s: Option<f64>,
    pub tpot_s: Option<f64>,
    pub max_gap_s: Option<f64>,
    pub queue_s: Option<f64>,
    pub queue_source: Option<Cow<'a, str>>,
    pub input_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub output_tokens_source: Option<Cow<'a, str>>,
    pub reasoning_tokens: Option<u64>,
    pub answer_chars: Option<u64>,
    pub reasoning_chars: Option<u64>,
    pub tool_chars: Option<u64>,
}

/// How a request ended, as far as a comparison tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    /// The server's fault.
    Failed,
    /// The client left first.
    Left,
    /// The client's fault, or ours.
    Other,
}

impl Ending {
    fn of(outcome: &str) -> Self {
        match outcome {
            "ok" => Self::Ok,
            "rejected"
            | "server_error"
            | "stream_error"
            | "truncated"
            | "upstream_unreachable"
            | "timeout" => Self::Failed,
            gone if gone.starts_with("client_gone") => Self::Left,
            _ => Self::Other,
        }
    }
}

/// What is compared with its like only: an operation, streamed or not.
pub(super) type Kind = (&'static str, bool);

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Seconds since 1970.
    pub time: f64,
    pub duration: f64,
    pub kind: Kind,
    /// The class of its size.
    pub stratum: i16,
    pub ending: Ending,
    pub cold: Option<bool>,
    /// The values of [`TABLE`]; NaN is absent.
    values: [f64; TABLE.len()],
}

impl Request {
    /// Its value of the quantity at this place of [`TABLE`].
    pub fn value(&self, quantity: usize) -> Option<f64> {
        self.values.get(quantity).copied().filter(|value| value.is_finite())
    }
}

/// Which requests of a log are looked at.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The model asked for, or the one that answered.
    pub model: Option<String>,
    pub operation: Option<String>,
    /// The configured name.
    pub upstream: Option<String>,
}

impl Selection {
    fn takes(&self, line: &Line<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted.is_none() || wanted.as_deref() == found.as_deref()
        };
        (is(&self.model, &line.model) || is(&self.model, &line.response_model))
            && is(&self.upstream, &line.upstream)
            && self.operation.as_ref().is_none_or(|wanted| *wanted == line.operation)
    }
}

/// The names that came, in the order of the alphabet.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those that answered, or were asked for where the answer does not say.
    pub models: BTreeSet<String>,
    pub upstreams: BTreeSet<String>,
    pub engines: BTreeSet<String>,
    pub operations: BTreeSet<String>,
}

impl Names {
    fn note(&mut self, line: &Line<'_>) {
        for (names, name) in [
            (&mut self.models, line.response_model.as_ref().or(line.model.as_ref())),
            (&mut self.upstreams, line.upstream.as_ref()),
            (&mut self.engines, line.engine.as_ref()),
            (&mut self.operations, Some(&line.operation)),
        ] {
            if let Some(name) = name
                && names.len() < NAMES
                && !names.contains(&**name)
            {
                names.insert(name.to_string());
            }
        }
    }
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// In the order of their time.
    pub requests: Vec<Request>,
    /// One of so many requests was kept.
    pub stride: u64,
    pub lines: u64,
    /// Lines that are no request.
    pub bad: u64,
    /// The first of them: its number from 1, and what is wrong with it.
    pub first_bad: Option<(u64, String)>,
    /// Requests that the selection leaves out.
    pub unselected: u64,
    /// Those that are no inference, and sessions of many responses.
    pub other: u64,
    pub selected: u64,
    pub degraded: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    /// Complete requests whose tokens the server did not count.
    pub uncounted: u64,
    /// Complete requests that had output.
    pub answered: u64,
    /// Of them, those whose line does not tell whether they met a cold server.
    pub untold: u64,
    /// Of the selected requests; of all, if none is.
    pub names: Names,
}

impl Log {
    /// Reads it to its end.
    ///
    /// # Errors
    /// Those of the source.
    pub fn read(source: impl BufRead, selection: &Selection) -> io::Result<Self> {
        Self::read_within(KEPT, source, selection)
    }

    fn read_within(
        kept: usize,
        mut source: impl BufRead,
        selection: &Selection,
    ) -> io::Result<Self> {
        let mut log = Self { stride: 1, ..Self::default() };
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if source.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let is_whole = bytes.len() < LONGEST as usize || bytes.ends_with(b"\n");
            if !is_whole {
                source.skip_until(b'\n')?;
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            log.lines += 1;
            let read = match serde_json::from_slice::<Line<'_>>(&bytes) {
                _ if !is_whole => Err("it is longer than 1 MiB".to_owned()),
                Ok(line) => log.line(kept, &line, selection),
                Err(error) => Err(without_place(&error)),
            };
            if let Err(reason) = read {
                log.bad += 1;
                log.first_bad.get_or_insert((number, reason));
            }
        }
        log.requests.sort_by(|a, b| a.time.total_cmp(&b.time));
        Ok(log)
    }

    fn line(&mut self, kept: usize, line: &Line<'_>, selection: &Selection) -> Result<(), String> {
        let time = humantime::parse_rfc3339(&line.time)
            .ok()
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .ok_or_else(|| format!("{:?} is no time", line.time))?;
        let operation =
            Operation::VARIANTS.iter().copied().find(|known| known.label() == line.operation);
        let Some(operation) = operation
            .filter(|operation| operation.is_inference() && *operation != Operation::Realtime)
        else {
            self.other += 1;
            return Ok(());
        };
        let is_selected = selection.takes(line);
        if is_selected && self.selected == 0 {
            self.names = Names::default();
        }
        if is_selected || self.selected == 0 {
            self.names.note(line);
        }
        if !is_selected {
            self.unselected += 1;
            return Ok(());
        }
        self.selected += 1;
        self.degraded += u64::from(line.degraded);
        let ending = Ending::of(&line.outcome);
        if ending == Ending::Ok {
            if let Some(input) = line.input_tokens {
                self.input_tokens = self.input_tokens.saturating_add(input);
                let cached = line.cached_tokens.unwrap_or(0);
                self.cached_tokens = self.cached_tokens.saturating_add(cached);
            }
            self.uncounted += u64::from(line.output_tokens.is_some() && line.counted().is_none());
            // What is not streamed is its own output.
            let is_answered = !line.stream || line.ttft_s.is_some();
            self.answered += u64::from(is_answered);
            self.untold += u64::from(is_answered && line.cold.is_none());
        }
        let is_on_stride = |stride| (self.selected - 1).is_multiple_of(stride);
        if self.requests.len() == kept && is_on_stride(self.stride) {
            let mut at = 0;
            self.requests.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
        if !is_on_stride(self.stride) {
            return Ok(());
        }
        self.requests.push(Request {
            time: time.as_secs_f64(),
            duration: line.duration_s,
            kind: (operation.label(), line.stream),
            stratum: stratum(line.bytes_up),
            ending,
            cold: line.cold,
            values: std::array::from_fn(|at| {
                TABLE.get(at).and_then(|quantity| (quantity.of)(line)).unwrap_or(f64::NAN)
            }),
        });
        Ok(())
    }

    /// Requests in flight on average: by Little's law those that come in a second, times how long one takes.
    pub fn in_flight(&self) -> Option<f64> {
        let sum: f64 = self.requests.iter().map(|request| request.duration).sum();
        Some(self.rate()? * sum / self.requests.len() as f64)
    }

    /// Requests that come in a second.
    pub fn rate(&self) -> Option<f64> {
        let (start, end) = self.period()?;
        (end > start).then(|| self.selected as f64 / (end - start))
    }

    /// From the first arrival to the last end, in seconds since 1970.
    pub fn period(&self) -> Option<(f64, f64)> {
        let end = |request: &Request| request.time + request.duration;
        Some((self.requests.first()?.time, self.requests.iter().map(end).fold(0.0, f64::max)))
    }
}

impl Line<'_> {
    /// Output tokens, where the server counted them.
    pub fn counted(&self) -> Option<u64> {
        self.output_tokens.filter(|_| self.output_tokens_source.as_deref() != Some("events"))
    }

    /// Characters of the answer, of all kinds.
    pub fn characters(&self) -> Option<f64> {
        let others = [self.reasoning_chars, self.tool_chars].into_iter().flatten();
        let all = self.answer_chars? as f64 + others.map(|count| count as f64).sum::<f64>();
        (all > 0.0).then_some(all)
    }
}

/// What is wrong with a line, as serde_json has it; its `line 1` would be taken for the file's.
fn without_place(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let reason = said.split(" at line ").next().unwrap_or_default();
    format!("{reason}, at column {}", error.column())
}

/// The class of a request by its bytes, two to each power of two: the same for every tokenizer. 16 is
/// that from 256 bytes, 17 that from 362, 18 that from 512.
fn stratum(bytes: u64) -> i16 {
    (2.0 * (bytes.max(1) as f64).log2()).floor() as i16
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
