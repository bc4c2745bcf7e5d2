//! What is compared.

use super::log::Line;

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
    /// Neither: it tells what was asked and answered, and helps to judge the rest.
    Context,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    PerSecond,
    Number,
    /// From 0 to 1.
    Share,
}

/// A quantity of a request.
#[derive(Debug)]
pub(super) struct Quantity {
    pub name: &'static str,
    pub unit: Unit,
    pub better: Better,
    /// What B is if its value is the greater one, and if it is the smaller one.
    pub words: (&'static str, &'static str),
    /// Says little where tokenizers differ.
    pub by_tokens: bool,
    /// Its value, if the line has one.
    pub of: fn(&Line<'_>) -> Option<f64>,
}

const TIME: Quantity = Quantity {
    name: "",
    unit: Unit::Seconds,
    better: Better::Less,
    words: ("slower", "faster"),
    by_tokens: false,
    of: |_| None,
};
const WAIT: Quantity = Quantity { words: ("longer", "shorter"), ..TIME };
const COUNT: Quantity =
    Quantity { unit: Unit::Number, better: Better::Context, words: ("more", "fewer"), ..TIME };

/// Characters per token: a difference makes tokens incomparable.
pub(super) const CHARACTERS_PER_TOKEN: &str = "characters per token";
/// The same as the time to first token, where nothing reasons.
pub(super) const FIRST_ANSWER: &str = "time to first answer";
/// What a request was answered with: a difference makes whole durations incomparable.
pub(super) const CHARACTERS: &str = "characters of the answer";

/// Every quantity. The headline is the first that is no context, not by tokens, and that both sides have enough of.
pub(super) static TABLE: [Quantity; 16] = [
    Quantity {
        name: "characters per second",
        unit: Unit::PerSecond,
        better: Better::More,
        words: ("faster", "slower"),
        of: |line| line.characters_per_second,
        ..TIME
    },
    Quantity { name: "time to first token", of: |line| line.ttft_s, ..TIME },
    Quantity { name: FIRST_ANSWER, of: |line| line.answer_s, ..TIME },
    Quantity {
        name: "time per output token",
        by_tokens: true,
        of: |line| line.counted().and(line.tpot_s),
        ..TIME
    },
    Quantity {
        name: "output tokens per second",
        unit: Unit::PerSecond,
        better: Better::More,
        words: ("faster", "slower"),
        by_tokens: true,
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
    Quantity { name: "queue wait, estimated", of: |line| queue(line, "estimated"), ..WAIT },
    Quantity { name: CHARACTERS, of: |line| line.characters(), ..COUNT },
    Quantity {
        name: "output tokens",
        by_tokens: true,
        of: |line| line.counted().map(|count| count as f64),
        ..COUNT
    },
    Quantity { name: CHARACTERS_PER_TOKEN, of: characters_per_token, ..COUNT },
    Quantity {
        name: "input tokens",
        by_tokens: true,
        of: |line| line.input_tokens.map(|count| count as f64),
        ..COUNT
    },
    Quantity { name: "bytes of the request", of: |line| Some(line.bytes_up as f64), ..COUNT },
];

fn queue(line: &Line<'_>, source: &str) -> Option<f64> {
    line.queue_s.filter(|_| line.queue_source.as_deref() == Some(source))
}

/// Absent where reasoning was counted and never sent.
fn characters_per_token(line: &Line<'_>) -> Option<f64> {
    let unseen = line.reasoning_tokens.unwrap_or(0) > 0 && line.reasoning_chars == Some(0);
    let tokens = line.counted().filter(|count| *count > 0 && !unseen)?;
    Some(line.characters()? / tokens as f64)
}
