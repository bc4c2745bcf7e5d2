//! Fills token counts and times into the templates of responses.
//!
//! Templates name the numbers (`"prompt_tokens":$input`). The template therefore determines which
//! numbers a response reports, and these are recorded.

use std::fmt::Write as _;
use std::time::Duration;

use super::truth::ReportedValues;

/// Token counts and times at one point of a response; final after the last token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseNumbers {
    /// Tokens of the prompt, cached ones included.
    pub(super) input: u32,
    /// Prompt tokens read from a cache.
    pub(super) cached: u32,
    /// Prompt tokens written to a cache.
    pub(super) written: u32,
    /// Tokens in the events so far, of all choices, reasoning included.
    pub(super) output: u32,
    pub(super) reasoning: u32,
    pub(super) times: TemplateTimes,
}

/// Times from the engine model, except `total`; zero while unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TemplateTimes {
    pub(super) queue: Duration,
    pub(super) load: Duration,
    /// From the slot to the first token.
    pub(super) prefill: Duration,
    /// From the first token to the latest.
    pub(super) decode: Duration,
    /// Since the arrival of the request, by the server's clock.
    pub(super) total: Duration,
}

impl ResponseNumbers {
    /// The values for one of `choices` choices, which all have the same number of tokens.
    pub(super) fn of_one(&self, choices: u32) -> Self {
        let choices = choices.max(1);
        Self { output: self.output / choices, reasoning: self.reasoning / choices, ..*self }
    }

    /// Fills a template: each `$name` is replaced by the text or the number of that name. Returns the result and the
    /// numbers that it reports. Unknown names stay unchanged.
    ///
    /// | name | |
    /// |---|---|
    /// | `input`, `cached`, `written`, `fresh` | tokens of the prompt: all, and the three parts of them |
    /// | `output`, `reasoning`, `answer`, `total` | tokens: generated, the two parts of them, with the prompt |
    /// | `queue`, `load`, `prefill`, `decode`, `ttft`, `total` with `_s`, `_ms`, `_ns`, `_whole_ms` | times |
    /// | `busy_s` | prefill and decode |
    /// | `pace_ms`, `decode_per_s` | decode time per token after the first, and its inverse |
    /// | `prefill_pace_ms`, `prefill_per_s` | prefill time per uncached token of the prompt, and its inverse |
    /// | `per_s` | tokens per second of the whole time |
    pub(super) fn fill(&self, template: &str, texts: &[(&str, &str)]) -> (String, ReportedValues) {
        let mut reported = ReportedValues::default();
        let mut out = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let (name, tail) = after.split_at(end.unwrap_or(after.len()));
            rest = tail;
            if let Some((_, text)) = texts.iter().find(|(known, _)| *known == name) {
                out.push_str(text);
            } else if !self.number(name, &mut out, &mut reported) {
                out.push('$');
                out.push_str(name);
            }
        }
        out.push_str(rest);
        (out, reported)
    }

    /// Writes the number with this name; returns false if there is none.
    fn number(&self, name: &str, out: &mut String, reported: &mut ReportedValues) -> bool {
        let count = match name {
            "input" => self.input,
            "fresh" => self.input.saturating_sub(self.cached).saturating_sub(self.written),
            "cached" => self.cached,
            "written" => self.written,
            "output" => self.output,
            "answer" => self.output.saturating_sub(self.reasoning),
            "reasoning" => self.reasoning,
            "total" => self.input.saturating_add(self.output),
            _ => return self.time(name, out, reported),
        };
        match name {
            "input" | "fresh" => reported.input_tokens = Some(self.input),
            "cached" => reported.cached_tokens = Some(self.cached),
            "output" | "answer" => reported.output_tokens = Some(self.output),
            "reasoning" => reported.reasoning_tokens = Some(self.reasoning),
            _ => {}
        }
        let _ = write!(out, "{count}");
        true
    }

    /// Returns a value that is derived from others and not recorded.
    fn derived(&self, name: &str) -> Option<f64> {
        let TemplateTimes { prefill, decode, total, .. } = self.times;
        let steps = f64::from(self.output.saturating_sub(1));
        let fresh = f64::from(self.input.saturating_sub(self.cached));
        let over = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        Some(match name {
            "pace_ms" => over(decode.as_secs_f64() * 1e3, steps),
            "decode_per_s" => over(steps, decode.as_secs_f64()),
            "prefill_pace_ms" => over(prefill.as_secs_f64() * 1e3, fresh),
            "prefill_per_s" => over(fresh, prefill.as_secs_f64()),
            "busy_s" => (prefill + decode).as_secs_f64(),
            "per_s" => over(f64::from(self.output), total.as_secs_f64()),
            _ => return None,
        })
    }

    fn time(&self, name: &str, out: &mut String, reported: &mut ReportedValues) -> bool {
        if let Some(derived) = self.derived(name) {
            return write!(out, "{derived:.9}").is_ok();
        }
        let TemplateTimes { queue, load, prefill, decode, total } = self.times;
        let Some((what, unit)) = name.split_once('_') else {
            return false;
        };
        let (time, place) = match what {
            "queue" => (queue, &mut reported.queue_s),
            "load" => (load, &mut reported.load_s),
            "prefill" => (prefill, &mut reported.prefill_s),
            "decode" => (decode, &mut reported.decode_s),
            "ttft" => (queue + load + prefill, &mut reported.ttft_s),
            "total" => (total, &mut reported.total_s),
            _ => return false,
        };
        let mut exact = time.as_secs_f64();
        // Nanosecond resolution, so that the reported value equals the recorded one.
        let _ = match unit {
            "s" => write!(out, "{exact:.9}"),
            "ms" => write!(out, "{:.6}", exact * 1e3),
            "ns" => write!(out, "{}", time.as_nanos()),
            "whole_ms" => {
                exact = time.as_millis() as f64 / 1e3;
                write!(out, "{}", time.as_millis())
            }
            _ => return false,
        };
        *place = Some(exact);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_and_their_values_recorded() {
        let account = ResponseNumbers {
            input: 100,
            cached: 30,
            written: 20,
            output: 11,
            reasoning: 4,
            times: TemplateTimes {
                queue: Duration::from_micros(1500),
                load: Duration::ZERO,
                prefill: Duration::from_nanos(20_000_001),
                decode: Duration::from_millis(50),
                total: Duration::from_micros(100_900),
            },
        };
        let none = ReportedValues::default();
        let table = [
            ("$input,$total", "100,111", ReportedValues { input_tokens: Some(100), ..none }),
            (
                "$fresh $cached $written",
                "50 30 20",
                ReportedValues { input_tokens: Some(100), cached_tokens: Some(30), ..none },
            ),
            (
                "$answer+$reasoning",
                "7+4",
                ReportedValues { output_tokens: Some(11), reasoning_tokens: Some(4), ..none },
            ),
            ("$queue_ms", "1.500000", ReportedValues { queue_s: Some(0.0015), ..none }),
            ("$prefill_ns", "20000001", ReportedValues { prefill_s: Some(0.020_000_001), ..none }),
            ("$total_whole_ms", "100", ReportedValues { total_s: Some(0.1), ..none }),
            ("$ttft_s", "0.021500001", ReportedValues { ttft_s: Some(0.021_500_001), ..none }),
            ("$pace_ms", "5.000000000", none),
            ("$text $nothing $", "said $input $nothing $", none),
        ];
        for (template, expected, reported) in table {
            let found = account.fill(template, &[("text", "said $input")]);
            assert_eq!(found, (expected.to_owned(), reported), "{template}");
        }
    }
}
