"""A small gRPC server: KServe's v2 protocol, as Triton streams it, and the engines' services.
Prints its address and serves until its input ends. What it answers is in the request: how many responses, and
where it fails.

KServe's fields are those of `grpc_service.proto` (triton-inference-server/common), the engines' those of
`engines.py`. Each engine here counts up from chunk to chunk ("cumulative counts" in `sglang_scheduler.proto`), in
each choice by itself. vLLM's servicer in smg-grpc-servicer 0.14.1 tells the tokens of just the chunk, which this
server does not do. The pace is `PAUSE` a response.
"""

import struct
import sys
import time
from concurrent import futures
from functools import partial

from engines import ENGINES
from protobuf import field, get, message, numbers, packed, read
from seen import missing

try:
    import grpc
except ImportError as error:
    missing(error)

PAUSE = 0.02


def parameter(request, name):
    """A number among a KServe request's parameters: `map<string, InferParameter> parameters = 4`."""
    for entry in map(read, request.get(4, [])):
        if entry[1][0].decode() == name:
            return read(entry[2][0])[2][0]
    return 0


def infer_response(request, text):
    """`ModelInferResponse`: with a tensor of a text, or without any, as Triton's empty final response."""
    name, version, identity = field(1, request[1][0]), field(2, "1"), field(3, request.get(3, [b""])[0])
    final = field(4, message(field(1, "triton_final_response"), field(2, field(1, int(text is None)))))
    if text is None:
        return message(name, version, identity, final)
    tensor = field(5, message(field(1, "text_output"), field(2, "BYTES"), packed(3, [1])))
    data = text.encode()
    return message(name, version, identity, final, tensor, field(6, len(data).to_bytes(4, "little") + data))


def model_infer(data, context):
    request = read(data)
    if request[1] == [b"none"]:
        context.abort(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'none' is not found")
    if parameter(request, "compressed"):
        context.set_compression(grpc.Compression.Gzip)
    time.sleep(PAUSE)
    return infer_response(request, "one whole answer, " * 20)


def model_stream_infer(requests, context):
    for request in map(read, requests):
        for number in range(parameter(request, "responses")):
            if number and number == parameter(request, "fails_after"):
                # In Triton's default mode an error is a message, and the stream goes on.
                yield field(1, "the model failed")
                break
            time.sleep(PAUSE)
            yield field(2, infer_response(request, f" word{number}"))
        else:
            yield field(2, infer_response(request, None))


def response(kind, **values):
    """`GenerateResponse`, of a kind that the table has the numbers of."""
    number, fields = kind
    parts = [(packed if name == "ids" else field)(fields[name], value) for name, value in values.items()]
    return field(number, message(*parts))


def generate(engine, data, context):
    """`Generate`: two tokens a chunk, in turns where there are several choices, each one token longer than the last."""
    counts = {"input": len(numbers(get(data, engine.prompt))), "cached": 1}
    length = get(data, engine.length)
    choices = engine.choices and get(data, engine.choices) or 1
    if length == 999:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    for first in range(0, length + choices - 1, 2):
        for index in range(choices):
            ids = list(range(1000, 1000 + length + index))
            now = min(first + 2, len(ids))
            if first >= now:
                continue
            time.sleep(PAUSE)
            yield response(engine.chunk, ids=ids[first:now], output=now, index=index, **counts)
            if now == len(ids):
                # A choice's last message repeats all ids.
                yield response(engine.complete, ids=ids, output=now, index=index, finish="length", **counts)
        if length == 7 and first == 2:
            context.abort(grpc.StatusCode.INTERNAL, "the engine died")


def embed(engine, data, context):
    """`Embed`: four numbers, whatever the prompt."""
    embedding, input_tokens = engine.embedded
    count = len(numbers(get(data, engine.prompt)))
    return message(field(embedding, struct.pack("<4f", 0.5, 0.25, 0, 1)), field(input_tokens, count))


def service(name, **methods):
    return grpc.method_handlers_generic_handler(name, methods)


def engine_service(engine):
    methods = {"Generate": grpc.unary_stream_rpc_method_handler(partial(generate, engine))}
    if engine.embedded:
        methods["Embed"] = grpc.unary_unary_rpc_method_handler(partial(embed, engine))
    return service(engine.service, **methods)


server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers([
    service(
        "inference.GRPCInferenceService",
        ModelInfer=grpc.unary_unary_rpc_method_handler(model_infer),
        ModelStreamInfer=grpc.stream_stream_rpc_method_handler(model_stream_infer),
    ),
    *map(engine_service, ENGINES.values()),
])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
sys.stdin.read()
server.stop(None)
