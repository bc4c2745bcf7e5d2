"""Speaks WebSocket through a proxy with the `websockets` client: to an echo, and to a realtime API."""

import json
import sys
import time

from seen import Seen, missing

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect
except ImportError as error:
    missing(error)

server = f"ws://{sys.argv[1]}"
PLAIN = {"compression": None}


def echo(case, messages, **options):
    seen = Seen(case, "other", outcome="ok", status=101)
    with connect(f"{server}/echo", max_size=None, **options) as socket:
        deflates = [extension.name for extension in socket.protocol.extensions]
        assert deflates == ([] if options.get("compression", "") is None else ["permessage-deflate"])
        for message in messages:
            socket.send(message)
            whole = message if isinstance(message, (str, bytes)) else "".join(message)
            assert socket.recv(timeout=20) == whole
        assert socket.ping().wait(20)
    seen.tell()


def realtime(case, *turns, **options):
    """Turns of a conversation: the pieces that each answer shall come in. Each is asked for and awaited by itself, so
    that a time to its first output is told for each of them."""
    seen = Seen(case, "realtime", dialect="openai-realtime", status=101, path="/v1/realtime", model="sim")
    events, usages, turns_s, failed = 0, [], [], False
    with connect(f"{server}/v1/realtime?model=sim", **options) as socket:
        for pieces in turns:
            said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Tell me."}]}
            socket.send(json.dumps({"type": "conversation.item.create", "item": said}))
            asked, first, kind = time.monotonic(), None, None
            socket.send(json.dumps({"type": "response.create", "response": {"metadata": {"pieces": pieces}}}))
            while kind != "response.done":
                event = json.loads(socket.recv(timeout=20))
                kind, events = event["type"], events + 1
                if kind == "response.output_text.delta":
                    seen.output(event["delta"])
                    first = first or time.monotonic() - asked
            turns_s += [first] if first else []
            usages += [event["response"]["usage"]] if event["response"]["usage"] else []
            failed |= event["response"]["status"] == "failed"
            time.sleep(0.05)
    cached = sum(usage["input_token_details"]["cached_tokens"] for usage in usages)
    seen.tell(
        outcome="stream_error" if failed else "ok", stream=True, events=events, output_events=seen.output_events,
        answer_chars=seen.characters["answer_chars"], input_tokens=sum(usage["input_tokens"] for usage in usages) or None,
        output_tokens=sum(usage["output_tokens"] for usage in usages) or None, cached_tokens=cached or None,
        turns_s=turns_s, ttft_s=None, latency_s=None, unparsed=0,
    )


echo("echo, compressed", ["one", "two" * 1000, b"\0\1\2\3", "ünïcödé 🚀"])
echo("echo", ["one", "two" * 1000, b"\0\1\2\3", "ünïcödé 🚀"], **PLAIN)
echo("echo of a large message", [bytes(range(256)) * 8192], **PLAIN)
echo("echo of fragments", [["one", " in ", "pieces"]], **PLAIN)

seen = Seen("echo that the server leaves", "other", outcome="ok", status=101)
with connect(f"{server}/echo") as socket:
    socket.send("leave")
    try:
        socket.recv(timeout=20)
    except ConnectionClosed as error:
        assert (error.rcvd.code, error.rcvd.reason) == (4001, "as you wish"), error
        seen.tell()

seen = Seen("a handshake that is refused", "other", outcome="client_error", status=401)
try:
    connect(f"{server}/refused")
except InvalidStatus as error:
    assert error.response.body == b"no key\n", error
    seen.tell()

realtime("realtime, compressed", ["Stre", "ams", " flow", "."])
realtime("realtime", ["Stre", "ams", " flow", "."], **PLAIN)
realtime("realtime, three turns", ["One."], ["Two", " and"] * 4, ["three", ".🚀"], **PLAIN)
realtime("realtime that fails", ["fail"], **PLAIN)
