//! OpenAI's audio: `/v1/audio/transcriptions`, whose request is a form, and `/v1/audio/speech`, whose answer is sound.
//!
//! Shapes: OpenAI's reference for both.

use super::{Case, FAILURE, Output, Whole, Writer};
use crate::account::Account;
use crate::answer::Texts;
use crate::frames::Frames;
use crate::request::Fields;

pub(super) const TRANSCRIPTIONS: Fields = Fields { limit: &[], ..Fields::PLAIN };

pub(super) const SPEECH: Fields =
    Fields { prompt: &["/input"], limit: &[], shows: false, ..Fields::PLAIN };

const USAGE: &str = r#""usage":{"type":"tokens","total_tokens":$total,"input_tokens":$input,"input_token_details":{"text_tokens":0,"audio_tokens":$input},"output_tokens":$output}"#;

/// Speech to text.
#[derive(Debug, Default)]
pub(super) struct Transcription {
    text: String,
}

impl Writer for Transcription {
    fn output(&mut self, output: &Output<'_>, _: &Account, out: &mut Frames) {
        self.text.push_str(output.json);
        let delta = output.json;
        out.output(format!(
            "data: {{\"type\":\"transcript.text.delta\",\"delta\":\"{delta}\",\"logprobs\":[]}}\n\n"
        ));
    }

    fn finish(&mut self, account: &Account, out: &mut Frames) {
        let (usage, told) = account.fill(USAGE, &[]);
        let text = &self.text;
        out.report(told);
        out.done(format!(
            "data: {{\"type\":\"transcript.text.done\",\"text\":\"{text}\",\"logprobs\":[],{usage}}}\n\n"
        ));
    }

    fn fail(&mut self, out: &mut Frames) {
        out.plain(format!("data: {{\"error\":{{\"message\":\"{FAILURE}\",\"code\":500}}}}\n\n"));
    }

    fn whole(&mut self, choices: &[Texts], account: &Account) -> Whole {
        let text = choices.first().map_or("", |texts| texts.text.as_str());
        let (usage, told) = account.fill(USAGE, &[]);
        (format!(r#"{{"text":"{text}",{usage}}}"#), told).into()
    }
}

/// Text to speech: a piece of sound for each token, whose bytes say nothing to anybody who counts tokens.
#[derive(Debug)]
pub(super) struct Speech {
    content_type: &'static str,
}

impl Speech {
    pub(super) fn new(case: &Case<'_>) -> Self {
        let content_type = match case.ask.text("/response_format") {
            Some("pcm") => "audio/pcm",
            Some("wav") => "audio/wav",
            _ => "audio/mpeg",
        };
        Self { content_type }
    }
}

impl Writer for Speech {
    fn content_type(&self) -> &'static str {
        self.content_type
    }

    fn output(&mut self, output: &Output<'_>, _: &Account, out: &mut Frames) {
        const BYTES_PER_TOKEN: u32 = 960;
        let at = |byte: u32| (output.first.wrapping_mul(31) ^ byte.wrapping_mul(byte)) as u8;
        out.numbers((0..output.tokens * BYTES_PER_TOKEN).map(at).collect::<Vec<u8>>());
    }

    fn finish(&mut self, _: &Account, _: &mut Frames) {}

    /// There is no way to tell: the sound is over.
    fn fail(&mut self, _: &mut Frames) {}

    /// It is always sent as it is made.
    fn whole(&mut self, _: &[Texts], _: &Account) -> Whole {
        Whole::default()
    }
}
