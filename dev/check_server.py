"""Sends requests to a real server through Streamgauge, and compares the request log with the client's view and with
the numbers that the server reports: OpenAI's chat, then every other API of the server.

    python3 dev/check_server.py PROXY ADMIN MODEL       for example 127.0.0.1:8080 127.0.0.1:9464 tiny-chat

Needs only Python. Exits with 1 if a line of the request log disagrees with the client.
"""

import http.client
import json
import sys
import time

PROXY, ADMIN, MODEL = sys.argv[1:4]
USAGE = {"stream_options": {"include_usage": True}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather",
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
CASES = {
    "streamed": {"stream": True, **USAGE},
    "streamed, no usage": {"stream": True},
    "long prompt": {"stream": True, "content": "Tell me about licences. " * 60, **USAGE},
    "n = 2": {"stream": True, "n": 2, **USAGE},
    "tools": {"stream": True, "tools": [WEATHER], "content": "What is the weather in Paris?", **USAGE},
    "whole": {},
}
PROMPT = "The license of the software"
MESSAGES = [{"role": "user", "content": "Hello, who are you?"}]
# A server has some of these.
OTHERS = [
    ("/v1/completions", {"prompt": PROMPT, "max_tokens": 32, "stream": True, **USAGE}),
    ("/v1/messages", {"messages": MESSAGES, "max_tokens": 32, "stream": True}),
    ("/v1/messages", {"messages": MESSAGES, "max_tokens": 32}),
    ("/v1/responses", {"input": PROMPT, "max_output_tokens": 32, "stream": True}),
    ("/v1/responses", {"input": PROMPT, "max_output_tokens": 32}),
    ("/v1/embeddings", {"input": PROMPT}),
    ("/v1/rerank", {"query": "licence", "documents": [PROMPT, "A module is a file"]}),
    ("/completion", {"prompt": PROMPT, "n_predict": 32, "stream": True, "timings_per_token": True}),
    ("/completion", {"prompt": PROMPT, "n_predict": 32, "stream": True, "return_progress": True}),
    ("/completion", {"prompt": [PROMPT, "A module is"], "n_predict": 32, "stream": True}),
    ("/completion", {"prompt": [PROMPT, "A module is"], "n_predict": 32}),
    ("/completion", {"prompt": PROMPT, "n_predict": 32}),
    ("/completions", {"prompt": PROMPT, "n_predict": 32, "stream": True}),
    ("/api/chat", {"messages": MESSAGES}),
    ("/api/generate", {"prompt": PROMPT, "stream": False}),
    ("/api/embed", {"input": PROMPT}),
    ("/generate", {"text": PROMPT, "sampling_params": {"max_new_tokens": 32}, "stream": True}),
    ("/generate", {"inputs": PROMPT, "parameters": {"max_new_tokens": 32, "details": True}}),
    ("/generate_stream", {"inputs": PROMPT, "parameters": {"max_new_tokens": 32, "details": True}}),
]


def request(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=120)
    headers = {"Content-Type": "application/json"} if body else {}
    started = time.monotonic()
    connection.request(method, path, json.dumps(body) if body else None, headers)
    return connection.getresponse(), started


def output(event):
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        calls = [call.get("function") or {} for call in delta.get("tool_calls") or []]
        texts = [delta.get("content"), delta.get("reasoning_content"), delta.get("reasoning")]
        texts += [call.get(key) for call in calls for key in ("name", "arguments")]
        if any(texts):
            return True
    return False


def ask(options):
    """What the client sees, and what the server says."""
    options = dict(options)
    content = options.pop("content", "Hello, who are you?")
    body = {"model": MODEL, "max_tokens": 48, "messages": [{"role": "user", "content": content}], **options}
    answer, started = request(PROXY, "POST", "/v1/chat/completions", body)
    seen = {"status": answer.status, "events": 0, "output_events": 0}
    server = {}
    if not options.get("stream"):
        whole = json.loads(answer.read())
        server = {key: whole[key] for key in ("usage", "timings", "metrics") if whole.get(key)}
        return seen, server, time.monotonic() - started
    for line in answer:
        if not line.startswith(b"data:"):
            continue
        seen["events"] += 1
        data = line[5:].strip()
        event = {} if data == b"[DONE]" else json.loads(data)
        if output(event):
            seen["last"] = time.monotonic() - started
            seen.setdefault("first", seen["last"])
            seen["output_events"] += 1
        server |= {key: event[key] for key in ("usage", "timings", "metrics") if event.get(key)}
    return seen, server, time.monotonic() - started


def newest():
    answer, _ = request(ADMIN, "GET", "/requests?last=1")
    return json.loads(answer.read() or b"{}")


def documents(body):
    """The JSON documents of a body, whatever frames them."""
    try:
        whole = json.loads(body)
        return whole if isinstance(whole, list) else [whole]
    except ValueError:
        lines = (line.removeprefix(b"data:").strip() for line in body.split(b"\n"))
        return [json.loads(line) for line in lines if line.startswith(b"{")]


def apart(place, name):
    """What Anthropic's input leaves out."""
    parts = ("cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(place.get(part) or 0 for part in parts) if name == "input_tokens" else 0


def counted(events):
    """Tokens as a server's own words have them: the last count of each prompt, added up."""
    prompts = {}
    for event in events:
        here = event.get("response") or event.get("message") or event
        usage = here.get("usage") if isinstance(here, dict) else None
        places = [usage or {}, event.get("usage") or {}, event.get("meta_info") or {}, event.get("details") or {}, event]
        for kind, names in (("input", ("prompt_tokens", "input_tokens", "tokens_evaluated", "prompt_eval_count", "input_length")),
                            ("output", ("completion_tokens", "output_tokens", "tokens_predicted", "eval_count", "generated_tokens"))):
            found = [place[name] + apart(place, name) for place in places for name in names if place.get(name)]
            if found:
                prompts[kind, event.get("index") if "tokens_evaluated" in event else 0] = found[0]
    return [sum(n for (kind, _), n in prompts.items() if kind == wanted) or None for wanted in ("input", "output")]


def next_line(before):
    deadline = time.monotonic() + 5
    while not (line := newest()) or line["id"] == before:
        assert time.monotonic() < deadline, "the request log has no new line"
        time.sleep(0.01)
    return line


def show(value):
    return "-" if value is None else f"{value * 1e3:.2f}"


wrong, last = 0, None
for name, options in CASES.items():
    seen, server, duration = ask(options)
    line = next_line(last)
    last = line["id"]
    usage, timings, metrics = (server.get(key) or {} for key in ("usage", "timings", "metrics"))
    print(f"## {name}: {line['outcome']}, {line['finish_reasons']}")
    print(f"  client       first {show(seen.get('first'))} ms, last {show(seen.get('last'))} ms, end {show(duration)} ms,"
          f" events {seen['events']}, with output {seen['output_events']}")
    print(f"  streamgauge  TTFT {show(line['ttft_s'])} ms, latency {show(line['latency_s'])} ms, duration"
          f" {show(line['duration_s'])} ms, TPOT {show(line['tpot_s'])} ms, head {show(line['head_s'])} ms,"
          f" events {line['events']}, with output {line['output_events']},"
          f" tokens {line['input_tokens']} + {line['output_tokens']} ({line['output_tokens_source']})")
    reported = {key: usage[key] for key in ("prompt_tokens", "completion_tokens") if key in usage}
    reported |= {key: timings[key] for key in ("prompt_ms", "predicted_n", "predicted_ms", "predicted_per_token_ms") if key in timings}
    reported |= metrics
    print(f"  the server   {json.dumps(reported)}")
    if options.get("stream") and seen["status"] == 200 and (line["events"], line["output_events"]) != (seen["events"], seen["output_events"]):
        wrong += 1
        print("  DISAGREES: events")
    choices = options.get("n", 1)
    if usage and choices == 1 and (line["input_tokens"], line["output_tokens"]) != (usage["prompt_tokens"], usage["completion_tokens"]):
        wrong += 1
        print("  DISAGREES: tokens")
for path, body in OTHERS:
    answer, started = request(PROXY, "POST", path, {"model": MODEL, **body})
    data = answer.read()
    duration = time.monotonic() - started
    line = next_line(last)
    last = line["id"]
    if answer.status != 200:
        print(f"## {path}: not here ({answer.status})")
        continue
    events = documents(data)
    reported = counted(events)
    timings = [event["timings"] for event in events if event.get("timings")][-1:]
    print(f"## {path}: {line['dialect']}, {line['engine']}, {line['outcome']}, {line['finish_reasons']}")
    print(f"  client       end {show(duration)} ms, documents {len(events)}")
    print(f"  streamgauge  TTFT {show(line['ttft_s'])} ms, duration {show(line['duration_s'])} ms, TPOT {show(line['tpot_s'])} ms,"
          f" prefill {show(line['engine_prefill_s'])} ms, decoding {show(line['engine_decode_s'])} ms,"
          f" events {line['events']}, with output {line['output_events']}, characters {line['answer_chars']},"
          f" tokens {line['input_tokens']} + {line['output_tokens']} ({line['output_tokens_source']})")
    print(f"  the server   tokens {reported[0]} + {reported[1]}, {json.dumps(timings)}")
    if line["dialect"] and [line["input_tokens"], line["output_tokens"]] != reported and reported != [None, None]:
        wrong += 1
        print("  DISAGREES: tokens")
sys.exit(1 if wrong else 0)
