"""Asks an Ollama-shaped server with the real client."""

import sys

from seen import Seen, compact, missing

try:
    import ollama
except ImportError as error:
    missing(error)

client = ollama.Client(host=sys.argv[1], timeout=30)
messages = [{"role": "user", "content": "Tell me of streams."}]
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
options = {"num_predict": 12}
DIALECTS = {"chat": "ollama-chat", "text_completion": "ollama-generate"}
thinks = {"options": {"sim": {"reasoning_tokens": 5, "output_tokens": 6}}, "think": True}


def usage_of(last):
    return {
        "input_tokens": last.prompt_eval_count,
        "output_tokens": last.eval_count,
        "output_tokens_source": "engine",
        "response_model": last.model,
        "finish_reasons": [last.done_reason],
    }


def said(answer):
    """Text, thinking, arguments and names of an answer or a piece of one."""
    if isinstance(answer, ollama.GenerateResponse):
        return answer.response, answer.thinking, "", ""
    message = answer.message
    calls = [call.function for call in message.tool_calls or []]
    arguments = "".join(compact(call.arguments) for call in calls)
    return message.content, message.thinking, arguments, "".join(call.name for call in calls)


def streamed(case, operation, ask, **more):
    seen = Seen(case, operation, dialect=DIALECTS[operation], model="sim")
    last = None
    for piece in ask(model="sim", stream=True, **{"options": options, **more}):
        seen.output(*said(piece))
        last = piece
    assert last.done
    seen.streamed(**usage_of(last))


def whole(case, operation, ask, **more):
    seen = Seen(case, operation, dialect=DIALECTS[operation], model="sim")
    answer = ask(model="sim", **{"options": options, **more})
    seen.texts(*said(answer)[:3])
    seen.whole(**usage_of(answer))


streamed("chat, streamed", "chat", client.chat, messages=messages)
streamed("chat with thinking, streamed", "chat", client.chat, messages=messages, **thinks)
streamed("chat with tools, streamed", "chat", client.chat, messages=messages, tools=tools)
streamed("generate, streamed", "text_completion", client.generate, prompt="Tell me of streams.")
streamed("generate with thinking, streamed", "text_completion", client.generate, prompt="Why?", **thinks)
whole("chat", "chat", client.chat, messages=messages)
whole("chat with thinking", "chat", client.chat, messages=messages, **thinks)
whole("chat with tools", "chat", client.chat, messages=messages, tools=tools)
whole("generate", "text_completion", client.generate, prompt="Tell me of streams.")

seen = Seen("embeddings", "embeddings", model="sim")
embedded = client.embed(model="sim", input=["one text", "and another"])
assert len(embedded.embeddings) == 2
seen.whole(input_tokens=embedded.prompt_eval_count, output_tokens=None)

seen = Seen("a model that is none", "chat", outcome="client_error", status=404)
try:
    client.chat(model="none", messages=messages)
except ollama.ResponseError as error:
    assert error.status_code == 404, error
    seen.tell()

seen = Seen("an error in the stream", "chat", outcome="stream_error", status=200)
try:
    for piece in client.chat(model="sim", messages=messages, stream=True, options={"sim": {"error_after": 3}}):
        seen.output(*said(piece))
except ollama.ResponseError:
    seen.streamed()
