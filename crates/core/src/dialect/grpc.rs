//! The gRPC services of inference servers, message by message.
//!
//! KServe's v2 protocol (Triton's `grpc_service.proto`) carries tensors that only a model's owner can
//! read: a message with outputs is an output event, and no token is counted. Its stream is one for many
//! requests; it is measured as one.
//!
//! vLLM's, SGLang's, TensorRT-LLM's, MLX's and TokenSpeed's engine services (`smg-grpc-proto` 0.4.28)
//! generate token ids, with running counts beside: here the ids *are* the output, since there is no
//! text. The last message repeats all ids; they are not counted again.

use super::batch;
use super::draft::Draft;
use super::engine::Engine;
use super::reading::Memory;
use super::tag::{Count, Message, Tag};
use super::{Dialect, Facts, plain};

/// KServe's `ModelInfer` and `ModelStreamInfer`.
pub static KSERVE_STREAM: Dialect = Dialect::protobuf("kserve", &STREAMED_INFER, plain);
pub static KSERVE: Dialect = Dialect::protobuf("kserve", &INFER, plain);
/// The engines' `Generate`.
pub static VLLM: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_ROOT, vllm);
pub static SGLANG: Dialect = Dialect::protobuf("sglang-grpc", &SGLANG_ROOT, sglang);
pub static TRTLLM: Dialect = Dialect::protobuf("trtllm-grpc", &TRTLLM_ROOT, trtllm);
pub static TOKENSPEED: Dialect = Dialect::protobuf("tokenspeed-grpc", &TOKENSPEED_ROOT, generate);
pub static MLX: Dialect = Dialect::protobuf("mlx-grpc", &MLX_ROOT, generate);
/// The engines' `Embed`.
pub static VLLM_EMBED: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_EMBEDDED, plain);
pub static SGLANG_EMBED: Dialect = Dialect::protobuf("sglang-grpc", &SGLANG_EMBEDDED, plain);

const fn counted(count: Count) -> Message {
    Message::number(Tag::EngineCount(count))
}

static INPUT: Message = counted(Count::Input);
static OUTPUT: Message = counted(Count::Output);
static CACHED: Message = counted(Count::Cached);
static REASONING: Message = counted(Count::Reasoning);
static INDEX: Message = Message::number(Tag::Index);
static FINISH: Message = Message::text(Tag::Finish);
static TOKEN: Message = Message::number(Tag::TokenId);

// A message with outputs: the tensors' own (5), or raw ones (6). Triton's empty final response has none.
static OUTPUTS: Message = Message::message(Tag::Media, &[]);
static RAW: Message = Message::bytes(Tag::Media);
static INFER: Message = Message::path(&[(1, &Message::text(Tag::Model)), (5, &OUTPUTS), (6, &RAW)]);
static STREAMED_INFER: Message = Message::path(&[(1, &Message::text(Tag::Error)), (2, &INFER)]);

// vLLM: the chunk is field 1, the completion 2.
static VLLM_ROOT: Message = Message::path(&[(1, &VLLM_CHUNK), (2, &VLLM_COMPLETE)]);
static VLLM_CHUNK: Message = Message::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (7, &INDEX)],
);
static VLLM_COMPLETE: Message = Message::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (8, &INDEX)],
);
static VLLM_EMBEDDED: Message = Message::path(&[(2, &INPUT)]);

// SGLang: the request's id is field 1, the chunk 2, the completion 3.
static SGLANG_ROOT: Message = Message::path(&[(2, &SGLANG_CHUNK), (3, &SGLANG_COMPLETE)]);
static SGLANG_CHUNK: Message = Message::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (8, &INDEX), (9, &REASONING)],
);
static SGLANG_COMPLETE: Message = Message::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (11, &INDEX), (12, &REASONING)],
);
static SGLANG_EMBEDDED: Message = Message::path(&[(6, &INPUT)]);

static TRTLLM_ROOT: Message = Message::path(&[(2, &TRTLLM_CHUNK), (3, &TRTLLM_COMPLETE)]);
static TRTLLM_CHUNK: Message = Message::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INDEX), (3, &INPUT), (4, &OUTPUT), (5, &CACHED)],
);
static TRTLLM_COMPLETE: Message = Message::message(
    Tag::Choice,
    &[(2, &INDEX), (3, &FINISH), (5, &INPUT), (6, &OUTPUT), (7, &CACHED)],
);

static TOKENSPEED_ROOT: Message =
    Message::path(&[(2, &TOKENSPEED_CHUNK), (3, &TOKENSPEED_COMPLETE)]);
static TOKENSPEED_CHUNK: Message = Message::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (6, &INDEX)],
);
static TOKENSPEED_COMPLETE: Message = Message::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (9, &INDEX)],
);

static MLX_ROOT: Message = Message::path(&[(1, &TOKENSPEED_CHUNK), (2, &MLX_COMPLETE)]);
static MLX_COMPLETE: Message = Message::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (7, &INDEX)],
);

/// Where nothing but token ids is generated, they are the output.
fn generate(draft: &mut Draft, memory: &mut Memory, _: &[u8]) {
    let Facts { choices, engine, .. } = &mut draft.facts;
    for choice in choices {
        choice.answers |= choice.token_ids > 0;
        // Each choice counts its own. vLLM's servicer tells what came with the message, against its
        // `.proto`: never less than the ids so far.
        let listed = batch::listed(memory, choice.index, choice.token_ids);
        if let Some(counts) = engine {
            let output = counts.output.max(listed);
            counts.output = batch::all_output(memory, choice.index, output);
            counts.reasoning = batch::all_reasoning(memory, choice.index, counts.reasoning);
        }
    }
}

fn vllm(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    generate(draft, memory, name);
    draft.facts.made_by = Some(Engine::Vllm);
}

fn sglang(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    generate(draft, memory, name);
    draft.facts.made_by = Some(Engine::Sglang);
}

fn trtllm(draft: &mut Draft, memory: &mut Memory, name: &[u8]) {
    generate(draft, memory, name);
    draft.facts.made_by = Some(Engine::TrtLlm);
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
