"""The engine services of inference servers as tables of field numbers, from the `.proto` files of
smg-grpc-proto 0.4.28: `vllm_engine`, `sglang_scheduler`, `trtllm_service`, `tokenspeed_scheduler`, `mlx_engine`."""

from typing import NamedTuple


class Engine(NamedTuple):
    service: str
    # Where `GenerateRequest` has its prompt's ids, how many tokens to generate, and in how many choices.
    prompt: tuple
    length: tuple
    choices: tuple
    # `GenerateStreamChunk` and `GenerateComplete`: which field of `GenerateResponse` they are, and their own fields.
    chunk: tuple
    complete: tuple
    # Where `EmbedResponse` has the embedding and its input tokens; its request's prompt is where `Generate` has it.
    embedded: tuple = ()


CHUNK = {"ids": 1, "input": 2, "output": 3, "cached": 4}
COMPLETE = {"ids": 1, "finish": 2, "input": 3, "output": 4, "cached": 5}
ENGINES = {
    "vllm": Engine(
        "vllm.grpc.engine.VllmEngine", (2, 2), (4, 8), (4, 15),
        (1, {**CHUNK, "index": 7}), (2, {**COMPLETE, "index": 8}), (1, 2),
    ),
    "sglang": Engine(
        "sglang.grpc.scheduler.SglangScheduler", (2, 2), (4, 8), (4, 17),
        (2, {**CHUNK, "index": 8}), (3, {**COMPLETE, "index": 11}), (5, 6),
    ),
    "trtllm": Engine(
        "trtllm.TrtllmService", (2, 2), (5,), (3, 2),
        (2, {"ids": 1, "index": 2, "input": 3, "output": 4, "cached": 5}),
        (3, {"ids": 1, "index": 2, "finish": 3, "input": 5, "output": 6, "cached": 7}),
    ),
    "tokenspeed": Engine(
        "tokenspeed.grpc.scheduler.TokenSpeedScheduler", (2, 1), (3, 8), (3, 15),
        (2, {**CHUNK, "index": 6}), (3, {**COMPLETE, "index": 9}),
    ),
    # Always in one choice.
    "mlx": Engine(
        "mlx.grpc.engine.MlxEngine", (2, 2), (4, 9), (),
        (1, {**CHUNK, "index": 6}), (2, {**COMPLETE, "index": 7}),
    ),
}
