//! A recorded response as Streamgauge measures it.

use super::events::{ExplainedEvents, count};
use super::recording::RecordedResponse;
use std::time::Duration;
use streamgauge_core::dialect::response_headers::HeaderFacts;
use streamgauge_core::dialect::{Dialect, UnparsedReason};
use streamgauge_core::meter::{
    Arrival, EndCause, EndedRequest, LiveSample, Outcome, ResponseMeter, ResponseTokens,
};
use streamgauge_core::wire::framing::Framing;

/// Value of the line `dialect` if no format was recognised.
const NO_DIALECT: &str =
    "none: the events are of no known API; to describe it, see [[api]] in config/streamgauge.toml";

/// Recorded response, read in a dialect.
#[derive(Debug)]
pub struct ExplainedResponse {
    /// Events, one by one.
    pub events: ExplainedEvents,
    /// Measurement of the whole response.
    pub meter: ResponseMeter,
    /// Reasons for which a part was not parsed.
    pub unparsed: Vec<UnparsedReason>,
    /// Status of the response; 200 if it is not recorded.
    pub status: u16,
}

impl ExplainedResponse {
    /// Reads a recording in this dialect. `content_type` replaces the recorded type.
    ///
    /// # Errors
    /// If the memory for decoding is exhausted.
    pub fn read(
        dialect: &'static Dialect,
        recording: &RecordedResponse,
        content_type: Option<&str>,
    ) -> Result<Self, UnparsedReason> {
        let recorded = recording.header("content-type");
        let declared =
            Framing::from_content_type(content_type.unwrap_or(recorded.as_str()).as_bytes());
        let encoding = recording.header("content-encoding").into_bytes();
        let mut meter = ResponseMeter::with_framing(dialect, declared, &encoding)?;
        let mut unparsed = Vec::new();
        let sink = &mut |sample: LiveSample<'_>| {
            if let LiveSample::Unparsed(reason) = sample {
                unparsed.push(reason);
            }
        };
        meter.push(Arrival::on_time(Duration::ZERO, 0), &recording.body, sink);
        meter.finish(true, sink);
        let mut headers = HeaderFacts::default();
        for (name, value) in recording.head.iter().flat_map(|head| &head.headers) {
            headers.record_header(name, value.as_bytes());
        }
        meter.set_header_facts(&headers);
        let events =
            ExplainedEvents::read(dialect, declared, &encoding, &recording.body, meter.is_stream());
        let status = recording.head.as_ref().map_or(200, |head| head.status);
        Ok(Self { events, meter, unparsed, status })
    }

    /// Whether any event has output.
    pub fn has_output(&self) -> bool {
        self.events.events.iter().any(|event| event.has_output)
    }

    /// Whether the stream ends without the end marker that its API requires.
    pub fn lacks_end(&self) -> bool {
        self.meter.needs_terminator() && !self.meter.tally().is_complete()
    }

    /// Outcome of the request if the body ended as HTTP requires.
    pub fn outcome(&self) -> Outcome {
        let tally = self.meter.tally();
        let ended = EndedRequest {
            cause: EndCause::Complete,
            status: Some(self.status),
            has_output: self.has_output(),
            has_error: self.meter.error_kind(EndCause::Complete).is_some(),
            is_complete: self.meter.is_stream() && tally.is_complete(),
            needs_terminator: self.meter.needs_terminator(),
            grpc_status: None,
        };
        ended.outcome()
    }

    /// Token counts and their sources.
    pub fn tokens(&self) -> ResponseTokens {
        ResponseTokens::from_tally(self.meter.tally(), self.meter.is_stream())
    }

    /// Name and value of each line of the summary.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let tally = self.meter.tally();
        let mut lines = vec![
            ("dialect", self.meter.dialect().unwrap_or(NO_DIALECT).to_owned()),
            ("framing", self.events.framing.map_or("unknown", framing_name).to_owned()),
        ];
        if self.meter.is_stream() {
            lines.push(("events", tally.events.to_string()));
            let place = tally.first_output_event().zip(tally.last_output_event());
            let place = place.map_or(String::new(), |(first, last)| match first == last {
                true => format!(" (event {})", first + 1),
                false => format!(" (first: event {}, last: event {})", first + 1, last + 1),
            });
            lines.push(("output events", format!("{}{place}", tally.output_events)));
        }
        lines.push(("output", self.output_text()));
        lines.push(("tokens", self.token_text()));
        let reasons = tally.finish_reasons().join(", ");
        lines.push(("finish reasons", if reasons.is_empty() { "none".into() } else { reasons }));
        lines.extend(tally.engine.map(|engine| ("engine", engine.label().to_owned())));
        lines.push(("complete", self.completeness().to_owned()));
        lines.push(("outcome", self.outcome_text()));
        lines.push(("not parsed", self.unparsed_text()));
        lines
    }

    fn output_text(&self) -> String {
        let tally = self.meter.tally();
        let kinds = [
            ("answer", tally.answer_chars),
            ("reasoning", tally.reasoning_chars),
            ("tool arguments", tally.tool_chars),
        ];
        let kinds = kinds.into_iter().filter(|(_, chars)| *chars > 0);
        let kinds: Vec<String> =
            kinds.map(|(kind, chars)| format!("{kind} {}", count(chars, "character"))).collect();
        match kinds.as_slice() {
            [] if self.has_output() => "without text".into(),
            [] => "none".into(),
            kinds => kinds.join(", "),
        }
    }

    fn token_text(&self) -> String {
        let tokens = self.tokens();
        let counts = [("input", tokens.input), ("output", tokens.output)];
        let counts = counts.into_iter().filter_map(|(kind, counted)| {
            let (number, source) = counted?;
            Some(format!("{kind} {number} (source {})", source.label()))
        });
        let parts = [("cached", tokens.cached), ("reasoning", tokens.reasoning)];
        let parts = parts.into_iter().filter_map(|(kind, n)| Some(format!("{kind} {}", n?)));
        let all: Vec<String> = counts.chain(parts).collect();
        if all.is_empty() { "none".into() } else { all.join(", ") }
    }

    fn outcome_text(&self) -> String {
        let outcome = self.outcome();
        let kind = self.meter.error_kind(EndCause::Complete).map(|kind| kind.label());
        let kind = kind.filter(|_| outcome == Outcome::StreamError);
        let kind = kind.map_or(String::new(), |kind| format!(" ({kind})"));
        format!("{}{kind}, if the body ended cleanly", outcome.label())
    }

    fn completeness(&self) -> &'static str {
        match (self.meter.tally().is_complete(), self.meter.is_stream()) {
            (true, _) => "yes",
            (false, false) => "yes: the response is one document",
            (false, true) if self.lacks_end() => "no: the end of the stream is missing",
            (false, true) => "yes: the end of the body completes the stream",
        }
    }

    fn unparsed_text(&self) -> String {
        let mut reasons: Vec<(&str, u64)> = Vec::new();
        for reason in self.unparsed.iter().map(|reason| reason.label()) {
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, number)) => *number += 1,
                None => reasons.push((reason, 1)),
            }
        }
        let reasons: Vec<String> =
            reasons.iter().map(|(reason, n)| format!("{} ({reason})", count(*n, "part"))).collect();
        if reasons.is_empty() { "nothing".into() } else { reasons.join(", ") }
    }
}

fn framing_name(framing: Framing) -> &'static str {
    match framing {
        Framing::Sse => "server-sent events",
        Framing::Lines => "lines of JSON",
        Framing::JsonArray => "JSON array",
        Framing::AwsEventStream => "Amazon event stream",
        Framing::AwsNested => "stream inside of an Amazon event stream",
        Framing::AwsBase64 => "Amazon event stream with base64",
        Framing::LengthPrefixed => "gRPC messages",
        Framing::Document => "one document",
    }
}
