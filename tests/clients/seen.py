"""What the scripts share: what a client sees of one answer, told as one line of JSON under the names of the
request log. The test holds it against Streamgauge's own line."""

import json
import sys
import time

MISSING = 77


def missing(error):
    """This machine does not have what the script needs."""
    print(error, file=sys.stderr)
    sys.exit(MISSING)


class Seen:
    """One call, from before it is made."""

    def __init__(self, case, operation, **facts):
        self.started = time.monotonic()
        self.facts = {"case": case, "operation": operation, **facts}
        self.characters = {"answer_chars": 0, "reasoning_chars": 0, "tool_chars": 0}
        self.output_events = 0
        self.first = self.answered = self.last = None

    def output(self, answer=None, reasoning=None, tool=None, name=None):
        """What one event carries, each part a text or nothing."""
        self.texts(answer, reasoning, tool)
        if answer or reasoning or tool or name:
            self.output_events += 1
            self.last = time.monotonic() - self.started
            self.first = self.first or self.last
        if answer or tool or name:
            self.answered = self.answered or self.last

    def texts(self, answer=None, reasoning=None, tool=None):
        """What an answer that is no stream carries."""
        for kind, text in zip(self.characters, (answer, reasoning, tool)):
            self.characters[kind] += len(text or "")

    def streamed(self, **facts):
        """Tells a stream that has ended. What was seen first and last has been seen by Streamgauge before."""
        self.tell(stream=True, output_events=self.output_events, **self.characters, **facts, seen=self.times())

    def times(self):
        return {"ttft_s": self.first, "answer_s": self.answered, "latency_s": self.last}

    def whole(self, **facts):
        """Tells an answer that was no stream, and so was over before it was seen."""
        duration = time.monotonic() - self.started
        self.tell(stream=False, **self.characters, **facts, seen={"duration_s": duration})

    def tell(self, **facts):
        """Tells just this. `seen` are times since the call, which Streamgauge's are not above."""
        # In one piece: calls may tell at once.
        sys.stdout.write(json.dumps({**self.facts, **facts}) + "\n")
        sys.stdout.flush()


def compact(value):
    """A call's arguments that an API has as an object, as they are counted."""
    return "" if not value else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
