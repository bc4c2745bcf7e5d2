//! Reads a request log in bounded memory.

use super::log_line::LogLine;
use super::quantity::QUANTITIES;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::time::SystemTime;
use streamgauge_core::dialect::route::Operation;
use strum::VariantArray;

/// Maximum number of requests in memory, about 50 MB. At the limit, every second one is dropped and the sampling
/// stride doubles.
const MAX_REQUESTS: usize = 1 << 18;
/// Maximum length of a line, in bytes.
const MAX_LINE: u64 = 1 << 20;
/// Maximum number of names in each set of [`LogNames`].
const MAX_NAMES: usize = 100;

/// How a request ended, as a comparison distinguishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestEnding {
    Ok,
    /// The server failed.
    Failed,
    /// The client disconnected.
    ClientGone,
    /// The client or Streamgauge caused the failure.
    Other,
}

impl RequestEnding {
    fn of(outcome: &str) -> Self {
        match outcome {
            "ok" => Self::Ok,
            "rejected"
            | "server_error"
            | "stream_error"
            | "truncated"
            | "upstream_unreachable"
            | "timeout" => Self::Failed,
            gone if gone.starts_with("client_gone") => Self::ClientGone,
            _ => Self::Other,
        }
    }
}

/// Operation, and whether the response is streamed. Only requests of the same kind are compared.
pub(super) type OperationMode = (&'static str, bool);

/// One request.
#[derive(Debug, Clone)]
pub(super) struct LoggedRequest {
    /// Arrival time, in seconds since 1970.
    pub time: f64,
    pub duration: f64,
    pub kind: OperationMode,
    /// Class of the request size; see [`size_class`].
    pub size_class: i16,
    pub ending: RequestEnding,
    pub cold: Option<bool>,
    /// The values of [`QUANTITIES`]; NaN means absent.
    values: [f64; QUANTITIES.len()],
}

impl LoggedRequest {
    /// Value of the quantity at this index of [`QUANTITIES`].
    pub fn value(&self, quantity: usize) -> Option<f64> {
        self.values.get(quantity).copied().filter(|value| value.is_finite())
    }
}

/// Filter for the requests of a log.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The requested model or the model in the response.
    pub model: Option<String>,
    /// Operation of the request.
    pub operation: Option<String>,
    /// The configured name of the upstream.
    pub upstream: Option<String>,
}

impl Selection {
    fn matches(&self, line: &LogLine<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted.is_none() || wanted.as_deref() == found.as_deref()
        };
        (is(&self.model, &line.model) || is(&self.model, &line.response_model))
            && is(&self.upstream, &line.upstream)
            && self.operation.as_ref().is_none_or(|wanted| *wanted == line.operation)
    }
}

/// LogNames found in a log, sorted.
#[derive(Debug, Default)]
pub(super) struct LogNames {
    /// Models in the responses, or requested models if the response has none.
    pub models: BTreeSet<String>,
    pub upstreams: BTreeSet<String>,
    pub engines: BTreeSet<String>,
    pub operations: BTreeSet<String>,
}

impl LogNames {
    fn add(&mut self, line: &LogLine<'_>) {
        for (names, name) in [
            (&mut self.models, line.response_model.as_ref().or(line.model.as_ref())),
            (&mut self.upstreams, line.upstream.as_ref()),
            (&mut self.engines, line.engine.as_ref()),
            (&mut self.operations, Some(&line.operation)),
        ] {
            if let Some(name) = name
                && names.len() < MAX_NAMES
                && !names.contains(&**name)
            {
                names.insert(name.to_string());
            }
        }
    }
}

/// The content of a request log.
#[derive(Debug, Default)]
pub(super) struct LogContent {
    /// Sampled requests, in order of arrival.
    pub requests: Vec<LoggedRequest>,
    /// One of `stride` requests is in `requests`.
    pub stride: u64,
    pub lines: u64,
    /// Number of lines that are not requests.
    pub bad: u64,
    /// Number (from 1) and error of the first such line.
    pub first_bad: Option<(u64, String)>,
    /// Number of requests that the selection excludes.
    pub unselected: u64,
    /// Number of requests that are not inference, plus realtime sessions, plus requests that failed before it was known
    /// whether they request a stream.
    pub other: u64,
    pub selected: u64,
    pub degraded: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    /// Number of complete requests without a token count from the server.
    pub uncounted: u64,
    /// Number of complete requests with output.
    pub answered: u64,
    /// Number of those without a value for `cold`.
    pub without_cold: u64,
    /// LogNames in the selected requests, or in all requests if none is selected.
    pub names: LogNames,
}

