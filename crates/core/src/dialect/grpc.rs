//! The gRPC services of inference servers, message by message.
//!
//! KServe's v2 protocol (Triton's `grpc_service.proto`) carries tensors that only a model's owner can
//! read: a message with outputs is an output event, and no token is counted. Its stream is one for many
//! requests; it is measured as one.
//!
//! vLLM's, SGLang's, TensorRT-LLM's, MLX's and TokenSpeed's engine services (`smg-grpc-proto` 0.4.28)
//! generate token ids, with running counts beside: here the ids *are* the output, since there is no
//! text. The last message repeats all ids; they are not counted again.

use super::choice_counts;
use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{ProtobufShape, Tag, TokenKind};
use super::{Dialect, EventFacts, finish_plain};

/// KServe's `ModelInfer` and `ModelStreamInfer`.
pub static KSERVE_STREAM: Dialect = Dialect::protobuf("kserve", &STREAMED_INFER, finish_plain);
pub static KSERVE: Dialect = Dialect::protobuf("kserve", &INFER, finish_plain);
/// The engines' `Generate`.
pub static VLLM: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_ROOT, vllm);
pub static SGLANG: Dialect = Dialect::protobuf("sglang-grpc", &SGLANG_ROOT, sglang);
pub static TRTLLM: Dialect = Dialect::protobuf("trtllm-grpc", &TRTLLM_ROOT, trtllm);
pub static TOKENSPEED: Dialect = Dialect::protobuf("tokenspeed-grpc", &TOKENSPEED_ROOT, generate);
pub static MLX: Dialect = Dialect::protobuf("mlx-grpc", &MLX_ROOT, generate);
/// The engines' `Embed`.
pub static VLLM_EMBED: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_EMBEDDED, finish_plain);
pub static SGLANG_EMBED: Dialect = Dialect::protobuf("sglang-grpc", &SGLANG_EMBEDDED, finish_plain);

const fn engine_count(kind: TokenKind) -> ProtobufShape {
    ProtobufShape::number(Tag::EngineCount(kind))
}

static INPUT: ProtobufShape = engine_count(TokenKind::Input);
static OUTPUT: ProtobufShape = engine_count(TokenKind::Output);
static CACHED: ProtobufShape = engine_count(TokenKind::CacheRead);
static REASONING: ProtobufShape = engine_count(TokenKind::Reasoning);
static INDEX: ProtobufShape = ProtobufShape::number(Tag::Index);
static FINISH: ProtobufShape = ProtobufShape::text(Tag::FinishReason);
static TOKEN: ProtobufShape = ProtobufShape::number(Tag::TokenId);

// A message with outputs: the tensors' own (5), or raw ones (6). Triton's empty final response has none.
static OUTPUTS: ProtobufShape = ProtobufShape::message(Tag::Media, &[]);
static RAW: ProtobufShape = ProtobufShape::bytes(Tag::Media);
static INFER: ProtobufShape =
    ProtobufShape::path(&[(1, &ProtobufShape::text(Tag::Model)), (5, &OUTPUTS), (6, &RAW)]);
static STREAMED_INFER: ProtobufShape =
    ProtobufShape::path(&[(1, &ProtobufShape::text(Tag::Error)), (2, &INFER)]);

// vLLM: the chunk is field 1, the completion 2.
static VLLM_ROOT: ProtobufShape = ProtobufShape::path(&[(1, &VLLM_CHUNK), (2, &VLLM_COMPLETE)]);
static VLLM_CHUNK: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (7, &INDEX)],
);
static VLLM_COMPLETE: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (8, &INDEX)],
);
static VLLM_EMBEDDED: ProtobufShape = ProtobufShape::path(&[(2, &INPUT)]);

// SGLang: the request's id is field 1, the chunk 2, the completion 3.
static SGLANG_ROOT: ProtobufShape =
    ProtobufShape::path(&[(2, &SGLANG_CHUNK), (3, &SGLANG_COMPLETE)]);
static SGLANG_CHUNK: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (8, &INDEX), (9, &REASONING)],
);
static SGLANG_COMPLETE: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (11, &INDEX), (12, &REASONING)],
);
static SGLANG_EMBEDDED: ProtobufShape = ProtobufShape::path(&[(6, &INPUT)]);

static TRTLLM_ROOT: ProtobufShape =
    ProtobufShape::path(&[(2, &TRTLLM_CHUNK), (3, &TRTLLM_COMPLETE)]);
static TRTLLM_CHUNK: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INDEX), (3, &INPUT), (4, &OUTPUT), (5, &CACHED)],
);
static TRTLLM_COMPLETE: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(2, &INDEX), (3, &FINISH), (5, &INPUT), (6, &OUTPUT), (7, &CACHED)],
);

static TOKENSPEED_ROOT: ProtobufShape =
    ProtobufShape::path(&[(2, &TOKENSPEED_CHUNK), (3, &TOKENSPEED_COMPLETE)]);
static TOKENSPEED_CHUNK: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(1, &TOKEN), (2, &INPUT), (3, &OUTPUT), (4, &CACHED), (6, &INDEX)],
);
static TOKENSPEED_COMPLETE: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (9, &INDEX)],
);

static MLX_ROOT: ProtobufShape = ProtobufShape::path(&[(1, &TOKENSPEED_CHUNK), (2, &MLX_COMPLETE)]);
static MLX_COMPLETE: ProtobufShape = ProtobufShape::message(
    Tag::Choice,
    &[(2, &FINISH), (3, &INPUT), (4, &OUTPUT), (5, &CACHED), (7, &INDEX)],
);

/// Where nothing but token ids is generated, they are the output.
fn generate(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let EventFacts { choices, engine_counts, .. } = &mut event.facts;
    for choice in choices {
        choice.has_answer |= choice.token_ids > 0;
        // Each choice counts its own. vLLM's servicer tells what came with the message, against its
        // `.proto`: never less than the ids so far.
        let listed = choice_counts::listed(stream, choice.index, choice.token_ids);
        if let Some(counts) = engine_counts {
            let output = counts.output.max(listed);
            counts.output = choice_counts::all_output(stream, choice.index, output);
            counts.reasoning = choice_counts::all_reasoning(stream, choice.index, counts.reasoning);
        }
    }
}

fn vllm(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::Vllm);
}

fn sglang(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::Sglang);
}

fn trtllm(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::TrtLlm);
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
