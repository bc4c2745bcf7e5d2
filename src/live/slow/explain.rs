//! Explains a request: compares its parts with their baselines, and puts the unusual one into a sentence.

use super::baseline::{Baselines, ComparedRequest, PartBaseline};
use super::parts::{MeasuredPart, PartKind, measured_parts, part_units};
use super::{RequestPart, rounded};
use crate::metrics::RequestPhase;
use crate::readable;
use crate::tap::InFlightRequest;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::meter::{Outcome, RequestRecord};

/// A request is slow if it took this many times its baseline,
const SLOW_RATIO: f64 = 1.5;
/// and this much longer, in seconds.
pub(super) const SLOW_EXCESS: f64 = 0.1;
/// An overlapping part explains another one if it is at least this share of the excess.
const EXPLAINING_SHARE: f64 = 0.5;
/// Shortest wait for the first output, and shortest silence, for which a running request is listed. Seconds.
const SLOW_RUNNING: f64 = 2.0;

/// A request compared with its baselines.
#[derive(Debug, Clone)]
pub(super) struct Explanation<'a> {
    parts: Vec<ComparedPart>,
    subject: Subject<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    Ended(&'a RequestRecord),
    Running,
}

/// A part and its baseline in seconds.
#[derive(Debug, Clone, Copy)]
struct ComparedPart {
    part: MeasuredPart,
    usual: Option<PartBaseline>,
    /// The baseline is that of the whole wait for the first output.
    is_whole_wait: bool,
}

impl ComparedPart {
    /// How much longer than usual it took. Parts that never happen otherwise have no baseline and are unusual as a whole.
    fn excess(&self) -> f64 {
        let expected = match self.usual {
            Some(usual) => usual.median,
            // Nobody knows what is usual, except that nobody waits for a cold start or a client usually.
            None if self.part.kind == PartKind::ColdStart => 0.0,
            None => self.part.length,
        };
        self.part.length - expected
    }
}

impl<'a> Explanation<'a> {
    /// Compares an ended request.
    pub fn of_record(record: &'a RequestRecord, model: &Arc<str>, baselines: &Baselines) -> Self {
        let compared = ComparedRequest {
            id: record.id,
            upstream: &record.upstream,
            model,
            input_tokens: record.input_tokens,
        };
        let compare = |part: MeasuredPart| {
            let units = part_units(part.kind, record);
            let usual = |kind| baselines.usual(kind, compared);
            let own = usual(part.kind)
                .map(|usual| PartBaseline { median: usual.median * units, ..usual });
            let is_wait =
                matches!(part.kind, PartKind::Queue | PartKind::Prefill | PartKind::ColdStart);
            let whole = if own.is_none() && is_wait { usual(PartKind::FirstOutput) } else { None };
            ComparedPart { part, usual: own.or(whole), is_whole_wait: whole.is_some() }
        };
        let parts = measured_parts(record).into_iter().map(compare).collect();
        Self { parts, subject: Subject::Ended(record) }
    }

    /// Compares a running request. `None` if nothing about it is unusual.
    pub fn of_running(
        request: &InFlightRequest,
        upstream: &Arc<str>,
        now: Duration,
        baselines: &Baselines,
    ) -> Option<Self> {
        let no_model: Arc<str> = crate::metrics::OTHER.into();
        let model = request.model.as_ref().unwrap_or(&no_model);
        let compared = ComparedRequest { id: request.id, upstream, model, input_tokens: None };
        let since = |at: Duration| at.saturating_sub(request.started_at).as_secs_f64();
        let age = since(now);
        let sent = request.sent.map(since);
        let mut parts = Vec::new();
        let mut add = |kind, start: f64, end: f64| {
            let part = MeasuredPart { kind, start, length: (end - start).max(0.0) };
            let usual = baselines.usual(kind, compared);
            parts.push(ComparedPart { part, usual, is_whole_wait: false });
        };
        let silence = request.silence.map(|silence| silence.as_secs_f64());
        match (request.phase, sent) {
            (RequestPhase::Sending, _) | (_, None) => add(PartKind::Upload, 0.0, age),
            (RequestPhase::Waiting, Some(sent)) => {
                add(PartKind::Upload, 0.0, sent);
                add(PartKind::FirstOutput, sent, age);
            }
            (RequestPhase::Streaming, Some(sent)) => {
                add(PartKind::Upload, 0.0, sent);
                if let Some(silence) = silence {
                    add(PartKind::LongestGap, age - silence, age);
                }
            }
        }
        let current = parts.last()?;
        let usual = current.usual.map_or(0.0, |usual| usual.median);
        let is_slow = current.part.length >= SLOW_RUNNING.max(3.0 * usual)
            && current.part.kind != PartKind::Upload;
        is_slow.then_some(Self { parts, subject: Subject::Running })
    }

