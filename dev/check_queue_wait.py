"""Checks the estimated queue wait of a real server: sends load to it through Streamgauge, and compares the request log's
`queue_estimate_s` and its interval, which do not use values that the server reports, with

- the server's own value (vLLM: --enable-per-request-metrics),
- the time from the request to the response headers (llama.cpp sends them when a slot takes the request), and TTFT minus
  the server's own prefill time (llama.cpp's `timings`); both less that of requests that found the server idle,
- with --slots N, a first-come-first-served queue computed from the arrivals and ends in the log.

    python3 dev/check_queue_wait.py PROXY ADMIN MODEL [--clients 8] [--pause 0.2] [--requests 400] [--warm 200]
        [--words 55] [--tokens 8-64] [--slots N] [--svg FILE]

PROXY and ADMIN are addresses such as 127.0.0.1:8080 and 127.0.0.1:9464. Each client sends a request, waits for the whole
response, and pauses for a random time with this mean. The numbers of words are lognormal with the median --words. Nothing
else may use the server meanwhile. Needs only Python.

| column | meaning |
|---|---|
| estimated | requests with an estimate that is not only a lower bound |
| in the interval | share of the requests whose interval holds the truth, +/- 2 ms |
| false waits | share of the requests that waited less than 2 ms, with an estimated wait over 20 ms that is not a lower bound |
"""

import argparse
import collections
import heapq
import http.client
import json
import math
import random
import statistics
import threading
import time
from datetime import datetime

WORDS = "the licence of a module is in its first lines and every reader may copy it without changes".split()

# Errors of the observed instants, and the shortest estimate that is called a false wait. Seconds.
INSTANT_ERROR = 0.002
FALSE_WAIT = 0.02


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proxy")
    parser.add_argument("admin")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.2)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--warm", type=int, default=200, help="number of first requests that are not compared")
    parser.add_argument("--words", type=float, default=55, help="median number of words of a prompt")
    parser.add_argument("--tokens", default="8-64", help="smallest and largest number of output tokens")
    parser.add_argument("--slots", type=int, help="number of requests that the server runs at a time")
    parser.add_argument("--svg", help="a plot of estimate against truth")
    return parser.parse_args()


def load(args):
    """Asks until all requests are done."""
    left = list(range(args.requests))
    lock = threading.Lock()
    least, most = map(int, args.tokens.split("-"))

    def client(seed):
        rng = random.Random(seed)
        connection = http.client.HTTPConnection(args.proxy, timeout=600)
        while True:
            with lock:
                if not left:
                    return
                left.pop()
            length = max(4, min(600, int(rng.lognormvariate(math.log(args.words), 0.8))))
            # Begins with a number, so that no prompt is the beginning of another.
            prompt = f"{rng.random()} " + " ".join(rng.choice(WORDS) for _ in range(length))
            body = {"model": args.model, "stream": True, "stream_options": {"include_usage": True},
                    "messages": [{"role": "user", "content": prompt}],
                    "max_tokens": rng.randint(least, most), "ignore_eos": True}
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


def without_way(lines, times):
    """Subtracts what requests to an idle server need, too: it has to read them first."""
    ends = [line["began"] + line["duration_s"] for line in lines]
    lone = [time for number, (line, time) in enumerate(zip(lines, times))
            if all(end <= line["arrival"] for end in ends[:number])]
    way = statistics.median(lone) if lone else 0.0
    return [max(0.0, time - way) for time in times]


def truths(lines, slots):
    known = {}
    if all(line["queue_source"] == "reported" for line in lines):
        known["reported"] = [line["queue_s"] for line in lines]
    if all(line["engine"] == "llama.cpp" for line in lines):
        known["response head"] = without_way(lines, [line["head_s"] - line["sent_s"] for line in lines])
    if all(line["engine_prefill_s"] is not None for line in lines) and "reported" not in known:
        waits_and_way = [line["ttft_s"] - line["sent_s"] - line["engine_prefill_s"] for line in lines]
        known["TTFT less prefill"] = without_way(lines, waits_and_way)
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


def is_bound(line):
    """Whether the estimate is only a lower bound: no model, and the lower end of the interval."""
    return line["queue_model"] == "unknown" and line["queue_estimate_s"] == line["queue_low_s"]


def judge(name, pairs):
    """One row of the table. `pairs` are lines and their true waits."""
    judged = [(line, truth) for line, truth in pairs if line["queue_estimate_s"] is not None]
    standing = [(truth, line["queue_estimate_s"]) for line, truth in judged if not is_bound(line) or truth < INSTANT_ERROR]
    true, guess = zip(*standing) if standing else ([0], [0])
    in_interval = [line["queue_low_s"] - INSTANT_ERROR <= truth <= line["queue_high_s"] + INSTANT_ERROR
                   for line, truth in judged]
    false = [truth < INSTANT_ERROR and guess > FALSE_WAIT for truth, guess in standing]
    ms = [statistics.mean(true), statistics.mean(guess), percentile(true, 0.95), percentile(guess, 0.95),
          statistics.median(abs(a - b) for a, b in zip(true, guess))]
    percent = [len(standing) / len(pairs), sum(in_interval) / max(1, len(judged)), sum(false) / len(pairs)]
    print(f"| {name} | {len(pairs)} | {percent[0]:.0%} | " + " | ".join(f"{value * 1e3:.1f}" for value in ms)
          + f" | {percent[1]:.1%} | {percent[2]:.1%} |")
    return standing


def gauges(args):
    """Lines of the metrics about the model of the server."""
    connection = http.client.HTTPConnection(args.admin, timeout=60)
    connection.request("GET", "/metrics")
    names = ("streamgauge_queue_slots{", "streamgauge_queue_model{", "streamgauge_queue_fit_", "streamgauge_estimated_wait_")
    return [line for line in connection.getresponse().read().decode().splitlines() if line.startswith(names)]


def main():
    args = parse()
    started = time.monotonic()
    load(args)
    took = time.monotonic() - started
    lines = log(args)
    known = truths(lines, args.slots)
    judged = lines[args.warm:]
    print(f"{len(lines)} requests in {took:.0f} s by {args.clients} clients; judged are those after the first {args.warm}")
    models = collections.Counter(line["queue_model"] or "no estimate" for line in judged)
    print("model: " + ", ".join(f"{name} {count / len(judged):.0%}" for name, count in models.most_common()))
    print(f"TTFT: mean {statistics.mean(line['ttft_s'] for line in judged) * 1e3:.0f} ms")
    print("\n" + "\n".join(gauges(args)))
    print("\n| truth | requests | estimated | mean: truth, ms | estimate, ms | p95: truth, ms | estimate, ms | median error, ms |"
          " in the interval | false waits |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for number, (name, values) in enumerate(known.items()):
        standing = judge(name, list(zip(lines, values))[args.warm:])
        # The most reliable truth is the first.
        if args.svg and number == 0 and standing:
            plot(args.svg, name, standing)
    if not known:
        print("| none known: give --slots | | | | | | | | | |")


if __name__ == "__main__":
    main()
