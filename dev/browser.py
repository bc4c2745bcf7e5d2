"""A headless Chromium for dev/screenshots and dev/viewers. Needs Debian's chromium and chromium-driver."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

# The flags keep Chromium from looking for its maker's servers.
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """A headless Chromium, driven by ChromeDriver."""

    def __init__(self):
        port = free_port()
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}/session"
        options = {"args": CHROMIUM}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        for _ in range(100):
            try:
                self.session = self.post("", {"capabilities": capabilities})["sessionId"]
                return
            except urllib.error.URLError:
                time.sleep(0.1)
        raise SystemExit("chromedriver does not start")

    def post(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["value"]

    def command(self, name, **parameters):
        return self.post(f"/{self.session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self.post(f"/{self.session}/url", {"url": url})

    def script(self, code):
        return self.post(f"/{self.session}/execute/sync", {"script": code, "args": []})

    def close(self):
        """Ends the browser and its driver."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{self.session}", method="DELETE")).close()
        self.driver.terminate()
        self.driver.wait()
