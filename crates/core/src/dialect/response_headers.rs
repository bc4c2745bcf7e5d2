//! What the head of a response tells of its request.
//!
//! | header | of | unit |
//! |---|---|---|
//! | `x-compute-time`, `x-total-time` | TGI: the whole request | s, whole ms |
//! | `x-queue-time` | TGI: in its queue | whole ms |
//! | `x-prompt-tokens`, `x-generated-tokens` | TGI | |
//! | `openai-processing-ms` | OpenAI: until the head; of a document, the whole request | ms |
//! | `x-amzn-bedrock-{input,output}-token-count` | Bedrock | |
//! | `x-amzn-bedrock-{first-byte,invocation}-latency` | Bedrock: to the first token, the whole request | ms |
//!
//! TGI and Bedrock's counts come with documents only: the head of a stream is sent before there is
//! anything to count. TGI's `x-inference-time` (prefill and decoding in one), `x-validation-time` and
//! `x-time-per-token` (truncated, with the prefill in it) are no stage that is told anywhere else.

use super::engine::Engine;
use super::event_builder::parse_count;
use super::facts::{ServerTimings, TokenCounts};
use super::tag::TimeUnit;

/// What a head tells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeaderFacts {
    /// Who sends such a head.
    pub engine: Option<Engine>,
    /// Counts in fields of the engine's own.
    pub counts: Option<TokenCounts>,
    pub timings: ServerTimings,
    /// What the server took until it sent the head, in seconds.
    pub until_headers: Option<f64>,
}

impl HeaderFacts {
    /// Takes note of a header. Names are in lower case.
    pub fn record_header(&mut self, name: &str, value: &[u8]) {
        self.engine = self.engine.or_else(|| Engine::from_header(name, value));
        let number = || std::str::from_utf8(value).ok()?.trim().parse().ok();
        let seconds = |unit: TimeUnit| number().and_then(|number| unit.seconds(number));
        let tokens = || number().and_then(parse_count);
        let ServerTimings { queue, first_token, total, .. } = &mut self.timings;
        match name {
            // The same as `x-total-time`, and not truncated.
            "x-compute-time" => *total = seconds(TimeUnit::Seconds).or(*total),
            "x-total-time" => *total = total.or(seconds(TimeUnit::Millis)),
            "x-queue-time" => *queue = seconds(TimeUnit::Millis),
            "openai-processing-ms" => self.until_headers = seconds(TimeUnit::Millis),
            "x-amzn-bedrock-invocation-latency" => *total = seconds(TimeUnit::Millis),
            "x-amzn-bedrock-first-byte-latency" => *first_token = seconds(TimeUnit::Millis),
            "x-prompt-tokens" | "x-amzn-bedrock-input-token-count" => {
                self.counts.get_or_insert_default().input = tokens();
            }
            "x-generated-tokens" | "x-amzn-bedrock-output-token-count" => {
                self.counts.get_or_insert_default().output = tokens();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> HeaderFacts {
        let mut facts = HeaderFacts::default();
        headers.iter().for_each(|(name, value)| facts.record_header(name, value.as_bytes()));
        facts
    }

    fn counts(input: u64, output: u64) -> Option<TokenCounts> {
        Some(TokenCounts { input: Some(input), output: Some(output), ..TokenCounts::default() })
    }

    /// As a hosted TGI sent them; the names are those of `router/src/server.rs`.
    #[test]
    fn tgi() {
        let headers = [
            ("x-compute-type", "1-nvidia-a10g"),
            ("x-compute-time", "2.484567121"),
            ("x-total-time", "2484"),
            ("x-validation-time", "0"),
            ("x-queue-time", "13"),
            ("x-inference-time", "2471"),
            ("x-time-per-token", "33"),
            ("x-prompt-tokens", "16"),
            ("x-generated-tokens", "75"),
        ];
        let expected = HeaderFacts {
            engine: Some(Engine::Tgi),
            counts: counts(16, 75),
            timings: ServerTimings {
                queue: Some(0.013),
                total: Some(2.484567121),
                ..ServerTimings::default()
            },
            until_headers: None,
        };
        assert_eq!(of(&headers), expected);
        let mut reversed = headers;
        reversed.reverse();
        assert_eq!(of(&reversed), expected);
        assert_eq!(of(&[("x-total-time", "2484")]).timings.total, Some(2.484));
        // A stream's head.
        let stream = of(&[("x-compute-type", "cpu"), ("x-compute-characters", "12")]);
        assert_eq!(stream, HeaderFacts { engine: Some(Engine::Tgi), ..HeaderFacts::default() });
    }

    /// The names are those of Amazon's user guide, of `InvokeModel`'s response.
    #[test]
    fn vendors() {
        let bedrock = of(&[
            ("x-amzn-bedrock-input-token-count", "25"),
            ("x-amzn-bedrock-output-token-count", "130"),
            ("x-amzn-bedrock-invocation-latency", "2040"),
            ("x-amzn-bedrock-first-byte-latency", "310"),
        ]);
        assert_eq!((bedrock.engine, bedrock.counts), (Some(Engine::Bedrock), counts(25, 130)));
        assert_eq!((bedrock.timings.first_token, bedrock.timings.total), (Some(0.31), Some(2.04)));
        let openai = of(&[("openai-version", "2020-10-01"), ("openai-processing-ms", "972")]);
        assert_eq!((openai.engine, openai.until_headers), (Some(Engine::OpenAi), Some(0.972)));
    }

    #[test]
    fn what_is_no_number_says_nothing() {
        for value in ["", "n/a", "-1", "NaN", "inf", "1e400", "0x10", "\u{e9}"] {
            let facts = of(&[
                ("x-queue-time", value),
                ("x-compute-time", value),
                ("openai-processing-ms", value),
                ("x-generated-tokens", value),
            ]);
            assert_eq!(facts.timings, ServerTimings::default(), "{value:?}");
            assert_eq!(facts.until_headers, None, "{value:?}");
            assert_eq!(facts.counts.and_then(|counts| counts.output), None, "{value:?}");
        }
        assert_eq!(of(&[("x-generated-tokens", "1.5")]).counts, Some(TokenCounts::default()));
    }
}