    /// Duration of the parts divided by their baselines. Parts without a baseline count as usual.
    pub fn slowness(&self) -> Option<f64> {
        let (length, usual) = self.sums()?;
        Some(length / usual.max(1e-3))
    }

    /// Duration of the parts beyond their baselines, in seconds. Parts without a baseline count as usual.
    pub fn beyond_usual(&self) -> Option<f64> {
        let (length, usual) = self.sums()?;
        Some(length - usual)
    }

    fn sums(&self) -> Option<(f64, f64)> {
        let in_order = || self.parts.iter().filter(|one| !one.part.kind.overlaps());
        in_order().find(|one| one.usual.is_some())?;
        let length = in_order().map(|one| one.part.length).sum::<f64>();
        Some((length, length - in_order().map(ComparedPart::excess).sum::<f64>()))
    }

    /// Whether the request took much longer than its baseline.
    pub fn is_slow(&self) -> bool {
        self.sums().is_some_and(|(length, usual)| {
            length >= SLOW_RATIO * usual && length - usual >= SLOW_EXCESS
        })
    }

    /// The part that exceeds its baseline most.
    pub fn unusual(&self) -> Option<PartKind> {
        self.unusual_part().map(|one| one.part.kind)
    }

    fn unusual_part(&self) -> Option<&ComparedPart> {
        let part = |kind| self.parts.iter().find(|one| one.part.kind == kind);
        if let Subject::Running = self.subject {
            return self.parts.last();
        }
        let in_order = self.parts.iter().filter(|one| !one.part.kind.overlaps());
        let worst = in_order.max_by(|one, two| one.excess().total_cmp(&two.excess()))?;
        let excess = worst.excess();
        if excess < SLOW_EXCESS / 2.0 {
            return None;
        }
        // A client that reads slowly, or a server that stalls, makes the output longer.
        if matches!(
            worst.part.kind,
            PartKind::Reasoning | PartKind::Answer | PartKind::End | PartKind::Response
        ) {
            for kind in [PartKind::ClientStall, PartKind::LongestGap] {
                let explaining =
                    part(kind).filter(|one| one.part.length >= EXPLAINING_SHARE * excess);
                // The gap before a quick end is no stall.
                if let Some(one) = explaining
                    && one.usual.is_none_or(|usual| one.part.length >= SLOW_RATIO * usual.median)
                {
                    return Some(one);
                }
            }
        }
        Some(worst)
    }

    /// The parts as the list has them.
    pub fn into_parts(self) -> Vec<RequestPart> {
        let part = |ComparedPart { part, usual, .. }: ComparedPart| RequestPart {
            kind: part.kind,
            start_s: (!part.kind.overlaps()).then(|| rounded(part.start)),
            duration_s: rounded(part.length),
            usual_s: usual.map(|usual| rounded(usual.median)),
            samples: usual.map_or(0, |usual| u32::try_from(usual.samples).unwrap_or(u32::MAX)),
            is_same_size: usual.is_some_and(|usual| usual.is_same_size),
        };
        self.parts.into_iter().map(part).collect()
    }

    /// One sentence about the request. `cause`: why its upstream could not be reached.
    pub fn sentence(&self, cause: Option<&str>) -> String {
        let record = match self.subject {
            Subject::Running => return self.running_sentence(),
            Subject::Ended(record) => record,
        };
        let duration = seconds(record.duration_s);
        if Outcome::is_failure_label(record.outcome) {
            return failure_sentence(record, cause);
        }
        let Some(worst) = self.unusual_part() else {
            return format!("Took {duration}. No part of it was unusual.");
        };
        let mut sentence = self.part_sentence(worst, record);
        if record.outcome.starts_with("client_gone") {
            sentence = match record.ttft_s {
                None => format!("The client gave up after {duration} without output. {sentence}"),
                Some(_) => format!("The client left after {duration}. {sentence}"),
            };
        }
        sentence
    }

