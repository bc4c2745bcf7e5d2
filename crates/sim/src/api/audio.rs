//! OpenAI's audio: `/v1/audio/transcriptions` (the request is a form) and `/v1/audio/speech` (the response is sound).
//!
//! Source: OpenAI's reference.

use super::{FAILURE, OutputChunk, ResponseContext, ResponseWriter, WholeResponse};
use crate::content::ChoiceTexts;
use crate::frame_queue::FrameQueue;
use crate::request::RequestFields;
use crate::template::ResponseNumbers;

pub(super) const TRANSCRIPTIONS: RequestFields =
    RequestFields { limit: &[], ..RequestFields::PLAIN };

pub(super) const SPEECH: RequestFields =
    RequestFields { prompt: &["/input"], limit: &[], shows: false, ..RequestFields::PLAIN };

const USAGE: &str = r#""usage":{"type":"tokens","total_tokens":$total,"input_tokens":$input,"input_token_details":{"text_tokens":0,"audio_tokens":$input},"output_tokens":$output}"#;

/// Speech to text.
#[derive(Debug, Default)]
pub(super) struct AudioTranscription {
    text: String,
}

impl ResponseWriter for AudioTranscription {
    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        self.text.push_str(output.json);
        let delta = output.json;
        out.output(format!(
            "data: {{\"type\":\"transcript.text.delta\",\"delta\":\"{delta}\",\"logprobs\":[]}}\n\n"
        ));
    }

    fn finish(&mut self, account: &ResponseNumbers, out: &mut FrameQueue) {
        let (usage, reported) = account.fill(USAGE, &[]);
        let text = &self.text;
        out.report(reported);
        out.done(format!(
            "data: {{\"type\":\"transcript.text.done\",\"text\":\"{text}\",\"logprobs\":[],{usage}}}\n\n"
        ));
    }

    fn fail(&mut self, out: &mut FrameQueue) {
        out.plain(format!("data: {{\"error\":{{\"message\":\"{FAILURE}\",\"code\":500}}}}\n\n"));
    }

    fn whole(&mut self, choices: &[ChoiceTexts], account: &ResponseNumbers) -> WholeResponse {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        let (usage, reported) = account.fill(USAGE, &[]);
        (format!(r#"{{"text":"{text}",{usage}}}"#), reported).into()
    }
}

/// Text to speech: a fragment of sound per token. Its bytes contain no token counts.
#[derive(Debug)]
pub(super) struct AudioSpeech {
    content_type: &'static str,
}

impl AudioSpeech {
    pub(super) fn new(case: &ResponseContext<'_>) -> Self {
        let content_type = match case.request.text("/response_format") {
            Some("pcm") => "audio/pcm",
            Some("wav") => "audio/wav",
            _ => "audio/mpeg",
        };
        Self { content_type }
    }
}

impl ResponseWriter for AudioSpeech {
    fn content_type(&self) -> &'static str {
        self.content_type
    }

    fn output(&mut self, output: &OutputChunk<'_>, _: &ResponseNumbers, out: &mut FrameQueue) {
        const BYTES_PER_TOKEN: u32 = 960;
        let at = |byte: u32| (output.first.wrapping_mul(31) ^ byte.wrapping_mul(byte)) as u8;
        out.numbers((0..output.tokens * BYTES_PER_TOKEN).map(at).collect::<Vec<u8>>());
    }

    fn finish(&mut self, _: &ResponseNumbers, _: &mut FrameQueue) {}

    /// Errors cannot be reported in sound: it ends.
    fn fail(&mut self, _: &mut FrameQueue) {}

    /// It is always sent incrementally.
    fn whole(&mut self, _: &[ChoiceTexts], _: &ResponseNumbers) -> WholeResponse {
        WholeResponse::default()
    }
}
