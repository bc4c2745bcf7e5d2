"""Checks the estimated queue wait of a real server: sends load to it through Streamgauge, and compares the request log's
`queue_estimate_s`, which does not use values that the server reports, with

- the server's own value (vLLM: --enable-per-request-metrics),
- the time from the request to the response headers (llama.cpp sends them when a slot takes the request),
- TTFT minus the server's own prefill time (llama.cpp's `timings`),
- with --slots N, a first-come-first-served queue computed from the arrivals and ends in the log.

    python3 dev/check_queue_wait.py PROXY ADMIN MODEL [--clients 8] [--pause 0.2] [--requests 400] [--warm 200] [--slots N] [--svg FILE]

PROXY and ADMIN are addresses such as 127.0.0.1:8080 and 127.0.0.1:9464. Each client sends a request, waits for the whole
response, and pauses for a random time with this mean. Needs only Python.
"""

import argparse
import heapq
import http.client
import json
import random
import statistics
import threading
import time
from datetime import datetime

WORDS = "the licence of a module is in its first lines and every reader may copy it without changes".split()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proxy")
    parser.add_argument("admin")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--warm", type=int, default=200, help="number of first requests that are not compared")
    parser.add_argument("--slots", type=int, help="number of requests that the server runs at a time")
    parser.add_argument("--svg", help="a plot of estimate against truth")
    return parser.parse_args()


def load(args):
    """Asks until all requests are done."""
    left = list(range(args.requests))
    lock = threading.Lock()

    def client(seed):
        rng = random.Random(seed)
        connection = http.client.HTTPConnection(args.proxy, timeout=600)
        while True:
            with lock:
                if not left:
                    return
                left.pop()
            length = max(4, min(600, int(rng.lognormvariate(4, 0.8))))
            # Begins with a number, so that no prompt is the beginning of another.
            prompt = f"{rng.random()} " + " ".join(rng.choice(WORDS) for _ in range(length))
            body = {"model": args.model, "stream": True, "stream_options": {"include_usage": True},
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": rng.randint(8, 64), "ignore_eos": True}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (answer.status, text)
            time.sleep(rng.expovariate(1 / args.pause) if args.pause > 0 else 0)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(args.clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def log(args):
    """The request log, by arrival at the server."""
    connection = http.client.HTTPConnection(args.admin, timeout=60)
    connection.request("GET", f"/requests?last={args.requests}")
    lines = [json.loads(line) for line in connection.getresponse().read().decode().splitlines()]
    for line in lines:
        line["began"] = datetime.fromisoformat(line["time"]).timestamp()
        line["arrival"] = line["began"] + line["sent_s"]
    return sorted(lines, key=lambda line: line["arrival"])


def waits(lines, slots):
    """First come, first served: each starts when the first of the slots is free."""
    free = [0.0] * slots
    for line in lines:
        start = max(line["arrival"], heapq.heappop(free))
        heapq.heappush(free, line["began"] + line["duration_s"])
        yield start - line["arrival"]


def truths(lines, slots):
    known = {}
    if all(line["queue_source"] == "reported" for line in lines):
        known["reported"] = [line["queue_s"] for line in lines]
    if all(line["engine"] == "llama.cpp" for line in lines):
        known["response head"] = [line["head_s"] - line["sent_s"] for line in lines]
    if all(line["engine_prefill_s"] is not None for line in lines) and "reported" not in known:
        known["TTFT less prefill"] = [line["ttft_s"] - line["sent_s"] - line["engine_prefill_s"] for line in lines]
    if slots:
        known[f"{slots} slot(s)"] = list(waits(lines, slots))
    return known


def plot(path, title, points):
    """Estimate over truth, both in seconds."""
    side, most = 320, max(max(point) for point in points) * 1.05 or 1
    at = lambda value: 40 + value / most * side
    dots = "".join(f'<circle cx="{at(x):.1f}" cy="{side + 40 - at(y):.1f}" r="2"/>' for x, y in points)
    with open(path, "w") as file:
        file.write(f"""<svg xmlns="http://www.w3.org/2000/svg" width="{side + 60}" height="{side + 60}" role="img">
<title>{title}</title><style>text{{font:12px system-ui,sans-serif;fill:#59636e}}circle{{fill:#0072b2;opacity:.5}}line{{stroke:#b4bcc5}}</style>
<line x1="40" y1="{side + 0}" x2="{side + 40}" y2="0"/><line x1="40" y1="{side}" x2="{side + 40}" y2="{side}"/><line x1="40" y1="0" x2="40" y2="{side}"/>
{dots}
<text x="40" y="{side + 16}">0</text><text x="{side + 40}" y="{side + 16}" text-anchor="end">{most:.2f} s</text>
<text x="{side / 2 + 40}" y="{side + 34}" text-anchor="middle">truth: {title}</text><text x="14" y="{side / 2}" text-anchor="middle" transform="rotate(-90 14 {side / 2})">estimate</text>
</svg>
""")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    args = parse()
    started = time.monotonic()
    load(args)
    took = time.monotonic() - started
    lines = log(args)
    known = truths(lines, args.slots)
    print(f"{len(lines)} requests in {took:.0f} s by {args.clients} clients; judged are those after the first {args.warm}")
    print("\n| truth | requests | mean: truth, ms | estimate, ms | p95: truth, ms | estimate, ms | median error, ms |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, values in known.items():
        pairs = [(truth, line["queue_estimate_s"]) for line, truth in list(zip(lines, values))[args.warm:]
                 if line["queue_estimate_s"] is not None]
        if not pairs:
            print(f"| {name} | 0 | | | | | |")
            continue
        true, guess = zip(*pairs)
        ms = [statistics.mean(true), statistics.mean(guess), percentile(true, 0.95), percentile(guess, 0.95),
              statistics.median(abs(a - b) for a, b in pairs)]
        print(f"| {name} | {len(pairs)} | " + " | ".join(f"{value * 1e3:.1f}" for value in ms) + " |")
        if args.svg:
            plot(args.svg, name, pairs)
            # The first is the one that knows best.
            args.svg = None
    if not known:
        print("| none known: give --slots | | | | | | |")


main()
