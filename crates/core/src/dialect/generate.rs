//! The routes that several servers answer, each in its own way: `/generate`, and SageMaker's
//! `/invocations`.
//!
//! Their trees have the places of all. What an event has decides which of them speaks: `meta_info` is
//! SGLang's, a `token` or a `generated_text` TGI's, `choices` OpenAI's; a text without any of them is
//! what vLLM's first server wrote.

use super::draft::Draft;
use super::openai_chat::{self, CHOICE, ERROR, METRICS, USAGE};
use super::reading::Memory;
use super::sglang::{self, SGLANG};
use super::tag::{Form, Shape, Tag};
use super::tgi::{self, TGI};
use super::vllm_generate::{self, VLLM_GENERATE};
use super::{Dialect, Ending};

pub static GENERATE: Dialect =
    Dialect::streamed_as_lines("generate", &GENERATED, conclude, Ending::Body);
pub static INVOCATIONS: Dialect =
    Dialect::streamed_as_lines("invocations", &INVOKED, conclude, Ending::Body);

static INDEX: Shape = Shape::scalar(Tag::Index);
static DONE: Shape = Shape::scalar(Tag::Done);
static ITEM: Shape = Shape::object(
    Tag::Choice,
    &[
        ("generated_text", &Shape::scalar(Tag::Answer)),
        ("details", &tgi::ITEM_DETAILS),
        ("text", &Shape::scalar(Tag::Answer)),
        ("meta_info", &sglang::ITEM_META_INFO),
    ],
);
static GENERATED: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("token", &tgi::TOKEN),
        ("generated_text", &tgi::GENERATED),
        ("details", &tgi::DETAILS),
        ("finished", &DONE),
        ("finish_reason", &tgi::FINISH),
        ("count_output_tokens", &tgi::OUTPUT),
        ("prompt_tokens", &tgi::INPUT),
        ("text", &vllm_generate::TEXT),
        ("usage", &USAGE),
        ("output_ids", &sglang::OUTPUT_IDS),
        ("meta_info", &sglang::META_INFO),
        ("index", &INDEX),
        ("error", &ERROR),
    ])
};
static INVOKED: Shape = Shape {
    items: Some(&ITEM),
    ..Shape::path(&[
        ("object", &Shape::text(Tag::Kind)),
        ("choices", &Shape::array(Tag::Form(Form::OpenAi), &CHOICE)),
        ("model", &Shape::text(Tag::Model)),
        ("usage", &USAGE),
        ("metrics", &METRICS),
        ("system_fingerprint", &Shape::text(Tag::Fingerprint)),
        ("token", &tgi::TOKEN),
        ("generated_text", &tgi::GENERATED),
        ("details", &tgi::DETAILS),
        ("finish_reason", &tgi::FINISH),
        ("text", &vllm_generate::TEXT),
        ("output_ids", &sglang::OUTPUT_IDS),
        ("meta_info", &sglang::META_INFO),
        ("index", &INDEX),
        ("error", &ERROR),
    ])
};

fn conclude(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    let speaks: &Dialect = match draft.form {
        Some(Form::OpenAi) if draft.kind().starts_with(b"chat") => &openai_chat::CHAT,
        Some(Form::OpenAi) => &openai_chat::COMPLETIONS,
        Some(Form::Sglang) => &SGLANG,
        Some(Form::Tgi) => &TGI,
        None if draft.echo > 0 || !draft.facts.choices.is_empty() => &TGI,
        None if draft.pieces > 0 => &VLLM_GENERATE,
        None => return draft.conclude(),
    };
    memory.spoken = Some(speaks.name);
    (speaks.conclude)(draft, memory, name);
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
