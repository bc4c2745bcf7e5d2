//! One aligned line per request.

use super::record::TailRecord;
use crate::control_characters::escape;
use crate::readable::{count, seconds, truncate};
use ratatui::crossterm::terminal;
use std::io::{self, IsTerminal};

/// Width of a line with an empty model, and with the outcome `ok`.
const OTHER_COLUMNS: usize = 62;
/// Width of the model where standard output is no terminal.
const MODEL_WIDTH: usize = 32;

/// The widths of the columns.
#[derive(Debug)]
pub(super) struct Columns {
    model: usize,
}

impl Columns {
    /// Columns that fit the terminal. The outcome comes last, because a long one may wrap.
    pub fn of_stdout() -> Self {
        match io::stdout().is_terminal().then(terminal::size) {
            Some(Ok((width, _))) => Self::of_width(width.into()),
            _ => Self { model: MODEL_WIDTH },
        }
    }

    fn of_width(width: usize) -> Self {
        Self { model: width.saturating_sub(OTHER_COLUMNS).clamp(10, MODEL_WIDTH) }
    }

    /// The line above the first request.
    pub fn heading(&self) -> String {
        let [ttft, tpot, latency] = ["TTFT", "TPOT", "latency"].map(String::from);
        let [input, output, queue] = ["in", "out", "queue"].map(String::from);
        self.line(
            "time UTC",
            "model",
            "code",
            [ttft, tpot, latency, input, output, queue],
            "outcome",
        )
    }

    /// The line of a request.
    pub fn row(&self, record: &TailRecord<'_>) -> String {
        let time = record.time.split_once('T').and_then(|(_, time)| time.get(..8));
        let model = match &record.model {
            Some(model) => escape(model).into_owned(),
            None => format!("{} {}", record.method, record.path),
        };
        let status = record.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let mut outcome = record.outcome.clone().into_owned();
        if record.cold == Some(true) {
            let reason = record.cold_reason.as_deref().unwrap_or("unknown");
            outcome.push_str(&format!(", cold: {reason}"));
        }
        let cells = [
            seconds(record.ttft_s),
            seconds(record.tpot_s),
            seconds(record.latency_s),
            count(record.input_tokens),
            count(record.output_tokens),
            seconds(record.queue_s),
        ];
        self.line(time.unwrap_or("-"), &model, &status, cells, &outcome)
    }

    fn line(
        &self,
        time: &str,
        model: &str,
        status: &str,
        [ttft, tpot, latency, input, output, queue]: [String; 6],
        outcome: &str,
    ) -> String {
        let width = self.model;
        let model = truncate(model, width);
        format!(
            "{time:<8} {model:<width$} {status:>4} {ttft:>6} {tpot:>6} {latency:>7} {input:>7} {output:>6} \
             {queue:>6}  {outcome}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned() {
        let columns = Columns::of_width(80);
        let chat = TailRecord {
            time: "2026-11-30T12:09:49.314942Z".into(),
            outcome: "ok".into(),
            model: Some("qwen3-32b-instruct-fp8".into()),
            status: Some(200),
            ttft_s: Some(0.203),
            tpot_s: Some(0.0234),
            latency_s: Some(7.98),
            input_tokens: Some(342),
            output_tokens: Some(333),
            queue_s: Some(0.0),
            ..TailRecord::default()
        };
        let cold = TailRecord {
            model: Some("a\u{1b}[2J".into()),
            cold: Some(true),
            cold_reason: Some("model_load".into()),
            ttft_s: Some(12.5),
            ..TailRecord { outcome: "ok".into(), status: Some(200), ..TailRecord::default() }
        };
        let failed = TailRecord {
            method: "GET".into(),
            path: "/v1/models".into(),
            outcome: "upstream_unreachable".into(),
            status: Some(502),
            ..TailRecord::default()
        };
        let lines = [columns.heading()].into_iter();
        let lines: Vec<_> = lines.chain([&chat, &cold, &failed].map(|r| columns.row(r))).collect();
        let expected = [
            "time UTC model              code   TTFT   TPOT latency      in    out  queue  outcome",
            "12:09:49 qwen3-32b-instruc\u{2026}  200  203ms 23.4ms   7.98s     342    333     0s  ok",
            "-        a\\u001b[2J          200  12.5s      -       -       -      -      -  ok, cold: model_load",
            "-        GET /v1/models      502      -      -       -       -      -      -  upstream_unreachable",
        ];
        assert_eq!(lines, expected);
        assert_eq!(lines[1].chars().count(), 80);
    }
}
