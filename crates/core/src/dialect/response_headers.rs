//! Token counts and durations in response headers.
//!
//! | header | server | content | unit |
//! |---|---|---|---|
//! | `x-compute-time`, `x-total-time` | TGI | duration of the request | s, whole ms |
//! | `x-queue-time` | TGI | queue wait | whole ms |
//! | `x-prompt-tokens`, `x-generated-tokens` | TGI | token counts | |
//! | `openai-processing-ms` | OpenAI | time until the headers; without streaming, duration of the request | ms |
//! | `x-total-time`, `x-queue-time` | TEI | the same | whole ms |
//! | `x-compute-tokens` | TEI | input tokens | |
//! | `x-amzn-bedrock-{input,output}-token-count` | Bedrock | token counts | |
//! | `x-amzn-bedrock-{first-byte,invocation}-latency` | Bedrock | time to first token, duration of the request | ms |
//!
//! TGI and Bedrock send counts only without streaming: the headers of a stream are sent before any token. Three headers
//! of TGI are not read: `x-inference-time` (prefill and decoding together), `x-validation-time`, and `x-time-per-token`
//! (truncated, includes the prefill). No other server reports the same. `x-compute-time` of TEI is in whole milliseconds
//! and the same as its `x-total-time`, so it is not read.

use super::engine::Engine;
use super::event_builder::parse_count;
use super::facts::{ServerTimings, TokenCounts};
use super::tag::TimeUnit;

/// Facts from the response headers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeaderFacts {
    /// Server that sends these headers.
    pub engine: Option<Engine>,
    /// Token counts in headers that only this engine sends.
    pub counts: Option<TokenCounts>,
    /// Durations that the server reports.
    pub timings: ServerTimings,
    /// Time until the server sent the headers, in seconds.
    pub until_headers: Option<f64>,
}

impl HeaderFacts {
    /// Records a header. `name` is in lower case.
    pub fn record_header(&mut self, name: &str, value: &[u8]) {
        // TEI sends TGI's header too.
        let is_tei = name == "x-compute-tokens";
        self.engine = if is_tei {
            Some(Engine::Tei)
        } else {
            self.engine.or_else(|| Engine::from_header(name, value))
        };
        let number = || std::str::from_utf8(value).ok()?.trim().parse().ok();
        let seconds = |unit: TimeUnit| number().and_then(|number| unit.seconds(number));
        let tokens = || number().and_then(parse_count);
        let ServerTimings { queue, first_token, total, .. } = &mut self.timings;
        match name {
            // The same duration as `x-total-time`, but not truncated.
            "x-compute-time" if value.contains(&b'.') => {
                *total = seconds(TimeUnit::Seconds).or(*total)
            }
            "x-total-time" => *total = total.or(seconds(TimeUnit::Millis)),
            "x-queue-time" => *queue = seconds(TimeUnit::Millis),
            "openai-processing-ms" => self.until_headers = seconds(TimeUnit::Millis),
            "x-amzn-bedrock-invocation-latency" => *total = seconds(TimeUnit::Millis),
            "x-amzn-bedrock-first-byte-latency" => *first_token = seconds(TimeUnit::Millis),
            "x-prompt-tokens" | "x-amzn-bedrock-input-token-count" => {
                self.counts.get_or_insert_default().input = tokens();
            }
            "x-compute-tokens" => self.counts.get_or_insert_default().input = tokens(),
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

    /// Headers of a hosted TGI. The names are in TGI's `router/src/server.rs`.
    #[test]
    fn headers_of_tgi() {
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
        // Headers of a stream.
        let stream = of(&[("x-compute-type", "cpu"), ("x-compute-characters", "12")]);
        assert_eq!(stream, HeaderFacts { engine: Some(Engine::Tgi), ..HeaderFacts::default() });
    }

    /// The names and units are in `router/src/lib.rs` of Text Embeddings Inference.
    #[test]
    fn headers_of_tei() {
        let headers = [
            ("x-compute-type", "gpu+optimized"),
            ("x-compute-time", "8"),
            ("x-compute-characters", "20"),
            ("x-compute-tokens", "5"),
            ("x-total-time", "8"),
            ("x-tokenization-time", "1"),
            ("x-queue-time", "2"),
            ("x-inference-time", "5"),
        ];
        let facts = of(&headers);
        let input = TokenCounts { input: Some(5), ..TokenCounts::default() };
        assert_eq!((facts.engine, facts.counts), (Some(Engine::Tei), Some(input)));
        assert_eq!((facts.timings.queue, facts.timings.total), (Some(0.002), Some(0.008)));
        let mut reversed = headers;
        reversed.reverse();
        assert_eq!(of(&reversed), facts);
    }

    /// Bedrock's names are from Amazon's user guide, `InvokeModel`.
    #[test]
    fn headers_of_bedrock_and_openai() {
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
    fn values_that_are_not_numbers_are_ignored() {
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
