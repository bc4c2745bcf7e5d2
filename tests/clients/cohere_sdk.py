"""Asks a server of Cohere's API with the real SDK: its second version, and the first as far as it lives."""

import sys

from seen import Seen, missing

try:
    import cohere
except ImportError as error:
    missing(error)

server = {"api_key": "not-a-key", "base_url": sys.argv[1], "timeout": 30}
client, first = cohere.ClientV2(**server), cohere.Client(**server)
messages = [cohere.UserChatMessageV2(content="Tell me of streams.")]
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
once = {"max_retries": 0}
thinks = {
    "request_options": {
        **once,
        "additional_body_parameters": {
            "sim": {"reasoning_tokens": 5, "output_tokens": 6, "prompt_tokens": 20, "cached_tokens": 7}
        },
    }
}


def usage_of(usage):
    """What was generated, and not what is billed."""
    tokens = usage.tokens
    return {
        "input_tokens": int(tokens.input_tokens),
        "output_tokens": int(tokens.output_tokens),
        "output_tokens_source": "usage",
    }


def read(seen, event):
    """What one event of a stream carries."""
    message = getattr(getattr(event, "delta", None), "message", None)
    content, call = getattr(message, "content", None), getattr(message, "tool_calls", None)
    match event.type:
        case "content-start" | "content-delta":
            seen.output(content.text, content.thinking)
        case "tool-call-start" | "tool-call-delta":
            seen.output(tool=call.function.arguments, name=getattr(call.function, "name", None))


def streamed(case, **options):
    seen = Seen(case, "chat", dialect="cohere-v2", model="sim")
    last = None
    for event in client.chat_stream(
        model="sim", messages=messages, max_tokens=12, **{"request_options": once, **options}
    ):
        read(seen, event)
        last = event
    assert last.type == "message-end", last
    seen.streamed(finish_reasons=[last.delta.finish_reason], **usage_of(last.delta.usage))


def whole(case, **options):
    seen = Seen(case, "chat", dialect="cohere-v2", model="sim")
    answer = client.chat(model="sim", messages=messages, max_tokens=12, **{"request_options": once, **options})
    for part in answer.message.content or []:
        seen.texts(getattr(part, "text", None), getattr(part, "thinking", None))
    for call in answer.message.tool_calls or []:
        seen.texts(tool=call.function.arguments)
    seen.whole(finish_reasons=[answer.finish_reason], **usage_of(answer.usage))


streamed("chat, streamed")
streamed("chat with thinking, streamed", **thinks)
streamed("chat with tools, streamed", tools=tools)
whole("chat")
whole("chat with thinking", **thinks)
whole("chat with tools", tools=tools)

seen = Seen("rerank", "rerank", model="sim")
ranked = client.rerank(model="sim", query="streams", documents=["one text", "and another"], request_options=once)
assert len(ranked.results) == 2
seen.tell(stream=False)

seen = Seen("embeddings", "embeddings", model="sim")
embedded = client.embed(
    model="sim", texts=["one text", "and another"], input_type="search_query", embedding_types=["float"],
    request_options=once)
assert len(embedded.embeddings.float_) == 2
seen.tell(stream=False, input_tokens=int(embedded.meta.billed_units.input_tokens), output_tokens=None)

seen = Seen("chat of the first version, streamed", "chat", dialect="cohere-v1", model="sim")
last = None
for event in first.chat_stream(model="sim", message="Tell me of streams.", max_tokens=12, request_options=once):
    if event.event_type == "text-generation":
        seen.output(event.text)
    last = event
seen.streamed(finish_reasons=[last.finish_reason], **usage_of(last.response.meta))

seen = Seen("chat of the first version", "chat", dialect="cohere-v1", model="sim")
answer = first.chat(model="sim", message="Tell me of streams.", max_tokens=12, request_options=once)
seen.texts(answer.text)
seen.whole(finish_reasons=[answer.finish_reason], **usage_of(answer.meta))

seen = Seen("a model that is none", "chat", outcome="client_error", status=404)
try:
    client.chat(model="none", messages=messages, request_options=once)
except cohere.NotFoundError:
    seen.tell()
