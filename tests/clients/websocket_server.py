"""A small WebSocket server: an echo, and a simulation of OpenAI's realtime API. Prints its address and serves until
its input ends. It takes permessage-deflate if it is offered, as `websockets` does by default.

The events are those of OpenAI's reference (Realtime, server events).
"""

import json
import sys
import threading
import time

from seen import missing

try:
    from websockets.sync.server import serve
except ImportError as error:
    missing(error)

PAUSE = 0.02


def echo(socket):
    for message in socket:
        if message == "leave":
            return socket.close(4001, "as you wish")
        socket.send(message)


def realtime(socket):
    def send(kind, **fields):
        socket.send(json.dumps({"type": kind, "event_id": "event_1", **fields}))

    send("session.created", session={"type": "realtime", "model": "sim", "output_modalities": ["text"]})
    for event in map(json.loads, socket):
        if event["type"] != "response.create":
            send("conversation.item.added", item=event.get("item"))
            continue
        pieces = event["response"]["metadata"]["pieces"]
        response = {"id": "resp_1", "object": "realtime.response", "status": "in_progress", "output": [], "usage": None}
        place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        send("response.created", response=response)
        if pieces == ["fail"]:
            failed = {**response, "status": "failed", "status_details": {"type": "failed", "error": {"code": "x"}}}
            send("response.done", response=failed)
            continue
        send("response.output_item.added", response_id="resp_1", output_index=0, item={"type": "message", "content": []})
        send("response.content_part.added", **place, part={"type": "text", "text": ""})
        for piece in pieces:
            time.sleep(PAUSE)
            send("response.output_text.delta", **place, delta=piece)
        text = "".join(pieces)
        send("response.output_text.done", **place, text=text)
        send("response.content_part.done", **place, part={"type": "text", "text": text})
        item = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        send("response.output_item.done", response_id="resp_1", output_index=0, item=item)
        usage = {
            "total_tokens": 30 + len(pieces), "input_tokens": 30, "output_tokens": len(pieces),
            "input_token_details": {"text_tokens": 30, "audio_tokens": 0, "cached_tokens": 10},
            "output_token_details": {"text_tokens": len(pieces), "audio_tokens": 0},
        }
        send("response.done", response={**response, "status": "completed", "output": [item], "usage": usage})


def route(socket):
    (realtime if socket.request.path.startswith("/v1/realtime") else echo)(socket)


def refuse(socket, request):
    """Before the upgrade."""
    return socket.respond(401, "no key\n") if request.path == "/refused" else None


with serve(route, "127.0.0.1", 0, process_request=refuse, max_size=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("{}:{}".format(*server.socket.getsockname()[:2]), flush=True)
    sys.stdin.read()
