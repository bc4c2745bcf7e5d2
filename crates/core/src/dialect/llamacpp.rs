//! llama.cpp's own API: `/completion`, `/completions` and `/infill`.
//!
//! An event has the new text (`content`) and exact counts of tokens so far; the last one (`"stop": true`)
//! has no text, and the timings, which come with each event if asked for. `tokens_evaluated` is all of
//! the prompt, so it is the input, and of `timings` only what the cache held of it is taken. A
//! `prompt_progress` comes without text. Several prompts are told apart by `index`; a document has them
//! in an array. Builds before 2025 say no `stop_type`.

use super::batch;
use super::draft::Draft;
use super::engine::Engine;
use super::openai_chat::{CHOICE, ERROR, GROQ, METRICS, TIME_INFO, USAGE};
use super::reading::Memory;
use super::tag::{Count, Form, Shape, Stage, Tag, Unit, time};
use super::{Dialect, Ending};

pub static LLAMACPP: Dialect = Dialect::streamed_as_sse("llamacpp", &ROOT, conclude, Ending::Told);
/// `/completions` is llama.cpp's own route; other servers answer there as at `/v1/completions`.
pub static OR_OPENAI: Dialect =
    Dialect::streamed_as_sse("openai-completions", &EITHER, conclude_either, Ending::Told);

static CONTENT: Shape = Shape::scalar(Tag::Piece);
static INDEX: Shape = Shape::scalar(Tag::Index);
static MODEL: Shape = Shape::text(Tag::Model);
static DONE: Shape = Shape::scalar(Tag::Done);
static STOP_TYPE: Shape = Shape::text(Tag::Finish);
static TOKENS: Shape = Shape::list(&Shape::scalar(Tag::TokenId));
static INPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Input));
static OUTPUT: Shape = Shape::scalar(Tag::EngineCount(Count::Output));
static PREFILL: Shape = time(Stage::Prefill, Unit::Millis);
static DECODE: Shape = time(Stage::Decode, Unit::Millis);
static TIMINGS: Shape = Shape::object(
    Tag::Sign(Engine::LlamaCpp),
    &[
        ("cache_n", &Shape::scalar(Tag::EngineCount(Count::Cached))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
/// Whose counts these are is known only once the event is over: at llama.cpp's own route the counts beside
/// them are meant.
static EITHER_TIMINGS: Shape = Shape::object(
    Tag::Sign(Engine::LlamaCpp),
    &[
        ("prompt_n", &Shape::scalar(Tag::Place(PROMPT))),
        ("predicted_n", &Shape::scalar(Tag::Place(PREDICTED))),
        ("cache_n", &Shape::scalar(Tag::EngineCount(Count::Cached))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
const PROMPT: usize = 0;
const PREDICTED: usize = 1;
static ITEM_TIMINGS: Shape = Shape::object(
    Tag::Sign(Engine::LlamaCpp),
    &[
        ("cache_n", &Shape::scalar(Tag::ElementCount(Count::Cached))),
        ("prompt_ms", &PREFILL),
        ("predicted_ms", &DECODE),
    ],
);
static ITEM: Shape = Shape::object(
    Tag::Choice,
    &[
        ("content", &Shape::scalar(Tag::Answer)),
        ("index", &INDEX),
        ("model", &MODEL),
        ("stop_type", &STOP_TYPE),
        ("tokens_predicted", &Shape::scalar(Tag::ElementCount(Count::Output))),
        ("tokens_evaluated", &Shape::scalar(Tag::ElementCount(Count::Input))),
        ("timings", &ITEM_TIMINGS),
    ],
);
static ROOT: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("content", &CONTENT),
        ("index", &INDEX),
        ("tokens", &TOKENS),
        ("stop", &DONE),
        ("stop_type", &STOP_TYPE),
        ("model", &MODEL),
        ("tokens_predicted", &OUTPUT),
        ("tokens_evaluated", &INPUT),
        ("timings", &TIMINGS),
        ("error", &ERROR),
    ])
};
static EITHER: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("choices", &Shape::array(Tag::Form(Form::OpenAi), &CHOICE)),
        ("usage", &USAGE),
        ("system_fingerprint", &Shape::text(Tag::Fingerprint)),
        ("metrics", &METRICS),
        ("x_groq", &GROQ),
        ("time_info", &TIME_INFO),
        ("content", &CONTENT),
        ("index", &INDEX),
        ("tokens", &TOKENS),
        ("stop", &DONE),
        ("stop_type", &STOP_TYPE),
        ("model", &MODEL),
        ("tokens_predicted", &OUTPUT),
        ("tokens_evaluated", &INPUT),
        ("timings", &EITHER_TIMINGS),
        ("error", &ERROR),
    ])
};

fn conclude(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    draft.choice.body().answer += draft.piece;
    if let Some(counts) = &mut draft.facts.engine {
        // What is 0 so far is not counted yet.
        counts.output = counts.output.filter(|count| *count > 0);
    }
    // One prompt's end is not the stream's.
    draft.facts.done &= draft.choice.finish.is_none();
    batch::add_up(draft, memory);
    draft.number_choices();
    draft.conclude();
}

fn conclude_either(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    if draft.form == Some(Form::OpenAi) {
        if let [Some(prompt), Some(predicted), _] = draft.places {
            let counts = draft.facts.engine.get_or_insert_default();
            (counts.input, counts.output) = (Some(prompt), Some(predicted));
            counts.cache_apart = true;
        }
        return draft.conclude();
    }
    if draft.pieces > 0 || !draft.facts.choices.is_empty() {
        memory.spoken = Some(LLAMACPP.name);
    }
    conclude(draft, memory, name);
}

#[cfg(test)]
#[path = "llamacpp_tests.rs"]
mod tests;