    fn part_sentence(&self, worst: &ComparedPart, record: &RequestRecord) -> String {
        let length = seconds(worst.part.length);
        let tokens = |count: Option<u64>| {
            count.map(|count| format!(" for {} tokens", readable::whole(count as f64)))
        };
        let done = match worst.part.kind {
            PartKind::EdgeWait => format!("Waited {length} in a gateway before Streamgauge"),
            PartKind::Connect => format!("Opening a connection to the server took {length}"),
            PartKind::Upload => format!("Sending the request to the server took {length}"),
            PartKind::Queue => format!("Waited {length} in the server's queue"),
            PartKind::Prefill => {
                let input = tokens(record.input_tokens).unwrap_or_default();
                format!("Prefill took {length}{}", input.replace("for", "for a prompt of"))
            }
            PartKind::FirstOutput => format!("Waited {length} for the first output"),
            PartKind::ColdStart => {
                let reason = cold_reason(record.cold_reason);
                let usual = worst.usual.map(|usual| {
                    format!("; a warm request of this model waits {}", seconds(usual.median))
                });
                let usual = usual.unwrap_or_default();
                return format!("Waited {length} for a cold start: {reason}{usual}.");
            }
            PartKind::Reasoning => format!("Reasoning before the answer took {length}"),
            PartKind::Answer | PartKind::Response => {
                let output = tokens(record.output_tokens).unwrap_or_default();
                format!("Generating the answer took {length}{output}")
            }
            PartKind::End => format!("The response ended {length} after its last output"),
            PartKind::LongestGap => {
                format!("The server sent no output for {length} within the response")
            }
            PartKind::ClientStall => format!("The client accepted no bytes for {length}"),
        };
        format!("{done}{}.", usual_clause(worst))
    }

    fn running_sentence(&self) -> String {
        let Some(current) = self.parts.last() else { return String::new() };
        let length = seconds(current.part.length);
        let done = match current.part.kind {
            PartKind::LongestGap => format!("Still running: no output for {length}"),
            _ => format!("Still running: has waited {length} for its first output"),
        };
        format!("{done}{}.", usual_clause(current))
    }
}

/// The clause with the baseline, at the end of a sentence.
fn usual_clause(part: &ComparedPart) -> String {
    let Some(usual) = part.usual else { return String::new() };
    let scope = match part.part.kind {
        PartKind::Prefill | PartKind::FirstOutput if usual.is_same_size => {
            "for this model and input size"
        }
        PartKind::Prefill => "for prompts of other sizes",
        kind if kind.is_per_token() => "for this model and output",
        _ => "for this model",
    };
    match part.part.kind {
        _ if part.is_whole_wait => {
            let wait = seconds(usual.median);
            format!("; the usual wait for the first output of this model is {wait}")
        }
        // A client that takes everything at once has none.
        PartKind::ClientStall if usual.median < 0.001 => String::new(),
        PartKind::LongestGap => {
            format!("; the usual longest gap of this model is {}", seconds(usual.median))
        }
        _ => format!("; usual {scope} is {}", seconds(usual.median)),
    }
}

fn failure_sentence(record: &RequestRecord, cause: Option<&str>) -> String {
    let duration = seconds(record.duration_s);
    let status = record.status.map(|status| format!(" with status {status}")).unwrap_or_default();
    let tokens = match record.output_tokens.or(record.output_events) {
        Some(count @ 1..) => format!(" and {count} output tokens"),
        _ => " without output".to_owned(),
    };
    let silence = match record.max_gap_s {
        Some(gap) if gap >= 1.0 => format!("; its longest silence was {}", seconds(gap)),
        _ => String::new(),
    };
    match record.outcome {
        "upstream_unreachable" => match cause {
            Some(cause) => format!("The server could not be reached: {cause}."),
            None => "The server could not be reached.".to_owned(),
        },
        "truncated" => format!("The response broke off after {duration}{tokens}{silence}."),
        "timeout" => format!("A time limit ended the request after {duration}{tokens}{silence}."),
        "rejected" => format!("The server rejected the request{status} after {duration}."),
        "server_error" => format!("The server failed{status} after {duration}."),
        "stream_error" => {
            format!("The server reported an error within the response, after {duration}{tokens}.")
        }
        "proxy_rejected" => "Streamgauge had too many connections.".to_owned(),
        "proxy_shutdown" => {
            format!("The shutdown of Streamgauge cut the request after {duration}.")
        }
        outcome => format!("The request failed after {duration}: {outcome}."),
    }
}

/// Cause of a cold start in words.
pub(in crate::live) fn cold_reason(reason: Option<&str>) -> &'static str {
    match reason {
        Some("boot") => "the server was still starting",
        Some("restarted") => "the server had restarted",
        Some("unreachable") => "the server had been scaled to zero or stopped",
        Some("loading" | "reported_load") => "the server was loading the model",
        Some("idle") => "the first request after an idle time",
        Some("swapped") => "another model was used before",
        _ => "the server was not ready",
    }
}

/// A time with its unit, in three digits.
pub(in crate::live) fn seconds(value: f64) -> String {
    match value {
        ..0.000_005 => "0 ms".to_owned(),
        ..0.000_95 => format!("{:.2} ms", value * 1e3),
        ..0.0995 => format!("{:.1} ms", value * 1e3),
        ..0.9995 => format!("{:.0} ms", value * 1e3),
        ..9.995 => format!("{value:.2} s"),
        ..99.95 => format!("{value:.1} s"),
        _ => format!("{value:.0} s"),
    }
}
