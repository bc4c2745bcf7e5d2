"""Asks a server of Gemini's API with the real SDK, which streams server-sent events."""

import sys

from seen import Seen, compact, missing

try:
    from google import genai
    from google.genai import errors, types
except ImportError as error:
    missing(error)

client = genai.Client(
    api_key="not-a-key", vertexai=False, http_options=types.HttpOptions(base_url=sys.argv[1], timeout=30_000))
tools = [types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", description="The weather")])]


def config(script=None, **more):
    options = types.HttpOptions(extra_body={"sim": script}) if script else None
    calling = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(
        max_output_tokens=12, automatic_function_calling=calling, http_options=options, **more)


thinks = config({"reasoning_tokens": 5, "output_tokens": 6, "prompt_tokens": 20, "cached_tokens": 7})


def said(response):
    """Text, thinking, arguments and names of an answer or a piece of one."""
    texts = {"answer": "", "reasoning": "", "tool": "", "name": ""}
    for candidate in response.candidates or []:
        for part in (candidate.content and candidate.content.parts) or []:
            texts["reasoning" if part.thought else "answer"] += part.text or ""
            if part.function_call:
                texts["name"] += part.function_call.name
                texts["tool"] += compact(part.function_call.args)
    return texts


def facts(last):
    usage = last.usage_metadata
    return {
        "input_tokens": usage.prompt_token_count,
        "output_tokens": (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
        "output_tokens_source": "usage",
        "cached_tokens": usage.cached_content_token_count,
        "reasoning_tokens": usage.thoughts_token_count,
        "finish_reasons": [last.candidates[0].finish_reason.value],
        "response_model": last.model_version,
    }


def streamed(case, config):
    seen = Seen(case, "generate_content", dialect="gemini", model="sim")
    last = None
    for piece in client.models.generate_content_stream(model="sim", contents="Tell me of streams.", config=config):
        seen.output(**said(piece))
        last = piece
    seen.streamed(**facts(last))


def whole(case, config):
    seen = Seen(case, "generate_content", dialect="gemini", model="sim")
    answer = client.models.generate_content(model="sim", contents="Tell me of streams.", config=config)
    texts = said(answer)
    seen.texts(texts["answer"], texts["reasoning"], texts["tool"])
    seen.whole(**facts(answer))


streamed("content, streamed", config())
streamed("content with thinking, streamed", thinks)
streamed("content with tools, streamed", config(tools=tools))
whole("content", config())
whole("content with thinking", thinks)
whole("content with tools", config(tools=tools))

seen = Seen("a model that is none", "generate_content", outcome="client_error", status=404)
try:
    client.models.generate_content(model="none", contents="Hello")
except errors.ClientError as error:
    assert error.code == 404, error
    seen.tell()