impl LogContent {
    /// Reads a log to its end.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn read(source: impl BufRead, selection: &Selection) -> io::Result<Self> {
        Self::read_within(MAX_REQUESTS, source, selection)
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
            if source.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let is_whole = bytes.len() < MAX_LINE as usize || bytes.ends_with(b"\n");
            if !is_whole {
                source.skip_until(b'\n')?;
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            log.lines += 1;
            let read = match serde_json::from_slice::<LogLine<'_>>(&bytes) {
                _ if !is_whole => Err("longer than 1 MiB".to_owned()),
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

    fn line(
        &mut self,
        kept: usize,
        line: &LogLine<'_>,
        selection: &Selection,
    ) -> Result<(), String> {
        let time = humantime::parse_rfc3339(&line.time)
            .ok()
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .ok_or_else(|| format!("{:?} is not an RFC 3339 time", line.time))?;
        let operation =
            Operation::VARIANTS.iter().copied().find(|known| known.label() == line.operation);
        let operation = operation
            .filter(|operation| operation.is_inference() && *operation != Operation::Realtime);
        let (Some(operation), Some(stream)) = (operation, line.stream) else {
            self.other += 1;
            return Ok(());
        };
        let is_selected = selection.matches(line);
        if is_selected && self.selected == 0 {
            self.names = LogNames::default();
        }
        if is_selected || self.selected == 0 {
            self.names.add(line);
        }
        if !is_selected {
            self.unselected += 1;
            return Ok(());
        }
        self.selected += 1;
        self.degraded += u64::from(line.degraded);
        let ending = RequestEnding::of(&line.outcome);
        if ending == RequestEnding::Ok {
            if let Some(input) = line.input_tokens {
                self.input_tokens = self.input_tokens.saturating_add(input);
                let cached = line.cached_tokens.unwrap_or(0);
                self.cached_tokens = self.cached_tokens.saturating_add(cached);
            }
            self.uncounted += u64::from(line.output_tokens.is_some() && line.counted().is_none());
            // A response that is not streamed has output.
            let is_answered = !stream || line.ttft_s.is_some();
            self.answered += u64::from(is_answered);
            self.without_cold += u64::from(is_answered && line.cold.is_none());
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
        self.requests.push(LoggedRequest {
            time: time.as_secs_f64(),
            duration: line.duration_s,
            kind: (operation.label(), stream),
            size_class: size_class(line.bytes_up),
            ending,
            cold: line.cold,
            values: std::array::from_fn(|at| {
                QUANTITIES.get(at).and_then(|quantity| (quantity.of)(line)).unwrap_or(f64::NAN)
            }),
        });
        Ok(())
    }

    /// Mean number of requests in flight, by Little's law: arrival rate times mean duration.
    pub fn in_flight(&self) -> Option<f64> {
        let sum: f64 = self.requests.iter().map(|request| request.duration).sum();
        Some(self.rate()? * sum / self.requests.len() as f64)
    }

    /// Arrival rate, in requests per second.
    pub fn rate(&self) -> Option<f64> {
        let (start, end) = self.period()?;
        (end > start).then(|| self.selected as f64 / (end - start))
    }

    /// First arrival and last end, in seconds since 1970.
    pub fn period(&self) -> Option<(f64, f64)> {
        let end = |request: &LoggedRequest| request.time + request.duration;
        Some((self.requests.first()?.time, self.requests.iter().map(end).fold(0.0, f64::max)))
    }
}

/// The error of serde_json without its `line 1`, which readers would mistake for a line of the file.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    format!("{reason}, at column {}", error.column())
}

/// Class of a request size: two classes per power of two of bytes, which do not depend on a tokenizer. Class 16
/// starts at 256 bytes, 17 at 362, 18 at 512.
fn size_class(bytes: u64) -> i16 {
    (2.0 * (bytes.max(1) as f64).log2()).floor() as i16
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
