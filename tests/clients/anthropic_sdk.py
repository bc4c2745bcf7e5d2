"""Asks a server of Anthropic's Messages API with the real SDK."""

import sys

from seen import Seen, compact, missing

try:
    import anthropic
except ImportError as error:
    missing(error)

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="not-a-key", max_retries=0, timeout=30)
messages = [{"role": "user", "content": "Tell me of streams."}]
tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
thinks = {
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "extra_body": {"sim": {"reasoning_tokens": 5, "output_tokens": 6, "prompt_tokens": 20, "cached_tokens": 7}},
}


def usage_of(usage):
    """The input as it is counted: all of it, what a cache gave or took included."""
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return {
        "input_tokens": usage.input_tokens + cached + written,
        "cached_tokens": cached,
        "output_tokens": usage.output_tokens,
        "output_tokens_source": "usage",
    }


def read(seen, event):
    """What one event of a stream carries."""
    if event.type == "content_block_start" and event.content_block.type == "tool_use":
        seen.output(name=event.content_block.name)
    if event.type == "content_block_delta":
        match event.delta.type:
            case "text_delta":
                seen.output(event.delta.text)
            case "thinking_delta":
                seen.output(reasoning=event.delta.thinking)
            case "input_json_delta":
                seen.output(tool=event.delta.partial_json)


def streamed(case, **options):
    """With the events as they are."""
    seen = Seen(case, "chat", dialect="anthropic-messages", model="sim")
    finish = usage = None
    for event in client.messages.create(model="sim", max_tokens=12, messages=messages, stream=True, **options):
        read(seen, event)
        if event.type == "message_delta":
            finish, usage = event.delta.stop_reason, event.usage
    seen.streamed(finish_reasons=[finish], **usage_of(usage))


def accumulated(case, **options):
    """With the SDK's own account of a stream."""
    seen = Seen(case, "chat", dialect="anthropic-messages", model="sim")
    with client.messages.stream(model="sim", max_tokens=12, messages=messages, **options) as stream:
        message = stream.get_final_message()
    tell(seen, message, True)


def whole(case, **options):
    seen = Seen(case, "chat", dialect="anthropic-messages", model="sim")
    tell(seen, client.messages.create(model="sim", max_tokens=12, messages=messages, **options), False)


def tell(seen, message, stream):
    for block in message.content:
        match block.type:
            case "text":
                seen.texts(block.text)
            case "thinking":
                seen.texts(reasoning=block.thinking)
            case "tool_use":
                seen.texts(tool=compact(block.input))
    seen.tell(stream=stream, response_model=message.model, finish_reasons=[message.stop_reason], **seen.characters,
              **usage_of(message.usage))


streamed("message, streamed")
streamed("message with thinking, streamed", **thinks)
streamed("message with tools, streamed", tools=tools)
accumulated("message, accumulated")
accumulated("message with thinking, accumulated", **thinks)
accumulated("message with tools, accumulated", tools=tools)
whole("message")
whole("message with thinking", **thinks)
whole("message with tools", tools=tools)

seen = Seen("count of tokens", "tokenize")
count = client.messages.count_tokens(model="sim", messages=messages)
assert count.input_tokens > 0
seen.tell(stream=False)

seen = Seen("a model that is none", "chat", outcome="client_error", status=404)
try:
    client.messages.create(model="none", max_tokens=5, messages=messages)
except anthropic.NotFoundError:
    seen.tell()

seen = Seen("an error in the stream", "chat", outcome="stream_error", status=200)
stream = client.messages.create(
    model="sim", max_tokens=12, messages=messages, stream=True, extra_body={"sim": {"error_after": 3}})
try:
    for event in stream:
        read(seen, event)
except anthropic.APIStatusError:
    seen.streamed()
