"""Asks an OpenAI-shaped server with the real SDK, and prints what it made of each answer: one JSON
object a line, under the names of the request log. Exits with 77 if the SDK is not installed."""

import json
import sys

try:
    import openai
except ImportError:
    sys.exit(77)

client = openai.OpenAI(base_url=sys.argv[1], api_key="not-a-key", max_retries=0, timeout=30)
messages = [{"role": "user", "content": "Tell me of streams."}]
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def tell(case, **facts):
    print(json.dumps({"case": case, **facts}), flush=True)


def streamed(case, **options):
    usage = {"stream_options": {"include_usage": True}}
    stream = client.chat.completions.create(model="sim", messages=messages, stream=True, **usage, **options)
    answer = reasoning = tool = events = 0
    finishes, counts = [], None
    for chunk in stream:
        counts = chunk.usage or counts
        output = False
        for choice in chunk.choices:
            delta = choice.delta
            thought = getattr(delta, "reasoning_content", None) or ""
            calls = [call.function for call in delta.tool_calls or []]
            answer += len(delta.content or "")
            reasoning += len(thought)
            tool += sum(len(call.arguments or "") for call in calls)
            output |= bool(delta.content or thought or any(call.name or call.arguments for call in calls))
            finishes += [choice.finish_reason] if choice.finish_reason else []
        events += output
    tell(
        case, stream=True, answer_chars=answer, reasoning_chars=reasoning, tool_chars=tool, output_events=events,
        input_tokens=counts.prompt_tokens, output_tokens=counts.completion_tokens, finish_reasons=finishes,
    )


def whole(case, **options):
    answer = client.chat.completions.create(model="sim", messages=messages, **options)
    told = [choice.message for choice in answer.choices]
    tell(
        case, stream=False,
        answer_chars=sum(len(message.content or "") for message in told),
        tool_chars=sum(len(call.function.arguments) for message in told for call in message.tool_calls or []),
        input_tokens=answer.usage.prompt_tokens, output_tokens=answer.usage.completion_tokens,
        finish_reasons=[choice.finish_reason for choice in answer.choices],
    )


streamed("streamed", max_tokens=12)
streamed("reasoning", max_tokens=12, extra_body={"sim": {"reasoning_tokens": 5, "output_tokens": 6}})
streamed("tools", max_tokens=12, tools=tools)
streamed("two choices", max_tokens=6, n=2)
whole("whole", max_tokens=12)
whole("whole with tools", max_tokens=12, tools=tools)
whole("two whole choices", max_tokens=6, n=2)
completion = client.completions.create(model="sim", prompt="Once", max_tokens=5, stream=True)
text = "".join(choice.text for chunk in completion for choice in chunk.choices)
tell("text completion", stream=True, answer_chars=len(text), output_tokens=5)
tell("models", models=[model.id for model in client.models.list()])
