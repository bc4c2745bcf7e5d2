//! gRPC services of inference servers.
//!
//! KServe's v2 protocol (Triton's `grpc_service.proto`) carries tensors in formats of the model's own. A message with
//! outputs is one output event, and tokens are not counted. One stream may serve many requests; it is measured as one.
//!
//! The engine services of vLLM, SGLang, TensorRT-LLM, MLX and TokenSpeed (`smg-grpc-proto` 0.4.28) generate token ids
//! and running counts, without text: the ids are the output. The last message repeats all ids, which do not count again.

use super::choice_counts;
use super::engine::Engine;
use super::event_builder::EventBuilder;
use super::response_reader::StreamState;
use super::tag::{ProtobufShape, Tag, TokenKind};
use super::{Dialect, EventFacts, finish_plain};

/// KServe's `ModelStreamInfer`.
pub static KSERVE_STREAM: Dialect = Dialect::protobuf("kserve", &STREAMED_INFER, finish_plain);
/// KServe's `ModelInfer`.
pub static KSERVE: Dialect = Dialect::protobuf("kserve", &INFER, finish_plain);
/// `Generate` of vLLM.
pub static VLLM: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_ROOT, finish_vllm);
/// `Generate` of SGLang.
pub static SGLANG: Dialect = Dialect::protobuf("sglang-grpc", &SGLANG_ROOT, finish_sglang);
/// `Generate` of TensorRT-LLM.
pub static TRTLLM: Dialect = Dialect::protobuf("trtllm-grpc", &TRTLLM_ROOT, finish_trtllm);
/// `Generate` of TokenSpeed.
pub static TOKENSPEED: Dialect =
    Dialect::protobuf("tokenspeed-grpc", &TOKENSPEED_ROOT, finish_generate);
/// `Generate` of MLX.
pub static MLX: Dialect = Dialect::protobuf("mlx-grpc", &MLX_ROOT, finish_generate);
/// `Embed` of vLLM.
pub static VLLM_EMBED: Dialect = Dialect::protobuf("vllm-grpc", &VLLM_EMBEDDED, finish_plain);
/// `Embed` of SGLang.
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

// Outputs are tensors (5) or raw bytes (6). Triton's empty final response has neither.
static OUTPUTS: ProtobufShape = ProtobufShape::message(Tag::Media, &[]);
static RAW: ProtobufShape = ProtobufShape::bytes(Tag::Media);
static INFER: ProtobufShape =
    ProtobufShape::path(&[(1, &ProtobufShape::text(Tag::Model)), (5, &OUTPUTS), (6, &RAW)]);
static STREAMED_INFER: ProtobufShape =
    ProtobufShape::path(&[(1, &ProtobufShape::text(Tag::Error)), (2, &INFER)]);

// vLLM: field 1 is the chunk, 2 the completion.
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

// SGLang: field 1 is the request id, 2 the chunk, 3 the completion.
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

/// Counts token ids as output, because these services send no text.
fn finish_generate(event: &mut EventBuilder, stream: &mut StreamState, _: &[u8]) {
    let EventFacts { choices, engine_counts, .. } = &mut event.facts;
    for choice in choices {
        choice.has_answer |= choice.token_ids > 0;
        // Each choice has separate counts. Against its `.proto`, vLLM's servicer sends the count of the message, not
        // the running total: take the number of ids so far if it is higher.
        let ids = choice_counts::add_token_ids(stream, choice.index, choice.token_ids);
        if let Some(counts) = engine_counts {
            let output = counts.output.max(ids);
            counts.output = choice_counts::sum_output(stream, choice.index, output);
            counts.reasoning = choice_counts::sum_reasoning(stream, choice.index, counts.reasoning);
        }
    }
}

fn finish_vllm(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    finish_generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::Vllm);
}

fn finish_sglang(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    finish_generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::Sglang);
}

fn finish_trtllm(event: &mut EventBuilder, stream: &mut StreamState, name: &[u8]) {
    finish_generate(event, stream, name);
    event.facts.detected_engine = Some(Engine::TrtLlm);
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
