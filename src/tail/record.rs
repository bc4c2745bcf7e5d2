//! The fields of a request that `tail` prints, and the filters.

use crate::cli::TailArgs;
use serde::Deserialize;
use std::borrow::Cow;
use streamgauge_core::meter::Outcome;

/// The fields of a line of the request log that `tail` uses.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TailRecord<'a> {
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub response_model: Option<Cow<'a, str>>,
    pub status: Option<u16>,
    pub ttft_s: Option<f64>,
    pub tpot_s: Option<f64>,
    pub latency_s: Option<f64>,
    pub duration_s: f64,
    pub queue_s: Option<f64>,
    pub cold: Option<bool>,
    #[serde(borrow)]
    pub cold_reason: Option<Cow<'a, str>>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

impl TailRecord<'_> {
    /// Whether the request passes all filters.
    pub fn is_selected(&self, args: &TailArgs) -> bool {
        let TailArgs { slow, failed, cold, model, .. } = args;
        let has_name = |name: &String| {
            [&self.model, &self.response_model].into_iter().flatten().any(|model| model == name)
        };
        slow.is_none_or(|limit| self.wait_s() >= limit)
            && (!failed || Outcome::is_failure_label(&self.outcome))
            && (!cold || self.cold == Some(true))
            && (model.is_empty() || model.iter().any(has_name))
    }

    /// Time until the client had something: the first token, or the end of a response without one.
    fn wait_s(&self) -> f64 {
        self.ttft_s.unwrap_or(self.duration_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(flags: &[&str]) -> TailArgs {
        let cli = Cli::try_parse_from(["streamgauge", "tail"].iter().chain(flags)).unwrap();
        match cli.command {
            Some(Command::Tail(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn filters_select_requests() {
        let record = |json: &str| -> TailRecord<'static> {
            let fields = r#""time":"","method":"POST","path":"/v1/chat/completions""#;
            let line: &'static str = format!("{{{fields},{json}}}").leak();
            serde_json::from_str(line).unwrap()
        };
        let ok = record(r#""outcome":"ok","duration_s":9,"ttft_s":0.2,"cold":false,"model":"a""#);
        let slow = record(
            r#""outcome":"ok","duration_s":9,"ttft_s":3,"cold":true,"model":"b","response_model":"b-2""#,
        );
        let refused = record(r#""outcome":"rejected","duration_s":0.1,"model":"a""#);
        let gone = record(r#""outcome":"client_gone_before_token","duration_s":5,"model":"a""#);
        for (flags, expected) in [
            (&[][..], [true, true, true, true]),
            (&["--slow", "2"], [false, true, false, true]),
            (&["--failed"], [false, false, true, false]),
            (&["--cold"], [false, true, false, false]),
            (&["--model", "a"], [true, false, true, true]),
            (&["--model", "b-2", "--model", "c"], [false, true, false, false]),
            (&["--slow", "2", "--model", "a"], [false, false, false, true]),
        ] {
            let args = args(flags);
            let selected = [&ok, &slow, &refused, &gone].map(|record| record.is_selected(&args));
            assert_eq!(selected, expected, "{flags:?}");
        }
    }
}
