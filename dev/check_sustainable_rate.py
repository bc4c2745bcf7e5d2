"""Checks `streamgauge_sustainable_requests_per_second` on a real server: sends open-loop (Poisson) load through Streamgauge at
several constant rates, finds for each SLO class the rate at which 1 % of the requests miss it, and compares the two.

    python3 dev/check_sustainable_rate.py PROXY ADMIN MODEL --rates 1,2,3,4 [--seconds 60] [--rounds 2] [--words 30]
        [--tokens 4-16]

PROXY and ADMIN are addresses such as 127.0.0.1:8080 and 127.0.0.1:9464. Set the classes in Streamgauge's configuration.
The rates should reach from half of what the server can do to a little more than that. Each rate is held for this time,
then all responses are awaited. The first fifth of each is not judged. Nothing else may use the server meanwhile. Needs
only Python.
"""

import argparse
import http.client
import json
import math
import random
import threading
import time

OBJECTIVE_MISSED = 0.01
WORDS = "the licence of a module is in its first lines and every reader may copy it without changes".split()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proxy")
    parser.add_argument("admin")
    parser.add_argument("model")
    parser.add_argument("--rates", required=True, help="requests per second, separated by commas")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=2, help="how often each rate is held")
    parser.add_argument("--words", type=float, default=30, help="median number of words of a prompt")
    parser.add_argument("--tokens", default="4-16", help="smallest and largest number of output tokens")
    return parser.parse_args()


def ask(args, rng_seed):
    rng = random.Random(rng_seed)
    least, most = map(int, args.tokens.split("-"))
    length = max(4, min(300, int(rng.lognormvariate(math.log(args.words), 0.6))))
    # Begins with a number, so that no prompt is the beginning of another.
    prompt = f"{rng.random()} " + " ".join(rng.choice(WORDS) for _ in range(length))
    body = {"model": args.model, "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": rng.randint(least, most), "ignore_eos": True}
    connection = http.client.HTTPConnection(args.proxy, timeout=600)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        print(f"status {response.status}: {text[:200]}")
    connection.close()


def get(args, path):
    connection = http.client.HTTPConnection(args.admin, timeout=60)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def hold(args, rate, seed):
    """Sends at this rate, waits for all responses, and returns the lines of the request log."""
    rng = random.Random(seed)
    threads, began = [], time.monotonic()
    due = rng.expovariate(rate)
    while due < args.seconds:
        time.sleep(max(0.0, began + due - time.monotonic()))
        threads.append(threading.Thread(target=ask, args=(args, rng.random())))
        threads[-1].start()
        due += rng.expovariate(rate)
    for thread in threads:
        thread.join()
    count = min(1000, int(len(threads) * 0.8))
    time.sleep(0.3)
    lines = [json.loads(line) for line in get(args, f"/requests?last={min(1000, len(threads))}").splitlines()]
    return sorted(lines, key=lambda line: line["time"])[-count:]


def crossing(points):
    """The rate at which the missed share reaches 1 %: `points` are (rate, missed, judged). The shares are made monotonic
    (pool adjacent violators), and their logarithm is interpolated."""
    blocks = []
    for rate, missed, judged in sorted(points):
        blocks.append([[rate], missed, judged])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] > blocks[-1][1] * blocks[-2][2]:
            rates, missed, judged = blocks.pop()
            blocks[-1] = [blocks[-1][0] + rates, blocks[-1][1] + missed, blocks[-1][2] + judged]
    shares = [(rate, max(missed, 0.25) / judged) for rates, missed, judged in blocks for rate in rates]
    for (rate, share), (next_rate, next_share) in zip(shares, shares[1:]):
        if share <= OBJECTIVE_MISSED < next_share:
            part = math.log(OBJECTIVE_MISSED / share) / math.log(next_share / share)
            return rate + (next_rate - rate) * part
    return None


def gauge(metrics, name, slo):
    for line in metrics.splitlines():
        if line.startswith(name + "{") and f'slo="{slo}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return None


def show(value):
    return "-" if value is None else f"{value:.2f}"


def main():
    args = parse()
    rates = [float(rate) for rate in args.rates.split(",")]
    rng = random.Random(1)
    counts = {}
    for round_number in range(args.rounds):
        for rate in rng.sample(rates, len(rates)):
            lines = hold(args, rate, f"{round_number} {rate}")
            shown = []
            for slo in sorted({name for line in lines for name in line["slo"]}):
                verdicts = [line["slo"].get(slo) for line in lines]
                judged = sum(verdict is not None for verdict in verdicts)
                missed = sum(verdict is False for verdict in verdicts)
                before = counts.setdefault(slo, {}).get(rate, (0, 0))
                counts[slo][rate] = (before[0] + missed, before[1] + judged)
                shown.append(f"{slo} {missed}/{judged}")
            ttft = sorted(line["ttft_s"] for line in lines if line["ttft_s"] is not None)
            print(f"round {round_number + 1}, {rate} per second: TTFT p50 {ttft[len(ttft) // 2]:.2f} s, p99"
                  f" {ttft[int(len(ttft) * 0.99)]:.2f} s; missed: {', '.join(shown)}", flush=True)
    metrics = get(args, "/metrics")
    print("\n| class | found by the search | streamgauge | low | high | error |\n|---|---:|---:|---:|---:|---:|")
    for slo, by_rate in counts.items():
        truth = crossing([(rate, *pair) for rate, pair in by_rate.items()])
        found, low, high = (gauge(metrics, f"streamgauge_sustainable_{part}requests_per_second", slo)
                            for part in ("", "low_", "high_"))
        error = "-" if None in (truth, found) else f"{found / truth - 1:+.0%}"
        print(f"| {slo} | {show(truth)} | {show(found)} | {show(low)} | {show(high)} | {error} |")


main()
