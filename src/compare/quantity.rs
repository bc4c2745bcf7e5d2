//! The table of compared quantities.

use super::log_line::LogLine;

/// The better one of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    Less,
    More,
    /// Neither: the quantity describes the workload and helps to judge the others.
    Context,
}

/// QuantityUnit of a value, which sets its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuantityUnit {
    Seconds,
    PerSecond,
    Number,
    /// A share from 0 to 1, printed in percent.
    Share,
}

/// A quantity of a request.
#[derive(Debug)]
pub(super) struct Quantity {
    pub name: &'static str,
    pub unit: QuantityUnit,
    pub better: Preference,
    /// Words for B if its value is greater, and if it is smaller.
    pub words: (&'static str, &'static str),
    /// Whether the quantity depends on the tokenizer.
    pub depends_on_tokenizer: bool,
    /// Reads the value from a line; `None` if absent.
    pub of: fn(&LogLine<'_>) -> Option<f64>,
}

const TIME: Quantity = Quantity {
    name: "",
    unit: QuantityUnit::Seconds,
    better: Preference::Less,
    words: ("slower", "faster"),
    depends_on_tokenizer: false,
    of: |_| None,
};
const WAIT: Quantity = Quantity { words: ("longer", "shorter"), ..TIME };
const COUNT: Quantity = Quantity {
    unit: QuantityUnit::Number,
    better: Preference::Context,
    words: ("more", "fewer"),
    ..TIME
};

/// If characters per token differ, tokens are not comparable.
pub(super) const CHARACTERS_PER_TOKEN: &str = "characters per token";
/// Equals the time to first token of models that do not reason.
pub(super) const FIRST_ANSWER: &str = "time to first answer";
/// If the lengths of the answers differ, durations are not comparable.
pub(super) const CHARACTERS: &str = "characters of the answer";

/// All quantities, most important first. The headline is the first one that is not context, does not depend on the
/// tokenizer, and has enough requests on both sides.
pub(super) static QUANTITIES: [Quantity; 16] = [
    Quantity {
        name: "characters per second",
        unit: QuantityUnit::PerSecond,
        better: Preference::More,
        words: ("faster", "slower"),
        of: |line| line.characters_per_second,
        ..TIME
    },
    Quantity { name: "time to first token", of: |line| line.ttft_s, ..TIME },
    Quantity { name: FIRST_ANSWER, of: |line| line.answer_s, ..TIME },
    Quantity {
        name: "time per output token",
        depends_on_tokenizer: true,
        of: |line| line.counted().and(line.tpot_s),
        ..TIME
    },
    Quantity {
        name: "output tokens per second",
        unit: QuantityUnit::PerSecond,
        better: Preference::More,
        words: ("faster", "slower"),
        depends_on_tokenizer: true,
        of: |line| line.counted().and(line.tpot_s).filter(|s| *s > 0.0).map(|s| 1.0 / s),
    },
    Quantity {
        name: "duration per character",
        of: |line| Some(line.duration_s / line.characters()?),
        ..TIME
    },
    Quantity { name: "request duration", of: |line| Some(line.duration_s), ..TIME },
    Quantity { name: "longest gap", of: |line| line.max_gap_s, ..WAIT },
    Quantity { name: "queue wait, reported", of: |line| queue(line, "reported"), ..WAIT },
    Quantity { name: "queue wait, header", of: |line| queue(line, "header"), ..WAIT },
    Quantity { name: "queue wait, estimated", of: estimated_queue, ..WAIT },
    Quantity { name: CHARACTERS, of: |line| line.characters(), ..COUNT },
    Quantity {
        name: "output tokens",
        depends_on_tokenizer: true,
        of: |line| line.counted().map(|count| count as f64),
        ..COUNT
    },
    Quantity { name: CHARACTERS_PER_TOKEN, of: characters_per_token, ..COUNT },
    Quantity {
        name: "input tokens",
        depends_on_tokenizer: true,
        of: |line| line.input_tokens.map(|count| count as f64),
        ..COUNT
    },
    Quantity { name: "bytes of the request", of: |line| Some(line.bytes_up as f64), ..COUNT },
];

fn queue(line: &LogLine<'_>, source: &str) -> Option<f64> {
    line.queue_s.filter(|_| line.queue_source.as_deref() == Some(source))
}

/// Without lower bounds, which are not comparable.
fn estimated_queue(line: &LogLine<'_>) -> Option<f64> {
    // Older logs have `estimated`.
    ["slots", "baseline", "estimated"].into_iter().find_map(|source| queue(line, source))
}

/// Absent if the usage includes reasoning tokens that were not sent.
fn characters_per_token(line: &LogLine<'_>) -> Option<f64> {
    let unseen = line.reasoning_tokens.unwrap_or(0) > 0 && line.reasoning_chars == Some(0);
    let tokens = line.counted().filter(|count| *count > 0 && !unseen)?;
    Some(line.characters()? / tokens as f64)
}
