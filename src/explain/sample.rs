//! Recorded responses of configured APIs, which `check-config` reads.

use super::events::count;
use super::recording::RecordedResponse;
use super::response::ExplainedResponse;
use crate::config::{ApiSample, ConfigProblem, ConfiguredApi};
use std::fs;
use streamgauge_core::dialect::UnparsedReason;
use streamgauge_core::dialect::route::Operation;

/// Reads the sample of an API, if it has one. Returns a line that describes what was found.
///
/// # Errors
/// If the file cannot be read, or the API does not fit.
pub fn check_sample(api: &ConfiguredApi) -> Option<Result<String, ConfigProblem>> {
    let ApiSample { path, origin, key } = api.sample.as_ref()?;
    let read = match fs::read(path) {
        Ok(bytes) => describe(api, &bytes),
        Err(error) => Err(format!("cannot read the file ({error}); check the path")),
    };
    let name = api.dialect.name;
    Some(match read {
        Ok(found) => Ok(format!("api {name:?}: {} has {found}", path.display())),
        Err(message) => Err(ConfigProblem {
            origin: origin.clone(),
            key: key.clone(),
            value: format!("{path:?}"),
            message,
        }),
    })
}

/// Describes what the API finds in a recording.
fn describe(api: &ConfiguredApi, bytes: &[u8]) -> Result<String, String> {
    let recording = RecordedResponse::parse(bytes);
    if let Some(status) = recording.failed_status() {
        return Err(format!("the recorded status is {status}; record a successful response"));
    }
    let unread = |reason: UnparsedReason| {
        format!("the response is not parsed (reason: {}); check its headers", reason.label())
    };
    let response = ExplainedResponse::read(api.dialect, &recording, None).map_err(unread)?;
    if let (false, Some(reason)) = (response.meter.is_fully_read(), response.unparsed.first()) {
        return Err(unread(*reason));
    }
    let events = count(response.events.events.len() as u64, "event");
    let advice = format!("Run: streamgauge explain FILE --api {} --config FILE", api.dialect.name);
    let tokens = response.tokens();
    let generates = generates(api.route.operation);
    if generates && !response.has_output() {
        return Err(format!(
            "no output was found in {events}; check the places of text, reasoning, tool_arguments and \
             tool_name. {advice}"
        ));
    }
    if !generates && tokens.input.or(tokens.output).is_none() {
        return Err(format!(
            "no token count was found in {events}; check the place of input_tokens. {advice}"
        ));
    }
    if response.lacks_end() {
        return Err(format!(
            "the end of the stream was not found in {events}; check the place of end, or remove it if the end \
             of the body completes the stream. {advice}"
        ));
    }
    let summary = response.summary();
    let line = |name: &str| {
        let found = summary.iter().find(|(known, _)| *known == name);
        found.map_or(String::new(), |(_, value)| value.clone())
    };
    Ok(format!(
        "{events}; output: {}; tokens: {}; finish reasons: {}",
        line("output"),
        line("tokens"),
        line("finish reasons")
    ))
}

/// Whether the responses of an operation contain output. Those of the others contain token counts at most.
fn generates(operation: Operation) -> bool {
    match operation {
        Operation::Chat
        | Operation::TextCompletion
        | Operation::GenerateContent
        | Operation::Transcription
        | Operation::Speech
        | Operation::Image
        | Operation::Realtime
        | Operation::Infer => true,
        Operation::Embeddings
        | Operation::Rerank
        | Operation::Score
        | Operation::Classify
        | Operation::Tokenize
        | Operation::Moderation
        | Operation::Replay
        | Operation::Other => false,
    }
}
