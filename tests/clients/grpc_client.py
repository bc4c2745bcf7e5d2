"""Calls gRPC inference services with grpcio's client: KServe's v2 protocol and vLLM's engine service."""

import sys
import threading

from protobuf import field, message, numbers, packed, read
from seen import Seen, missing

try:
    import grpc
except ImportError as error:
    missing(error)

channel = grpc.insecure_channel(sys.argv[1])
infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
stream_infer = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
generate = channel.unary_stream("/vllm.grpc.engine.VllmEngine/Generate")
live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
TEXT = b"one whole answer, " * 20
ANSWER = len(TEXT).to_bytes(4, "little") + TEXT
calls = 0


def traced():
    """Metadata that names the call, and the fact that tells it: calls may end in any order."""
    global calls
    calls += 1
    trace = f"{calls:032x}"
    return {"metadata": [("traceparent", f"00-{trace}-00000000000000ff-01")], "timeout": 20}, {"trace_id": trace}


def infer_request(model="llama", **parameters):
    """`ModelInferRequest` with a tensor of a text."""
    values = [field(4, message(field(1, name), field(2, field(2, value)))) for name, value in parameters.items()]
    tensor = field(5, message(field(1, "text_input"), field(2, "BYTES"), packed(3, [1])))
    return message(field(1, model), field(3, "a"), *values, tensor, field(7, b"\x02\0\0\0Hi"))


def generate_request(length):
    prompt = field(2, message(field(1, "Tell me"), packed(2, [15, 16, 17])))
    return message(field(1, "a request"), prompt, field(3, field(8, length)), field(5, 1))


def kserve(case, requests, **facts):
    """A stream of requests, and all that comes back: responses with outputs, and without, and errors."""
    options, trace = traced()
    seen = Seen(case, "infer", dialect="kserve", path="/inference.GRPCInferenceService/ModelStreamInfer", **trace)
    outputs = events = errors = 0
    for response in map(read, stream_infer(iter(requests), **options)):
        events += 1
        errors += 1 in response
        outputs += (output := 6 in read(response.get(2, [b""])[0]))
        seen.output(name="a tensor" if output else "")
    assert errors == (1 if facts else 0)
    seen.tell(stream=True, events=events, output_events=outputs, answer_chars=0, **facts, seen=seen.times())


def vllm(case, length, **facts):
    options, trace = traced()
    seen = Seen(case, "text_completion", dialect="vllm-grpc", engine="vllm", **trace)
    ids, last, finishes, failure = 0, {}, [], None
    try:
        for response in map(read, generate(generate_request(length), **options)):
            if 1 in response:
                last = read(response[1][0])
                ids += (new := len(numbers(last[1][0])))
                seen.output(name="tokens" if new else "")
            else:
                finishes = [read(response[2][0])[2][0].decode()]
    except grpc.RpcError as error:
        failure = error.code()
    count = {"input_tokens": last[2][0], "cached_tokens": last[4][0]} if last else {"input_tokens": None}
    assert not last or last[3][0] == ids, last
    facts.setdefault("outcome", "ok")
    assert (failure is None) == (facts["outcome"] == "ok"), failure
    seen.tell(output_events=seen.output_events, output_tokens=ids or None, finish_reasons=finishes, **count, **facts,
              seen=seen.times())


options, trace = traced()
seen = Seen("infer", "infer", dialect="kserve", **trace)
answer = read(infer(infer_request(), **options))
assert answer[6] == [ANSWER], answer
seen.tell(events=1, response_model="llama", unparsed=0)

options, trace = traced()
seen = Seen("infer with a model that is none", "infer", outcome="client_error", status=200, **trace)
try:
    infer(infer_request("none"), **options)
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND and "unknown model" in error.details()
    seen.tell()

kserve("stream of one request", [infer_request(responses=5)])
kserve("stream of three requests", [infer_request(responses=count) for count in (2, 3, 1)])
kserve("stream with an error", [infer_request(responses=5, fails_after=3)], outcome="stream_error")
vllm("generate", 11)
vllm("generate one token", 1)
vllm("generate for a full queue", 999, outcome="rejected", status=200)
vllm("generate, until the engine dies", 7, outcome="stream_error", status=200)

# Compressed messages are not read, which is told; that they are there is seen.
options, trace = traced()
seen = Seen("infer, compressed", "infer", **trace)
answer = read(infer(infer_request(compressed=1), compression=grpc.Compression.Gzip, **options))
assert answer[6] == [ANSWER], answer
seen.tell(events=1, unparsed=1)

# On one connection at once.
threads = [threading.Thread(target=vllm, args=(f"generate, one of {count}", count)) for count in (3, 4, 8, 9, 20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

options, trace = traced()
seen = Seen("a call that is left", "text_completion", outcome="client_gone_mid_stream", **trace)
call = generate(generate_request(500), **options)
next(call)
call.cancel()
seen.tell()

options, trace = traced()
seen = Seen("no inference", "other", **trace)
try:
    live(b"", **options)
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    seen.tell(outcome="client_error")
channel.close()
