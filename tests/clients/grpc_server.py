"""A small gRPC server: KServe's v2 protocol, as Triton streams it, and the engine service of `vllm serve --grpc`.
Prints its address and serves until its input ends. What it answers is in the request: how many responses, and
where it fails.

KServe's fields are those of `grpc_service.proto` (triton-inference-server/common), vLLM's those of
`vllm_engine.proto` (smg-grpc-proto 0.4.28). The pace is `PAUSE` a response.
"""

import sys
import time
from concurrent import futures

from protobuf import field, message, packed, read
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


def generate(data, context):
    """`GenerateRequest`: `tokenized` (2) with `input_ids` (2), and how long by `max_tokens` (8) of `sampling_params`."""
    request = read(data)
    prompt, length = request[2][0], read(request[3][0])[8][0]
    prompt_tokens = len(read(prompt)[2][0])
    if length == 999:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    ids = list(range(1000, 1000 + length))
    for first in range(0, length, 2):
        time.sleep(PAUSE)
        counts = field(2, prompt_tokens), field(3, min(first + 2, length)), field(4, 1)
        yield field(1, message(packed(1, ids[first:first + 2]), *counts))
        if length == 7 and first == 2:
            context.abort(grpc.StatusCode.INTERNAL, "the engine died")
    # The last message repeats all ids.
    counts = field(3, prompt_tokens), field(4, length), field(5, 1)
    yield field(2, message(packed(1, ids), field(2, "length"), *counts))


def service(name, **methods):
    return grpc.method_handlers_generic_handler(name, methods)


server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers([
    service(
        "inference.GRPCInferenceService",
        ModelInfer=grpc.unary_unary_rpc_method_handler(model_infer),
        ModelStreamInfer=grpc.stream_stream_rpc_method_handler(model_stream_infer),
    ),
    service("vllm.grpc.engine.VllmEngine", Generate=grpc.unary_stream_rpc_method_handler(generate)),
])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"127.0.0.1:{port}", flush=True)
sys.stdin.read()
server.stop(None)
