"""Calls gRPC inference services with grpcio's client: KServe's v2 protocol and the engines' services."""

import struct
import sys
import threading

from engines import ENGINES
from protobuf import field, get, message, numbers, packed, put, read
from seen import Seen, missing

try:
    import grpc
except ImportError as error:
    missing(error)

channel = grpc.insecure_channel(sys.argv[1])
infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
stream_infer = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
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


def prompt(engine):
    """The start of a request: its id, and the prompt in three tokens."""
    *way, ids = engine.prompt
    return message(field(1, "a request"), put(way, packed(ids, [15, 16, 17])))


def generate(engine, length, choices=1, **options):
    asked = put(engine.choices, choices) if choices > 1 else b""
    request = message(prompt(engine), put(engine.length, length), asked)
    return channel.unary_stream(f"/{engine.service}/Generate")(request, **options)


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


def told(kind, data):
    """The fields of a response of this kind by name, if it is of this kind."""
    number, fields = kind
    found = get(data, (number,))
    return found and {name: get(found, (field,)) for name, field in fields.items()}


def generated(case, name, length, choices=1, **facts):
    """A stream of tokens. Each choice counts its own, and by those counts none is lost or there twice."""
    options, trace = traced()
    engine, path = ENGINES[name], f"/{ENGINES[name].service}/Generate"
    seen = Seen(f"{name}: {case}", "text_completion", dialect=f"{name}-grpc", path=path, **trace)
    ids, finishes, count, failure = [0] * choices, [], {"input_tokens": None}, None
    try:
        for data in generate(engine, length, choices, **options):
            if chunk := told(engine.chunk, data):
                index = chunk["index"] or 0
                ids[index] += (new := len(numbers(chunk["ids"])))
                assert chunk["output"] == ids[index], chunk
                count = {"input_tokens": chunk["input"], "cached_tokens": chunk["cached"]}
                seen.output(name="tokens" if new else "")
            else:
                last = told(engine.complete, data)
                assert last["output"] == ids[last["index"] or 0], last
                finishes.append(last["finish"].decode())
    except grpc.RpcError as error:
        failure = error.code()
    facts.setdefault("outcome", "ok")
    assert (failure is None) == (facts["outcome"] == "ok"), failure
    if failure is None:
        assert ids == list(range(length, length + choices)), ids
    seen.tell(output_events=seen.output_events, output_tokens=sum(ids) or None, finish_reasons=finishes, **count,
              **facts, seen=seen.times())


def embed(name):
    options, trace = traced()
    engine = ENGINES[name]
    seen = Seen(f"{name}: embed", "embeddings", dialect=f"{name}-grpc", path=f"/{engine.service}/Embed", **trace)
    answer = channel.unary_unary(f"/{engine.service}/Embed")(prompt(engine), **options)
    embedding, input_tokens = (get(answer, (number,)) for number in engine.embedded)
    assert struct.unpack("<4f", embedding) == (0.5, 0.25, 0, 1) and input_tokens == 3, answer
    seen.tell(events=1, input_tokens=input_tokens, output_tokens=None, unparsed=0)


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
for name, engine in ENGINES.items():
    generated("generate", name, 11)
    if engine.choices:
        generated("generate two choices", name, 4, choices=2)
    if engine.embedded:
        embed(name)
generated("generate one token", "vllm", 1)
generated("generate for a full queue", "vllm", 999, outcome="rejected", status=200)
generated("generate, until the engine dies", "vllm", 7, outcome="stream_error", status=200)

# Compressed messages are not read, which is told; that they are there is seen.
options, trace = traced()
seen = Seen("infer, compressed", "infer", **trace)
answer = read(infer(infer_request(compressed=1), compression=grpc.Compression.Gzip, **options))
assert answer[6] == [ANSWER], answer
seen.tell(events=1, unparsed=1)

# On one connection at once.
together = [(f"generate, one of {count}", "vllm", count) for count in (3, 4, 8, 9, 20)]
threads = [threading.Thread(target=generated, args=args) for args in together]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

options, trace = traced()
seen = Seen("a call that is left", "text_completion", outcome="client_gone_mid_stream", **trace)
call = generate(ENGINES["vllm"], 500, **options)
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
