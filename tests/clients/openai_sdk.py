"""Asks an OpenAI-shaped server with the real SDK."""

import io
import sys

from seen import Seen, missing

try:
    import openai
except ImportError as error:
    missing(error)

client = openai.OpenAI(base_url=sys.argv[1], api_key="not-a-key", max_retries=0, timeout=30)
messages = [{"role": "user", "content": "Tell me of streams."}]
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
function = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
thinks = {"sim": {"reasoning_tokens": 5, "output_tokens": 6, "cached_tokens": 2}}


def read_chat(seen, stream):
    """Reads a stream; gives its finish reasons and its usage."""
    finishes, usage = [], None
    for chunk in stream:
        usage = chunk.usage or usage
        answer = reasoning = tool = name = ""
        for choice in chunk.choices:
            delta = choice.delta
            calls = [call.function for call in delta.tool_calls or []]
            answer += delta.content or ""
            reasoning += getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None) or ""
            tool += "".join(call.arguments or "" for call in calls)
            name += "".join(call.name or "" for call in calls)
            finishes += [choice.finish_reason] if choice.finish_reason else []
        seen.output(answer, reasoning, tool, name)
    return finishes, usage


def chat_stream(case, **options):
    seen = Seen(case, "chat", dialect="openai-chat", model="sim")
    usage = {"stream_options": {"include_usage": True}}
    stream = client.chat.completions.create(model="sim", messages=messages, stream=True, **usage, **options)
    finishes, usage = read_chat(seen, stream)
    seen.streamed(input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, finish_reasons=finishes,
                  output_tokens_source="usage")


def chat(case, **options):
    seen = Seen(case, "chat", model="sim")
    answer = client.chat.completions.create(model="sim", messages=messages, **options)
    for choice in answer.choices:
        calls = choice.message.tool_calls or []
        seen.texts(choice.message.content, tool="".join(call.function.arguments for call in calls))
    seen.whole(input_tokens=answer.usage.prompt_tokens, output_tokens=answer.usage.completion_tokens,
               finish_reasons=[choice.finish_reason for choice in answer.choices])


def finish_of(response):
    """As a chat would tell it."""
    incomplete = response.incomplete_details
    return [incomplete.reason if incomplete else response.status]


def tell_response(tell, response):
    usage = response.usage
    tell(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, finish_reasons=finish_of(response),
         cached_tokens=usage.input_tokens_details.cached_tokens, response_model=response.model,
         reasoning_tokens=usage.output_tokens_details.reasoning_tokens)


def response_stream(case, **options):
    seen = Seen(case, "chat", dialect="openai-responses", model="sim")
    last = None
    for event in client.responses.create(model="sim", input="Tell me of streams.", stream=True, **options):
        match event.type:
            case "response.output_text.delta":
                seen.output(event.delta)
            case "response.reasoning_text.delta":
                seen.output(reasoning=event.delta)
            case "response.function_call_arguments.delta":
                seen.output(tool=event.delta)
            case "response.output_item.added" if event.item.type == "function_call":
                seen.output(name=event.item.name)
            case "response.completed" | "response.incomplete":
                last = event.response
    tell_response(seen.streamed, last)


def response(case, **options):
    seen = Seen(case, "chat", dialect="openai-responses", model="sim")
    answer = client.responses.create(model="sim", input="Tell me of streams.", **options)
    for item in answer.output:
        if item.type == "reasoning":
            seen.texts(reasoning="".join(part.text for part in item.content or []))
        elif item.type == "function_call":
            seen.texts(tool=item.arguments)
    seen.texts(answer.output_text)
    tell_response(seen.whole, answer)


def recording():
    return ("speech.wav", io.BytesIO(b"RIFF" + bytes(2000)), "audio/wav")


chat_stream("chat, streamed", max_tokens=12)
chat_stream("chat with reasoning, streamed", max_tokens=12, extra_body=thinks)
chat_stream("chat with tools, streamed", max_tokens=12, tools=tools)
chat_stream("chat with two choices, streamed", max_tokens=6, n=2)
chat("chat", max_tokens=12)
chat("chat with tools", max_tokens=12, tools=tools)
chat("chat with two choices", max_tokens=6, n=2)

seen = Seen("completion, streamed", "text_completion", model="sim")
for chunk in client.completions.create(model="sim", prompt="Once", max_tokens=5, stream=True):
    seen.output("".join(choice.text for choice in chunk.choices))
seen.streamed(output_tokens=5)

response_stream("response, streamed", max_output_tokens=12)
response_stream("response with reasoning, streamed", extra_body=thinks)
response_stream("response with tools, streamed", max_output_tokens=12, tools=[function])
response("response", max_output_tokens=12)
response("response with reasoning", extra_body=thinks)
response("response with tools", max_output_tokens=12, tools=[function])

seen = Seen("embeddings", "embeddings", dialect="openai-embeddings", model="sim")
# By default the SDK asks for base64, which a server may not know: it takes lists too.
embeddings = client.embeddings.create(model="sim", input=["one text", "and another"])
assert [len(item.embedding) > 0 for item in embeddings.data] == [True, True], embeddings
seen.whole(input_tokens=embeddings.usage.prompt_tokens, output_tokens=None)

seen = Seen("transcription", "transcription", model="sim")
transcription = client.audio.transcriptions.create(model="sim", file=recording(), extra_body={"sim": '{"output_tokens":9}'})
seen.texts(transcription.text)
seen.whole(output_tokens=transcription.usage.output_tokens, input_tokens=transcription.usage.input_tokens)

seen = Seen("transcription, streamed", "transcription", model="sim")
stream = client.audio.transcriptions.create(
    model="sim", file=recording(), stream=True, extra_body={"sim": '{"output_tokens":9}'})
for event in stream:
    if event.type == "transcript.text.delta":
        seen.output(event.delta)
    usage = getattr(event, "usage", None)
seen.streamed(output_tokens=usage.output_tokens, input_tokens=usage.input_tokens)

seen = Seen("speech", "speech", model="sim")
with client.audio.speech.with_streaming_response.create(
    model="sim", voice="alloy", input="Hello", response_format="pcm", extra_body={"sim": {"output_tokens": 6}}
) as speech:
    sound = b"".join(speech.iter_bytes())
assert sound
seen.tell(bytes_down=len(sound), output_tokens=None)

seen = Seen("images", "image", model="sim")
images = client.images.generate(model="sim", prompt="A stream", n=2)
assert all(image.b64_json for image in images.data) and len(images.data) == 2
seen.tell(stream=False, input_tokens=images.usage.input_tokens, output_tokens=images.usage.output_tokens,
          output_tokens_source="usage")

seen = Seen("moderation", "moderation", model="sim")
assert len(client.moderations.create(model="sim", input="Hello").results) == 1
seen.tell(stream=False)

seen = Seen("models", "other")
assert [model.id for model in client.models.list()] == ["sim"]
seen.tell()

seen = Seen("a model that is none", "chat", outcome="client_error", status=404)
try:
    client.chat.completions.create(model="none", messages=messages)
except openai.NotFoundError:
    seen.tell()

seen = Seen("an error in the stream", "chat", outcome="stream_error", status=200)
stream = client.chat.completions.create(
    model="sim", messages=messages, stream=True, extra_body={"sim": {"error_after": 3}})
try:
    read_chat(seen, stream)
except openai.APIError:
    seen.streamed(output_tokens=3)

seen = Seen("a stream that is left", "chat", outcome="client_gone_mid_stream", status=200)
with client.chat.completions.create(model="sim", messages=messages, stream=True, max_tokens=500) as stream:
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
seen.tell(stream=True)
